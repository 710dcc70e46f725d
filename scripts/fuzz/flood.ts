/**
 * Sends forged events of a million portals to an app and prints what they cost: entries in the storage, requests to the
 * OAuth hosts, and memory, which must not grow any further after the first tenth.
 *
 *     deno run -A --v8-flags=--expose-gc scripts/fuzz/flood.ts [posts]
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { post, quietLogger } from "../../tests/support/app.ts";

const POSTS = Number(process.argv[2] ?? 1_000_000);
/** Number of concurrent requests. */
const CONCURRENT = 200;
/** Maximum ratio of the memory at the end to the memory after a tenth; V8's own share varies. */
const WANTED = 1.5;
/** Maximum number of requests a minute. */
const WANTED_REQUESTS = 240;

const storage = memoryStorage();
const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
const fetch: typeof globalThis.fetch = (input) => {
  requests++;
  const url = input instanceof Request ? input.url : String(input);
  // Not the fake's own answer: it records each call, which would count as the app's memory.
  return Promise.resolve(Response.json({ error: url.includes("app.info") ? "expired_token" : "" }, { status: 401 }));
};
let requests = 0;
const app = createApp({
  storage,
  clientId: "app.5f3a",
  clientSecret: "secret",
  fetch,
  tickEveryMs: false,
  logger: quietLogger,
}).use(applicationToken());
await app.start();

const model = bitrix24.portal({ memberId: "0".repeat(32) }).update(3);
const statuses = new Map<number, number>();

async function sendForged(): Promise<void> {
  const body = model
    .replace(`member_id%5D=${"0".repeat(32)}`, `member_id%5D=${crypto.randomUUID().replaceAll("-", "")}`)
    .replace(/access_token%5D=\w+/, `access_token%5D=forged-${crypto.randomUUID()}`);
  const response = await app.fetch(post(body));
  await response.body?.cancel();
  statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
}

function heap(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed;
}

const startedAt = Date.now();
let early = 0;
for (let done = 0; done < POSTS; done += CONCURRENT) {
  await Promise.all(Array.from({ length: CONCURRENT }, sendForged));
  if (early === 0 && done >= POSTS / 10) early = heap();
}
const ratio = heap() / early;
let entries = 0;
for await (const _ of storage.list([])) entries++;
const minutes = Math.ceil((Date.now() - startedAt) / 60_000) + 1;
const answers = Array.from(statuses, ([status, count]) => `${count} times ${status}`).join(", ");
console.log(`${POSTS} posts in ${Math.round((Date.now() - startedAt) / 1000)} s: ${answers}`);
console.log(`${entries} entries are stored, wanted 0`);
console.log(
  `${requests} requests to OAuth hosts, wanted at most ${WANTED_REQUESTS} a minute: ${WANTED_REQUESTS * minutes}`,
);
console.log(`memory is ${ratio.toFixed(2)} times that after a tenth, wanted at most ${WANTED}`);
process.exitCode = entries === 0 && requests <= WANTED_REQUESTS * minutes && ratio <= WANTED ? 0 : 1;
await app.close();
