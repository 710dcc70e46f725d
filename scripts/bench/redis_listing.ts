/**
 * Compares the time in which `redisStorage` lists ten entries under a prefix, among a million entries and among a thousand,
 * as a ratio. Starts two Redis servers, which take turns round by round; needs about 500 MB.
 *
 *     deno run -A scripts/bench/redis_listing.ts
 *     node scripts/bench/redis_listing.ts          (in a project that has the package installed)
 */
import type { Storage } from "@b24/onappupdate";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { createClient } from "redis";
import { type RedisServer, startRedis } from "../redis_server.ts";
import { report } from "./_bench.ts";

/** Maximum ratio. */
const WANTED = 2;
const ROUNDS = 41;
const CALLS = 100;
const [FEW, MANY] = [1000, 1_000_000];

/** Writes entries as the storage does, many in one round trip: half sort before the listed ones, half after. */
const FILL = `
  for i = ARGV[1], ARGV[2] - 1 do
    local key = string.format("%s\\0%07d\\0", i % 2 == 0 and "before" or "past", i)
    redis.call("SET", "{onappupdate}:entry:" .. key, "1 " .. ARGV[3] .. " - " .. i)
    redis.call("ZADD", "{onappupdate}:keys", 0, key)
  end`;

type Send = (args: string[]) => Promise<unknown>;

async function fill(send: Send, storage: Storage, count: number): Promise<void> {
  for (let i = 0; i < 50; i++) await storage.put(["listed", String(i)], i);
  for (let from = 50; from < count; from += 10_000) {
    const to = Math.min(from + 10_000, count);
    await send(["EVAL", FILL, "0", String(from), String(to), crypto.randomUUID()]);
  }
  const { length } = await Array.fromAsync(storage.list(["past"], { limit: 100 }));
  const stored = await send(["ZCARD", "{onappupdate}:keys"]);
  if (length !== 100 || Number(stored) !== count) throw new Error(`stored ${stored} entries, wanted ${count}`);
}

/** Returns the time (ms) of one listing. */
async function measure(storage: Storage): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < CALLS; i++) {
    const { length } = await Array.fromAsync(storage.list(["listed"], { limit: 10 }));
    if (length !== 10) throw new Error(`listed ${length} entries, wanted 10`);
  }
  return (performance.now() - start) / CALLS;
}

const servers: RedisServer[] = [];
const closers: (() => void)[] = [];
try {
  const storages: Storage[] = [];
  for (const count of [FEW, MANY]) {
    const server = await startRedis("--appendonly", "no");
    servers.push(server);
    const client = createClient({ socket: { host: "127.0.0.1", port: server.port } });
    await client.connect();
    closers.push(() => client.destroy());
    const storage = redisStorage(client, { timeoutMs: 60_000 });
    await fill((args) => client.sendCommand(args), storage, count);
    storages.push(storage);
  }
  const [few, many] = storages as [Storage, Storage];
  const [ofFew, ratios]: [number[], number[]] = [[], []];
  for (let round = 0; round <= ROUNDS; round++) {
    // The order alternates, because the first may pay for garbage that the other left.
    const first = round % 2 === 0 ? await measure(many) : undefined;
    const fewMs = await measure(few);
    const manyMs = first ?? await measure(many);
    if (round === 0) continue; // warm-up
    ofFew.push(fewMs);
    ratios.push(manyMs / fewMs);
  }
  report({ name: `listing ten entries among ${FEW} in Redis`, values: ofFew, unit: "ms" });
  report({
    name: `listing ten entries in Redis, among ${MANY} ÷ among ${FEW}`,
    values: ratios,
    wanted: { atMost: WANTED },
    isExact: true,
  });
} finally {
  for (const close of closers) close();
  for (const { remove } of servers) await remove();
}
