/**
 * Stores an app's state in Redis or Valkey, through a client that you open and close: `redis` (node-redis) 5 or later, or
 * `ioredis`, for one server, Sentinel or a cluster.
 *
 * - **node-redis**: `npm install redis`, then
 *   `await createClient({ url: "redis://…" }).on("error", (error) => console.error(error.message)).connect()`. Without the
 *   listener for `error`, a lost connection ends the process. For a cluster, use
 *   `createCluster({ rootNodes: [{ url: "redis://…" }] })` in the same way. A pool is refused: one client sends all commands
 *   of a storage at once.
 * - **ioredis**: `npm install ioredis`, then `new Redis("redis://…")` or `new Cluster([{ host: "…" }])`.
 *
 * Set the client's `socketTimeout` a few seconds above `timeoutMs`, so that it detects a host that vanished silently. In
 * node-redis the option is under `socket`, and needs a shorter `pingInterval`. On Deno, both libraries need `--allow-net`,
 * and `--allow-env` or `--ignore-env`.
 *
 * **The server**: Redis 6.2 or later; tested with Redis 7.0.
 *
 * - `maxmemory-policy noeviction`. Every other policy evicts entries when memory is short.
 * - `appendonly yes`. With `appendfsync always`, an acknowledged write is on disk; then set the option `durable`. With the
 *   default `everysec`, a failure of the host loses the last second or two. With snapshots only, it loses minutes.
 * - **A failover can lose acknowledged writes**, because a replica receives a write after the caller has its reply. The
 *   last writes are then missing, a compare-and-set that one process has won can be won again by another, and a deleted
 *   entry can reappear. `WAIT` and `min-replicas-to-write` make this rarer but do not exclude it, so the storage uses
 *   neither. If you cannot accept it, disable automatic failover or use another storage.
 * - A user with limited rights needs `EVAL` and `EVALSHA`, and for the keys `{onappupdate}:*` also `TIME`, `EXISTS`, `GET`,
 *   `GETRANGE`, `SET`, `DEL`, `ZADD`, `ZREM`, `ZSCORE`, `ZRANGEBYLEX` and `ZRANGEBYSCORE`.
 *
 * **Stored keys**. All of them are in one hash slot: a cluster adds replicas, but no capacity beyond one master. Storages
 * with different prefixes can be in different slots.
 *
 * | key                                     | value                                                                     |
 * | --------------------------------------- | ------------------------------------------------------------------------- |
 * | `{onappupdate}:entry:` and the key      | string: format, version, time of expiry or `-`, and the JSON of the value |
 * | `{onappupdate}:keys`                    | sorted set of the keys of all entries, for listings                       |
 * | `{onappupdate}:expiry`                  | sorted set of the keys of entries that expire, by time of expiry          |
 * | `{onappupdate}:receipt:` and a write id | empty string: this write was done; expires a second after its deadline    |
 *
 * **Requests**. Each call is one request: `GET` for `get`, otherwise a script, which the server runs as a whole. `write`
 * applies all operations, or none if a condition does not hold. In a cluster and with Sentinel, `get` is a script, too: only
 * masters run scripts, and a replica may be behind. A listing is one request for each 64 entries. The first write of a
 * storage takes a second request, to learn the server's time. Entries expire by the server's clock.
 *
 * **Outages**. The storage repeats an interrupted request, and one that a starting server or a replica (`READONLY`) refuses,
 * until `timeoutMs` is over; ioredis and Sentinel clients repeat some on their own. A repeated write is done once, and a lost
 * reply is never reported as a failed condition:
 *
 * - A write that requires a version is recognized by the version that it stored. If another process has replaced that in
 *   the meantime, the call rejects with `StorageError`, because the outcome is unknown.
 * - Every other write leaves a receipt, by which the server recognizes it. Through Sentinel, every write does.
 *
 * The server ignores a write that reaches it after `timeoutMs`, because it was queued or the server was paused. `redis`
 * starts no timer for the storage's commands, which have `timeoutMs`.
 *
 * @module
 */
import { checkOptions, option, type OptionRules, type Storage } from "../mod.ts";
import { encodeOperations, encodeValue, expiryOf, type Key } from "../storage.ts";
import { CLIENT_RULES, connectionOf, type IoredisClient, type NodeRedisClient } from "./redis_storage/connection.ts";
import type { Context } from "./redis_storage/context.ts";
import { createKeyspace } from "./redis_storage/keyspace.ts";
import { listEntries } from "./redis_storage/listing.ts";
import { readEntry } from "./redis_storage/reads.ts";
import { createScriptRunner, type Operation } from "./redis_storage/script_runner.ts";
import { type EntryWrite, writeEntries } from "./redis_storage/writes.ts";

