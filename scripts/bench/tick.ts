/**
 * What `app.tick()` costs with a million idle portals and ten due, beside a thousand idle and ten due: as a ratio in one
 * run, for memory and for a file. Also how many events a second are acknowledged, and how many upgrades finish.
 *
 *     deno run -A scripts/bench/tick.ts
 *     node scripts/bench/tick.ts          (in a project that has the package installed)
 */
// deno-lint-ignore-file no-console
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type App, createApp, memoryStorage, type Plugin, type Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";

const WANTED = 2;
const IDLE = [1000, 1_000_000] as const;
const DUE = 10;
const ROUNDS = 15;
const EVENTS = 2000;

const trusting: Plugin = { name: "trusting", phase: "verify", around: (_ctx, next) => next() };
const quiet = (): void => {};
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
let now = 1_785_400_000_000;

function post(app: App, body: string): Promise<Response> {
  const headers = { "content-type": "application/x-www-form-urlencoded", "content-length": String(body.length) };
  return app.fetch(new Request("http://localhost/", { method: "POST", body, headers }));
}

/** Spread like real ones, which are digests. */
function memberId(kind: string, n: number): string {
  return Array.from(n.toString(16).padStart(31, "0")).reverse().join("") + kind;
}

/** An app with ten portals whose upgrade never ends well, so that they are due again after each tick. */
async function withTenDue(storage: Storage): Promise<App> {
  const retry = { attempts: 1_000_000, firstMs: 1000, mostMs: 1000 };
  const app = createApp({ storage, logger, retry, clock: () => now, acknowledge: "handled", tickEveryMs: false })
    .use(trusting).upgrade("3", () => Promise.reject(new Error("never")));
  for (let n = 0; n < DUE; n++) {
    const portal = bitrix24.portal({ memberId: memberId("d", n) });
    for (const body of [portal.install(2), portal.update(3)]) await post(app, body);
  }
  return app;
}

async function addIdle(storage: Storage, from: number, to: number): Promise<void> {
  const record = { format: 1, status: "installed", version: "2.0.0", target: "2.0.0", applied: [] };
  for (let n = from; n < to; n += 500) {
    const some = Array.from({ length: Math.min(500, to - n) }, (_, i) => memberId("1", n + i));
    await Promise.all(some.map((id) => storage.put(["portal", id], record)));
  }
}

/** Milliseconds of one tick, the median of some. */
async function tickMs(app: App): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    now += 10_000;
    const begin = performance.now();
    const { failed } = await app.tick();
    times.push(performance.now() - begin);
    if (failed !== DUE) throw new Error(`a tick did ${failed}, wanted ${DUE}`);
  }
  return times.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)]!;
}

async function rates(storage: Storage): Promise<string> {
  const app = createApp({ storage, logger, clock: () => now, tickEveryMs: false }).use(trusting)
    .upgrade("3", async ({ step }) => void await step("one", () => 1));
  const portals = Array.from({ length: EVENTS }, (_, n) => bitrix24.portal({ memberId: memberId("e", n) }));
  const works: Promise<unknown>[] = [];
  const host = { waitUntil: (work: Promise<unknown>): void => void works.push(work) };
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const send = async (body: string): Promise<void> => {
    const { status } = await app.fetch(new Request("http://localhost/", { method: "POST", body, headers }), host);
    if (status !== 200) throw new Error(`an event was answered ${status}`);
  };
  const sendAll = async (bodies: string[]): Promise<number> => {
    const begin = performance.now();
    await Promise.all(Array.from({ length: 64 }, async () => {
      for (let body = bodies.pop(); body !== undefined; body = bodies.pop()) await send(body);
    }));
    return EVENTS / (performance.now() - begin) * 1000;
  };
  await sendAll(portals.map((portal) => portal.install(2)));
  await Promise.all(works);
  const begin = performance.now();
  const acknowledged = await sendAll(portals.map((portal) => portal.update(3)));
  await Promise.all(works);
  const upgraded = EVENTS / (performance.now() - begin) * 1000;
  return `${Math.round(acknowledged)} events acknowledged a second, ${Math.round(upgraded)} upgrades finished a second`;
}

async function measure(name: string, storage: Storage): Promise<void> {
  console.log(`${name}: ${await rates(storage)}`);
  const app = await withTenDue(storage);
  const [few, many] = IDLE;
  await addIdle(storage, 0, few);
  await tickMs(app);
  const before = await tickMs(app);
  await addIdle(storage, few, many);
  const after = await tickMs(app);
  const ratio = after / before;
  console.log(
    `${name}: a tick takes ${before.toFixed(1)} ms with ${few} idle portals, ${after.toFixed(1)} ms with ${many}: ` +
      `${ratio.toFixed(2)} times, wanted at most ${WANTED}`,
  );
  if (ratio > WANTED) process.exitCode = 1;
  await app.close();
}

await measure("memory", memoryStorage());
const folder = mkdtempSync(join(tmpdir(), "tick-"));
await measure("file", fileStorage({ path: join(folder, "app.db") }));
rmSync(folder, { recursive: true });
