/**
 * Compares every storage with its bare client, which does the same work with the same durability: calls per second, as a
 * ratio, in one process, in turn, round by round. Each call is awaited before the next.
 *
 *     deno run -A scripts/bench/storage.ts
 *     node scripts/bench/storage.ts          (in a project that has the package installed)
 *
 * Starts two Redis servers: one that is as durable as the file (`appendfsync always`), and one without persistence, which
 * shows the processor time of a call. Fails if puts into the file or into the durable Redis have less than 0.7 of the bare
 * client's rate.
 */
// deno-lint-ignore-file no-console
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import type { Key } from "@b24/onappupdate/storage";
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { startRedis } from "../redis_server.ts";
import { median, runtime } from "./_bench.ts";

/** Minimum ratio for puts into a durable storage. */
const WANTED = 0.7;
/** Storages whose puts are on disk when they resolve. */
const DURABLE = ["file", "node-redis", "ioredis"];
/** Many short rounds, because the speed of a socket varies within tenths of a second. */
const ROUNDS = 31;
/** Approximate time (ms) of the bare client's calls in a round. */
const ROUND_MS = 12;
const onDeno = "Deno" in globalThis;

/** About as long as a portal's record. */
const VALUE = { format: 1, memberId: "a223c6b3710f85df22e9377d6c4f7553", settings: "x".repeat(500) };
const RECORD: Key = ["record", "portal"];
/** Changed by compare-and-set only. */
const COUNTED: Key = ["record", "counted"];
const nameOf = (key: readonly string[]): string => key.join("/");
/** The ten entries that are listed, under `b`, among a thousand others. */
const STORED: readonly Key[] = [["a", 500], ["b", 10], ["c", 500]].flatMap(([first, count]) =>
  Array.from({ length: Number(count) }, (_, i): Key => [String(first), String(i).padStart(3, "0")])
);

/** One call of each operation. Each returns or resolves to true if it did what it should. */
interface Calls {
  /** Writes VALUE under RECORD, unconditionally. */
  readonly put: () => unknown;
  /** Reads RECORD. */
  readonly get: () => unknown;
  /** Writes VALUE under COUNTED if the previous call wrote the entry's current version. */
  readonly cas: () => unknown;
  /** Reads all entries under `b`. */
  readonly list: () => unknown;
}

interface Contest {
  readonly name: string;
  readonly own: Calls;
  readonly bare: Calls;
}

/** Run at the end, in reverse order. */
const closers: (() => unknown)[] = [];

/** Fills a storage and returns its calls. */
async function callsOf(storage: Storage): Promise<Calls> {
  for (const key of STORED) await storage.put(key, VALUE);
  await storage.put(RECORD, VALUE);
  let { version } = await storage.put(COUNTED, VALUE) as { readonly version: string };
  return {
    put: async () => (await storage.put(RECORD, VALUE)).ok,
    get: async () => (await storage.get<typeof VALUE>(RECORD))?.value.format === 1,
    cas: async () => {
      const result = await storage.put(COUNTED, VALUE, { ifVersion: version });
      if (result.ok) version = result.version;
      return result.ok;
    },
    list: async () => {
      let count = 0;
      for await (const { value } of storage.list<typeof VALUE>(["b"], { limit: 10 })) count += value.format;
      return count === 10;
    },
  };
}

/** JSON strings in maps, as a program without a storage would have them. */
async function memory(): Promise<Contest> {
  const texts = new Map<string, { readonly text: string; readonly version: number }>();
  const listed = new Map<string, string>();
  const set = (name: string, version: number): boolean => {
    texts.set(name, { text: JSON.stringify(VALUE), version });
    return true;
  };
  for (const key of STORED) if (key[0] === "b") listed.set(nameOf(key), JSON.stringify(VALUE));
  let version = 0;
  set(nameOf(RECORD), version);
  set(nameOf(COUNTED), version);
  return {
    name: "memory",
    own: await callsOf(memoryStorage()),
    bare: {
      put: () => set(nameOf(RECORD), 0),
      get: () => JSON.parse(texts.get(nameOf(RECORD))!.text).format === 1,
      cas: () => texts.get(nameOf(COUNTED))!.version === version && set(nameOf(COUNTED), ++version),
      list: () => Array.from(listed.values(), (text) => JSON.parse(text)).length === 10,
    },
  };
}

