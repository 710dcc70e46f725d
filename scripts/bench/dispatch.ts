/**
 * `app.fetch` with memory storage beside a bare Hono handler that reads and parses the same body and answers: requests
 * per second as a ratio, in one process, on interleaved rounds. Runs on Deno and on Node.
 *
 *     deno run -A scripts/bench/dispatch.ts
 *     node scripts/bench/dispatch.ts          (in a project that has the package installed)
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { Hono } from "hono";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";

const ROUNDS = 15;
const REQUESTS = 2000;
const WANTED = 0.6;
const FORM = { "content-type": "application/x-www-form-urlencoded" };

const hono = new Hono();
hono.post("/", async (c) => {
  await c.req.parseBody();
  return c.body(null, 200);
});

const quiet = (): void => {};
const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
const app = createApp({
  storage: memoryStorage(),
  clientId: "app.5f3a",
  fetch: bitrix24.fetch,
  logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
}).use(applicationToken()).upgrade("2", () => {});

type Handler = (request: Request) => Response | Promise<Response>;

async function rate(handler: Handler, bodies: readonly string[]): Promise<number> {
  const begin = performance.now();
  for (const body of bodies) {
    const response = await handler(new Request("http://localhost/", { method: "POST", body, headers: FORM }));
    if (response.status !== 200) throw new Error(`answered ${response.status}: ${await response.text()}`);
  }
  return bodies.length / (performance.now() - begin) * 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

await app.fetch(new Request("http://localhost/", { method: "POST", body: portal.install(1), headers: FORM }));
const repeated = portal.update(2);
const rates = { hono: [] as number[], fresh: [] as number[], repeated: [] as number[] };
for (let round = 0; round < ROUNDS; round++) {
  // Every body of `fresh` is a new event, stored and worked on; the same bodies go to Hono.
  const fresh = Array.from({ length: REQUESTS }, () => portal.update(2));
  rates.hono.push(await rate((request) => hono.fetch(request), fresh));
  rates.fresh.push(await rate(app.fetch, fresh));
  rates.repeated.push(await rate(app.fetch, fresh.map(() => repeated)));
}
await app.close();

const runtime = "Deno" in globalThis ? "Deno" : `Node ${process.versions.node}`;
const bare = median(rates.hono);
console.log(`${runtime}: a bare Hono handler answers ${Math.round(bare)} requests/s`);
let good = true;
for (const kind of ["fresh", "repeated"] as const) {
  const ratio = median(rates[kind]) / bare;
  good &&= ratio >= WANTED;
  console.log(`${runtime}: app.fetch, ${kind} events: ${ratio.toFixed(2)} of that (wanted ${WANTED})`);
}
if (!good) process.exitCode = 1;
