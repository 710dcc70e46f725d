/**
 * Posts events of a million made-up portals to an app, and says what is left of them: entries in the storage, requests to
 * the OAuth hosts, and memory, of which a million must not take more than a hundred thousand did.
 *
 *     deno run -A --v8-flags=--expose-gc scripts/fuzz/flood.ts [posts]
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { createApp, memoryStorage } from "../../mod.ts";
import { applicationToken } from "../../plugins/application_token.ts";
import { fakeBitrix24 } from "../../src/testing/mod.ts";

const POSTS = Number(process.argv[2] ?? 1_000_000);
const TOGETHER = 200;
/** Of the memory after a tenth of the posts; what V8 itself keeps varies. */
const WANTED = 1.5;

const quiet = (): void => {};
const storage = memoryStorage();
const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
const fetch: typeof globalThis.fetch = (input) => {
  requests++;
  const url = input instanceof Request ? input.url : String(input);
  // What the fake remembers of each call must not be taken for the app's memory.
  return Promise.resolve(Response.json({ error: url.includes("app.info") ? "expired_token" : "" }, { status: 401 }));
};
let requests = 0;
const app = createApp({
  storage,
  clientId: "app.5f3a",
  clientSecret: "secret",
  fetch,
  tickEveryMs: false,
  logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
}).use(applicationToken());
await app.start();

const model = bitrix24.portal({ memberId: "0".repeat(32) }).update(3);
const statuses = new Map<number, number>();

async function post(): Promise<void> {
  const body = model
    .replace(`member_id%5D=${"0".repeat(32)}`, `member_id%5D=${crypto.randomUUID().replaceAll("-", "")}`)
    .replace(/access_token%5D=\w+/, `access_token%5D=forged-${crypto.randomUUID()}`);
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const response = await app.fetch(new Request("http://localhost/", { method: "POST", body, headers }));
  await response.body?.cancel();
  statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
}

function heap(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed;
}

const began = Date.now();
let early = 0;
for (let done = 0; done < POSTS; done += TOGETHER) {
  await Promise.all(Array.from({ length: TOGETHER }, post));
  if (early === 0 && done >= POSTS / 10) early = heap();
}
const ratio = heap() / early;
let entries = 0;
for await (const _ of storage.list([])) entries++;
const minutes = Math.ceil((Date.now() - began) / 60_000) + 1;
const answers = Array.from(statuses, ([status, count]) => `${count} times ${status}`).join(", ");
console.log(`${POSTS} posts in ${Math.round((Date.now() - began) / 1000)} s: ${answers}`);
console.log(`${entries} entries are stored, wanted 0`);
console.log(`${requests} requests to OAuth hosts, wanted at most 240 a minute: ${240 * minutes}`);
console.log(`memory is ${ratio.toFixed(2)} times that after a tenth, wanted at most ${WANTED}`);
process.exitCode = entries === 0 && requests <= 240 * minutes && ratio <= WANTED ? 0 : 1;
await app.close();
