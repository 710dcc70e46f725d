// deno-lint-ignore-file no-console
/**
 * A process of an app with telemetry(). `receive` stores an update and does no work on it, `work` does the work. `upgrade` does
 * both, for many portals.
 *
 *     telemetry_child.ts receive|work|upgrade <file of SQLite>
 */
import { createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { rest } from "@b24/onappupdate/rest";
import { telemetry } from "@b24/onappupdate/telemetry";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import process from "node:process";
import { CLIENT_ID, MEMBER_ID, post } from "../../support/app.ts";
import { setUpExporter } from "../../support/otlp.ts";

const [, , part, path = ""] = process.argv;

const shutDown = await setUpExporter();
// Both processes make the same tokens.
const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
const portal = bitrix24.portal({ memberId: MEMBER_ID });
portal.answer("crm.deal.list", () => []);
const install = portal.install(2);
const app = createApp({
  ...{ storage: fileStorage({ path }), clientId: CLIENT_ID, fetch: bitrix24.fetch, tickEveryMs: false },
  // Work that another process has left is due once a lease would have expired.
  limits: { leaseMs: 2000 },
})
  .use(telemetry())
  .use(applicationToken())
  .use(rest())
  .upgrade("3", async ({ step, b24, log }) => {
    await step("one", async () => {
      log.info("step runs");
      await b24.call("crm.deal.list");
    });
  });
const note = { by: "test", reason: "telemetry" };

if (part === "receive") {
  await app.fetch(post(install));
  await app.settled();
  await app.admin.pause(note);
  await app.fetch(post(portal.update(3)));
} else if (part === "work") {
  // The fake of this process must agree: it is asked whether the version of the update is true.
  portal.update(3);
  // On Node, a listener of a signal does not keep the process alive.
  const timer = setInterval(() => {}, 1000);
  const stopped = new Promise<void>((resolve) => process.once("SIGTERM", () => resolve()));
  await app.start();
  await app.admin.resume(note);
  while ((await app.portal(MEMBER_ID))?.version !== "3.0.0") {
    await app.tick();
    // SQLite is synchronous on Node: without a pause, ticks that find nothing would leave no time for timers and sockets.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  console.log(`version ${(await app.portal(MEMBER_ID))?.version}`);
  // Gauges are exported at intervals.
  await stopped;
  clearInterval(timer);
} else {
  const portals = Array.from({ length: 50 }, (_, n) => bitrix24.portal({ memberId: n.toString(16).padStart(32, "5") }));
  for (const one of portals) {
    one.answer("crm.deal.list", () => []);
    await app.fetch(post(one.install(2)));
  }
  await app.settled();
  const startedAt = performance.now();
  await Promise.all(portals.map((one) => app.fetch(post(one.update(3)))));
  await app.settled();
  const counts = await app.admin.counts();
  console.log(
    `upgraded ${counts.find(({ version }) => version === "3.0.0")?.count} in ${performance.now() - startedAt} ms`,
  );
  // An exporter may wait at the end for a collector that hangs.
  process.kill(process.pid, "SIGKILL");
}
await app.close();
await shutDown();
