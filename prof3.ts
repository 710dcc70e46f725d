import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
const quiet = (): void => {};
const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", fetch: bitrix24.fetch, logger: { debug: quiet, info: quiet, warn: quiet, error: quiet } }).use(applicationToken()).upgrade("2", () => {});
const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
const headers = { "content-type": "application/x-www-form-urlencoded" };
const go = (body: string) => app.fetch(new Request("http://localhost/", { method: "POST", body, headers }));
await go(portal.install(2));
const body = portal.update(2);
const N = Number(Deno.args[1] ?? 20000);
const t = performance.now();
for (let i = 0; i < N; i += 16) {
  await Promise.all(Array.from({ length: 16 }, (_, j) => go(Deno.args[0] === "fresh" ? body.replace(/&ts=\d+/, `&ts=${1785303600 + i + j}`) : body)));
  if (Deno.args[0] === "fresh") await new Promise((r) => setTimeout(r, 0));
}
console.log(Deno.args[0], ((performance.now() - t) / N * 1000).toFixed(1), "us");