export type { IoredisClient, NodeRedisClient };

/** Options of {@linkcode redisStorage}. */
export interface RedisStorageOptions {
  /**
   * Start of every key, in braces. Storages with different prefixes share a database without seeing each other's entries.
   * Not empty, without braces.
   *
   * @default "onappupdate"
   */
  readonly prefix?: string;
  /**
   * Whether the server writes to disk before it acknowledges a write (`appendfsync always`). The storage only reports it in
   * its capabilities; it does not ask the server.
   *
   * @default false
   */
  readonly durable?: boolean;
  /**
   * Max duration in milliseconds of a call, and of each page of a listing, with all its repetitions. Above 0, below 2^31.
   *
   * @default 5000
   */
  readonly timeoutMs?: number;
  /**
   * For tests: returns the time in milliseconds since 1970. Entries then expire by it, and the server does not remove
   * expired entries on its own.
   *
   * @default the server's clock
   */
  readonly clock?: () => number;
}

const OPTION_RULES: OptionRules<RedisStorageOptions> = {
  prefix: option.value("a text without braces", (prefix) => typeof prefix === "string" && /^[^{}]+$/.test(prefix)),
  durable: option.flag(),
  timeoutMs: option.duration(),
  clock: option.function(),
};

/**
 * Creates a storage on `client`. You own the client: close it after `app.close()`.
 *
 * When `put`, `delete` or `write` resolves, the write is in the memory of the master; with `appendfsync always`, also on its
 * disk.
 *
 * While the client has no connection, calls wait. They resolve if the server is back in time, and fail with
 * `StorageError` when `timeoutMs` is over. They are not put into the client's own queue, so none of them is sent after it
 * has failed. A write that timed out may have been done.
 *
 * All methods throw `StorageError` if Redis refuses the command or other data is stored under the key, and `FormatError`
 * if a newer version of this library wrote the entry. `put` throws `TypeError` for a value that JSON cannot represent, and
 * for a `ttlMs` that is not a finite number. Errors never contain a value: `cause` is a copy of the client's error with its
 * message and code, without the arguments of the command.
 *
 * @throws {TypeError} if `client` is of neither library, `prefix` is empty, contains braces or is not a well-formed string,
 * or an option is unknown or invalid
 *
 * @example
 * ```ts
 * import { createApp } from "@b24/onappupdate";
 * import { redisStorage } from "@b24/onappupdate/redis-storage";
 * import { createClient } from "redis";
 *
 * const client = createClient({ url: "redis://127.0.0.1:6379" });
 * client.on("error", (error) => console.error(error.message)); // without it, a lost connection ends the process
 * await client.connect();
 *
 * const app = createApp({ storage: redisStorage(client) });
 * await app.close();
 * await client.close();
 * ```
 */
export function redisStorage(
  client: NodeRedisClient | IoredisClient,
  options: RedisStorageOptions = {},
): Storage {
  checkOptions("cannot use Redis", options, OPTION_RULES);
  checkOptions("cannot use Redis", { client }, CLIENT_RULES);
  const { prefix = "onappupdate", durable = false, timeoutMs = 5000, clock } = options;
  const keyspace = createKeyspace(prefix);
  const connection = connectionOf(client);
  const runScript = createScriptRunner(connection, timeoutMs);
  const hidesResends = connection.interruptions === undefined;
  const context: Context = { runScript, keyspace, timeoutMs, clock, hidesResends, serverAheadMs: undefined };

  return {
    name: "redis",
    capabilities: { durable, scope: "network" },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      const operation: Operation = { describe: () => `get ${JSON.stringify(copy)} from Redis`, signal };
      return await readEntry<T>(context, operation, copy);
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      const write: EntryWrite = { key: copy, json: encodeValue(copy, value), ifVersion, ttlMs };
      expiryOf(copy, 0, ttlMs); // throws for an invalid ttlMs
      const operation: Operation = { describe: () => `put ${JSON.stringify(copy)} into Redis`, signal };
      const result = await writeEntries(context, operation, [write]);
      return result.ok ? { ok: true, version: result.versions[0]! } : { ok: false };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      const operation: Operation = { describe: () => `delete ${JSON.stringify(copy)} from Redis`, signal };
      const { ok } = await writeEntries(context, operation, [{ key: copy, ifVersion, ttlMs: undefined }]);
      return { ok };
    },

    write: async (operations, { signal } = {}) => {
      signal?.throwIfAborted();
      const writes = encodeOperations(operations);
      const operation: Operation = { describe: () => "write to Redis", signal };
      return await writeEntries(context, operation, writes);
    },

    list: (prefix, options = {}) => listEntries(context, prefix, options),
  };
}
