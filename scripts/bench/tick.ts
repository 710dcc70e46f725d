/**
 * What `app.tick()` costs with a million idle portals and ten due, beside a thousand idle and ten due: as a ratio in one
 * run, for every storage. Also how many events a second are acknowledged, and how many upgrades finish. Starts a Redis
 * server of its own; needs about 3 GB.
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
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { createClient } from "redis";
import { startRedis } from "../redis_server.ts";

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
  const retry = { attempts: 1_000_000, initialDelayMs: 1000, maxDelayMs: 1000 };
  const app = createApp({ storage, logger, retry, clock: () => now, acknowledge: "handled", tickEveryMs: false })
    .use(trusting).upgrade("3", () => Promise.reject(new Error("never")));
  for (let n = 0; n < DUE; n++) {
    const portal = bitrix24.portal({ memberId: memberId("d", n) });
    for (const body of [portal.install(2), portal.update(3)]) await post(app, body);
  }
  return app;
}

/** Adds portals that have nothing to do, some at once. */
type AddIdle = (memberIds: readonly string[]) => Promise<unknown>;

const RECORD = { format: 1, status: "installed", version: "2.0.0", target: "2.0.0", applied: [] };

function putting(storage: Storage): AddIdle {
  return (ids) => Promise.all(ids.map((id) => storage.put(["portal", id], RECORD)));
}

async function addIdle(add: AddIdle, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n += 500) {
    await add(Array.from({ length: Math.min(500, to - n) }, (_, i) => memberId("1", n + i)));
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

async function measure(name: string, storage: Storage, add: AddIdle = putting(storage)): Promise<void> {
  console.log(`${name}: ${await rates(storage)}`);
  const app = await withTenDue(storage);
  const [few, many] = IDLE;
  await addIdle(add, 0, few);
  await tickMs(app);
  const before = await tickMs(app);
  await addIdle(add, few, many);
  const after = await tickMs(app);
  const ratio = after / before;
  console.log(
    `${name}: a tick takes ${before.toFixed(1)} ms with ${few} idle portals, ${after.toFixed(1)} ms with ${many}: ` +
      `${ratio.toFixed(2)} times, wanted at most ${WANTED}`,
  );
  if (ratio > WANTED) process.exitCode = 1;
  await app.close();
}

/** Straight into the database, for the storage writes one entry at a time; nobody reads what is idle. */
function addingToKv(kv: Deno.Kv): AddIdle {
  return async (ids) => {
    const atomic = kv.atomic();
    for (const id of ids) atomic.set(["onappupdate", "entry", "portal", id], new Uint8Array(200));
    await atomic.commit();
  };
}

await measure("memory", memoryStorage());
const folder = mkdtempSync(join(tmpdir(), "tick-"));
await measure("file", fileStorage({ path: join(folder, "app.db") }));

const openKv = "Deno" in globalThis ? Deno.openKv : (await import("@deno/kv")).openKv as unknown as typeof Deno.openKv;
const kv = await openKv(join(folder, "kv.db"));
await measure("Deno KV", denoKvStorage(kv), addingToKv(kv));
kv.close();

const server = await startRedis("--appendonly", "no");
const client = createClient({ socket: { port: server.port, host: "127.0.0.1" } });
await client.connect();
await measure("Redis", redisStorage(client));
await client.close();
await server.remove();
rmSync(folder, { recursive: true });
