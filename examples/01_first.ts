/** The first program of the README: a fake plays Bitrix24 and a portal. Run it with `deno task example 1`. */
// deno-lint-ignore-file no-console
import { consoleLogger, createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";

const keys = { clientId: "app.5f3a2b1c", clientSecret: "secret" };
const bitrix24 = fakeBitrix24({ ...keys, handler: (request) => app.fetch(request) });
const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });

const app = createApp({
  ...keys,
  storage: memoryStorage(),
  fetch: bitrix24.fetch, // leave it out for the real Bitrix24
  acknowledge: "handled", // here, the answer waits for the upgrades
  logger: consoleLogger({ level: "error" }),
})
  .use(applicationToken())
  .upgrade("2.0.0", ({ portal }) => console.log(`  ${portal.domain}: moving settings`))
  .upgrade("3.0.0", async ({ step }) => {
    const field = await step("create the field", () => "UF_CRM_RATING"); // not repeated after a crash
    console.log(`  filling ${field}`);
  });

console.log("installed at version 1:", ...await portal.sends.install(1));
console.log("updated to version 3:", ...await portal.sends.update(3));
console.log("the same event again:", ...await portal.sends.update(3));
const forged = portal.forge("ONAPPUPDATE", { VERSION: "9" }, { applicationToken: "f".repeat(32) });
console.log("a forged update to version 9:", ...await portal.send(forged));
console.log("version of the portal:", (await app.portal(portal.memberId))?.version);
await app.close();