/** `node:sqlite` with the storage's durability: WAL, synchronous FULL, a commit for each write. */
async function file(folder: string): Promise<Contest> {
  const storage = fileStorage({ path: join(folder, "own.db") });
  const db = new DatabaseSync(join(folder, "bare.db"));
  closers.push(() => storage.close?.(), () => db.close());
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE entries (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL) STRICT`);
  const put = db.prepare(`INSERT INTO entries VALUES (?, ?, 0) ON CONFLICT (key)
    DO UPDATE SET value = excluded.value, version = version + 1`);
  const get = db.prepare("SELECT value FROM entries WHERE key = ?");
  const cas = db.prepare("UPDATE entries SET value = ?, version = version + 1 WHERE key = ? AND version = ?");
  const list = db.prepare("SELECT value FROM entries WHERE key > ? AND key < ? ORDER BY key LIMIT 10");
  // One commit each, as in the storage, so that the write-ahead log reaches its full size.
  for (const key of [...STORED, RECORD, COUNTED]) put.run(nameOf(key), JSON.stringify(VALUE));
  let version = 0;
  return {
    name: "file",
    own: await callsOf(storage),
    bare: {
      put: () => put.run(nameOf(RECORD), JSON.stringify(VALUE)).changes === 1,
      get: () => JSON.parse(String(get.get(nameOf(RECORD))!["value"])).format === 1,
      cas: () => cas.run(JSON.stringify(VALUE), nameOf(COUNTED), version++).changes === 1,
      list: () => list.all("b/", "b0").map(({ value }) => JSON.parse(String(value))).length === 10,
    },
  };
}

async function denoKv(folder: string): Promise<Contest> {
  const open = onDeno ? Deno.openKv : (await import("@deno/kv")).openKv as unknown as typeof Deno.openKv;
  const [own, kv] = [await open(join(folder, "own.kv")), await open(join(folder, "bare.kv"))];
  closers.push(() => own.close(), () => kv.close());
  for (const key of [...STORED, RECORD]) await kv.set(key, VALUE);
  let { versionstamp } = await kv.set(COUNTED, VALUE);
  return {
    name: "deno kv",
    own: await callsOf(denoKvStorage(own)),
    bare: {
      put: async () => (await kv.set(RECORD, VALUE)).ok,
      get: async () => (await kv.get<typeof VALUE>(RECORD)).value?.format === 1,
      cas: async () => {
        const result = await kv.atomic().check({ key: COUNTED, versionstamp }).set(COUNTED, VALUE).commit();
        if (result.ok) versionstamp = result.versionstamp;
        return result.ok;
      },
      list: async () => (await Array.fromAsync(kv.list({ prefix: ["b"] }, { limit: 10 }))).length === 10,
    },
  };
}

/** `send` sends a command by the bare client. */
async function redis(
  name: string,
  own: Storage,
  send: (...command: [string, ...string[]]) => Promise<unknown>,
): Promise<Contest> {
  const CAS = `if redis.call("HGET", KEYS[1], "version") ~= ARGV[1] then return 0 end
    redis.call("HSET", KEYS[1], "version", ARGV[2], "value", ARGV[3])
    return 1`;
  const bare = (key: Key): string => `${name}/${nameOf(key)}`;
  for (const key of [...STORED, RECORD]) {
    await send("SET", bare(key), JSON.stringify(VALUE));
    await send("ZADD", `${name}/index`, "0", bare(key));
  }
  let version = 0;
  await send("HSET", bare(COUNTED), "version", String(version), "value", JSON.stringify(VALUE));
  const sha = String(await send("SCRIPT", "LOAD", CAS));
  return {
    name,
    own: await callsOf(own),
    bare: {
      put: async () => await send("SET", bare(RECORD), JSON.stringify(VALUE)) === "OK",
      get: async () => JSON.parse(String(await send("GET", bare(RECORD)))).format === 1,
      cas: async () => {
        const versions = [String(version), String(++version)];
        return await send("EVALSHA", sha, "1", bare(COUNTED), ...versions, JSON.stringify(VALUE)) === 1;
      },
      list: async () => {
        const [from, to] = [`[${bare(["b"])}/`, `(${bare(["b"])}0`];
        const keys = await send("ZRANGEBYLEX", `${name}/index`, from, to, "LIMIT", "0", "10") as [string, ...string[]];
        const texts = await send("MGET", ...keys) as string[];
        return texts.map((text) => JSON.parse(text)).length === 10;
      },
    },
  };
}

/** Starts an empty server and resolves to its port. */
async function startServer(folder: string, isDurable: boolean): Promise<number> {
  const durability = isDurable ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"];
  const server = await startRedis(...durability, "--dir", mkdtempSync(join(folder, "redis-")));
  closers.push(server.remove);
  return server.port;
}

/** Returns the time (ms) of `count` calls. */
async function measure(call: () => unknown, count: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    if (await call() !== true) throw new Error("a call did not do what it should");
  }
  return performance.now() - start;
}

/** Returns the number of calls that take about ROUND_MS. */
async function calibrate(call: () => unknown): Promise<number> {
  for (let count = 8;; count *= 2) {
    const elapsed = await measure(call, count);
    if (elapsed >= ROUND_MS / 2) return Math.ceil(count * ROUND_MS / elapsed);
  }
}

/** Returns the bare client's calls per second, and the storage's rate as a ratio to it. */
async function compare(
  own: () => unknown,
  bare: () => unknown,
): Promise<{ readonly rate: number; readonly ratio: number }> {
  const count = await calibrate(bare);
  await measure(own, count);
  const rates: number[] = [], ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    // The order alternates, because the first may pay for garbage that the other left.
    const ownFirst = round % 2 === 0 ? await measure(own, count) : undefined;
    const ofBare = await measure(bare, count);
    const ofOwn = ownFirst ?? await measure(own, count);
    rates.push(count / ofBare * 1000);
    ratios.push(ofBare / ofOwn);
  }
  return { rate: median(rates), ratio: median(ratios) };
}

async function redisContests(folder: string, isDurable: boolean): Promise<Contest[]> {
  const port = await startServer(folder, isDurable);
  const nodeRedis = await createClient({ url: `redis://127.0.0.1:${port}` }).on("error", console.error).connect();
  closers.push(() => nodeRedis.close());
  const ioredis = new Redis(port, "127.0.0.1");
  closers.push(() => ioredis.quit());
  const suffix = isDurable ? "" : " (memory)";
  const [first, second] = [`node-redis${suffix}`, `ioredis${suffix}`];
  return [
    await redis(first, redisStorage(nodeRedis, { prefix: first }), (...command) => nodeRedis.sendCommand(command)),
    await redis(second, redisStorage(ioredis, { prefix: second }), (name, ...args) => ioredis.call(name, ...args)),
  ];
}

async function contests(folder: string): Promise<Contest[]> {
  return [
    await memory(),
    await file(folder),
    await denoKv(folder),
    ...await redisContests(folder, true),
    ...await redisContests(folder, false),
  ];
}

const folder = mkdtempSync(join(tmpdir(), "onappupdate-bench-"));
try {
  const line = (cells: readonly string[]): void => console.log(cells.map((cell) => cell.padEnd(21)).join("").trimEnd());
  console.log(`${runtime}: ratio to the bare client's calls per second`);
  line(["", "put", "get", "compare-and-set", "list(10)"]);
  for (const { name, own, bare } of await contests(folder)) {
    const cells = [name];
    for (const operation of ["put", "get", "cas", "list"] as const) {
      const { rate, ratio } = await compare(own[operation], bare[operation]);
      const missed = operation === "put" && DURABLE.includes(name) && ratio < WANTED;
      cells.push(`${ratio.toFixed(2)} of ${(rate / 1000).toFixed(1)}k${missed ? ` (!)` : ""}`);
      if (missed) process.exitCode = 1;
    }
    line(cells);
  }
  if (process.exitCode === 1) console.log(`(!) wanted at least ${WANTED}`);
} finally {
  for (const close of closers.toReversed()) await close();
  rmSync(folder, { recursive: true, force: true });
}
