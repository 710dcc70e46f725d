/** Leaves rejections unhandled in handlers, and outside of them; run by unhandled_rejection_test.ts. */
// deno-lint-ignore-file no-console
import { createApp, memoryStorage } from "@b24/onappupdate";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, OTHER_MEMBER_ID, post, quietLogger, trustAll } from "../../support/app.ts";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
const options = { storage: memoryStorage(), logger: quietLogger, acknowledge: "handled", checks: false } as const;
const other = createApp({ ...options, storage: memoryStorage() }).use(trustAll);
const app = createApp(options).use(trustAll).upgrade("3", async ({ memberId, signal, step }) => {
  if (memberId === MEMBER_ID) {
    void sleep(10).then(() => Promise.reject(new Error("forgotten in an upgrade")));
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  }
  await step("slow", () => sleep(100));
}).on("ONCRMDEALADD", async ({ signal }) => {
  void Promise.reject(new Error("forgotten in a handler"));
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
});
await other.start();
await app.start();
const [portal, healthy] = [MEMBER_ID, OTHER_MEMBER_ID].map((memberId) => bitrix24.portal({ memberId }));
for (const body of [portal!.install(2), healthy!.install(2)]) await app.fetch(post(body));
await Promise.all([portal!.update(3), healthy!.update(3)].map((body) => app.fetch(post(body))));
await app.fetch(post(portal!.event("ONCRMDEALADD", { "FIELDS[ID]": "7" })));
const [failed, upgraded] = await Promise.all([MEMBER_ID, OTHER_MEMBER_ID].map((memberId) => app.portal(memberId)));
console.log(`failed: ${failed!.failure?.message}, attempts ${failed!.failure?.attempts}`);
console.log(`upgraded: ${upgraded!.version}`);
await other.close();
await app.close();
// Not started: it charges its handlers only during the rehearsal.
const rehearsing = createApp(options).use(trustAll).upgrade("4", async ({ signal }) => {
  void Promise.reject(new Error("forgotten in a rehearsal"));
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
}, { rehearsal: true });
const { upgrades } = await rehearsing.rehearse(OTHER_MEMBER_ID, { target: "4" });
console.log(`rehearsed: ${upgrades[0]!.outcome}, ${upgrades[0]!.why}`);
void Promise.reject(new Error("foreign"));
await sleep(50);
console.log("the process goes on");
