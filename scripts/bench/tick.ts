/**
 * Compares the time of `app.tick()` with ten due portals among a million idle ones and among a thousand, as a ratio, for
 * every storage. Also prints the rates of acknowledged events and finished upgrades, which have no goal. Starts a Redis
 * server of its own; needs about 3 GB.
 *
 *     deno run -A scripts/bench/tick.ts
 *     node scripts/bench/tick.ts          (in a project that has the package installed)
 */
// deno-lint-ignore-file no-console
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type App, createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { createClient } from "redis";
import { backgroundWork, post, quietLogger as logger, trustAll } from "../../tests/support/app.ts";
import { startRedis } from "../redis_server.ts";
import { median, report, runtime } from "./_bench.ts";

/** Maximum ratio. */
const WANTED = 2;
const IDLE = [1000, 1_000_000] as const;
const DUE = 10;
const ROUNDS = 15;
const EVENTS = 2000;

const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
let now = 1_785_400_000_000;

/** Returns a member_id whose first digits vary most, as in real ones, which are digests. */
function memberId(kind: string, n: number): string {
  return Array.from(n.toString(16).padStart(31, "0")).reverse().join("") + kind;
}

/** Returns an app with ten portals whose upgrade always fails, so that they are due again after each tick. */
async function withTenDue(storage: Storage): Promise<App> {
  const retry = { maxAttempts: 1_000_000, initialDelayMs: 1000, maxDelayMs: 1000 };
  const app = createApp({ storage, logger, retry, clock: () => now, acknowledge: "handled", tickEveryMs: false })
    .use(trustAll).upgrade("3", () => Promise.reject(new Error("never")));
  for (let n = 0; n < DUE; n++) {
    const portal = bitrix24.portal({ memberId: memberId("d", n) });
    for (const body of [portal.install(2), portal.update(3)]) await app.fetch(post(body));
  }
  return app;
}

/** Adds a batch of idle portals. */
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

/** Returns the median time (ms) of a tick. */
async function tickMs(app: App): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    now += 10_000;
    const start = performance.now();
    const { failed } = await app.tick();
    times.push(performance.now() - start);
    if (failed !== DUE) throw new Error(`a tick processed ${failed} portals, wanted ${DUE}`);
  }
  return median(times);
}

async function rates(storage: Storage): Promise<string> {
  const app = createApp({ storage, logger, clock: () => now, tickEveryMs: false }).use(trustAll)
    .upgrade("3", async ({ step }) => void await step("one", () => 1));
  const portals = Array.from({ length: EVENTS }, (_, n) => bitrix24.portal({ memberId: memberId("e", n) }));
  const { platform, settled } = backgroundWork();
  const send = async (body: string): Promise<void> => {
    const { status } = await app.fetch(post(body), platform);
    if (status !== 200) throw new Error(`an event was answered ${status}, wanted 200`);
  };
  const sendAll = async (bodies: string[]): Promise<number> => {
    const start = performance.now();
    await Promise.all(Array.from({ length: 64 }, async () => {
      for (let body = bodies.pop(); body !== undefined; body = bodies.pop()) await send(body);
    }));
    return EVENTS / (performance.now() - start) * 1000;
  };
  await sendAll(portals.map((portal) => portal.install(2)));
  await settled();
  const start = performance.now();
  const acknowledged = await sendAll(portals.map((portal) => portal.update(3)));
  await settled();
  const upgraded = EVENTS / (performance.now() - start) * 1000;
  return `${Math.round(acknowledged)} acknowledged events/s, ${Math.round(upgraded)} finished upgrades/s`;
}

async function measure(name: string, storage: Storage, add: AddIdle = putting(storage)): Promise<void> {
  console.log(`${runtime}: ${name}: ${await rates(storage)}`);
  const app = await withTenDue(storage);
  const [few, many] = IDLE;
  await addIdle(add, 0, few);
  await tickMs(app);
  const before = await tickMs(app);
  await addIdle(add, few, many);
  const after = await tickMs(app);
  report({ name: `a tick among ${few} idle portals, ${name}`, values: [before], unit: "ms" });
  report({
    name: `a tick among ${many} ÷ among ${few} idle portals, ${name}`,
    values: [after / before],
    wanted: { atMost: WANTED },
    isExact: true,
  });
  await app.close();
}

/** Writes into the database itself, many entries at once. Their content does not matter, because nothing reads them. */
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
