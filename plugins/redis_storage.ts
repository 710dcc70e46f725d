/**
 * Keeps an app's state in Redis, or in Valkey, through a client of yours: `redis` (node-redis) or `ioredis`, for one
 * server, for Sentinel or for a cluster.
 *
 * - **node-redis**: `npm install redis`. It needs a listener for `error`, without which a lost connection ends the process,
 *   and `connect()`:
 *   `await createClient({ url: "redis://…" }).on("error", (error) => console.error(error.message)).connect()`.
 *   For a cluster, `createCluster({ rootNodes: [{ url: "redis://…" }] })` in the same way.
 * - **ioredis**: `npm install ioredis`, then `new Redis("redis://…")`, or `new Cluster([{ host: "…" }])`.
 *
 * Give either a `socketTimeout` of some seconds more than `timeoutMs` (node-redis has it under `socket`, and wants a shorter
 * `pingInterval` then): it is how a client notices that a host has vanished without a word. On Deno both need
 * `--allow-net` and `--allow-env`, or `--ignore-env`.
 *
 * **The server**, 5 or later, tried with Redis 7.0:
 *
 * - `maxmemory-policy noeviction`. Every other policy removes entries when memory is short.
 * - `appendonly yes`. With `appendfsync always` an acknowledged write is on its disk, and the option `durable` can say so.
 *   With `everysec`, the default then, a host that fails loses the last second or two; with snapshots only, minutes.
 * - **A fail-over may lose acknowledged writes**, as a replica is told after the caller: the last ones are gone, a
 *   compare-and-set that one process has won may be won again by another, and an entry that was deleted may be back. `WAIT`
 *   and `min-replicas-to-write` make that rarer and do not exclude it, so no use is made of them. Where it cannot be borne, have
 *   no automatic fail-over, or keep the state elsewhere.
 * - Users with few rights need `EVAL` and `EVALSHA`, and for the keys `{onappupdate}:*` `TIME`, `EXISTS`, `GET`, `GETRANGE`,
 *   `SET`, `DEL`, `ZADD`, `ZREM`, `ZSCORE`, `ZRANGEBYLEX` and `ZRANGEBYSCORE`.
 *
 * What it writes, all of it in one hash slot: a cluster gives it a stand-in for a master that fails, and no more room than
 * one master has. Storages with another `prefix` are in other slots.
 *
 * | key                                  |                                                                        |
 * | ------------------------------------ | ---------------------------------------------------------------------- |
 * | `{onappupdate}:entry:` and the key   | text: format, version, end or `-`, and the JSON of the value           |
 * | `{onappupdate}:keys`                 | sorted set of the keys of all entries, by which they are listed        |
 * | `{onappupdate}:ends`                 | sorted set of the keys of entries that end, by their ends              |
 * | `{onappupdate}:done:` and an id      | that this write was done, for as long as it may be asked for again     |
 *
 * Every call is one request, a script that the server runs as a whole, and a listing one for each 64 entries; scripts are
 * answered by masters only. The first write of a storage takes two, to learn what the server's clock says. Entries end by
 * that clock.
 *
 * A request that was interrupted is repeated until `timeoutMs` is over: by the storage, and by ioredis on its own. The server
 * knows it again by its id, so it is done once, and a lost answer is never taken for a refusal. What
 * comes to the server after `timeoutMs`, out of a queue or because the server itself stood still, it does not do any more.
 *
 * @module
 */
import type { Storage } from "../mod.ts";
import {
  compareKeys,
  decodeKey,
  encodeKey,
  encodeValue,
  type Entry,
  expiryOf,
  type Key,
  type ListOptions,
} from "../storage.ts";
import { createAsk, type What } from "./redis_storage/ask.ts";
import { connectionOf, type IoredisClient, type NodeRedisClient } from "./redis_storage/connection.ts";
import { beginningOf, rangeOf, strange, textOf, toEntry } from "./redis_storage/entries.ts";
import { ABSENT, DONE, GET, LATE, LIST, STRANGE, WHATEVER, WRITE } from "./redis_storage/scripts.ts";

export type { IoredisClient, NodeRedisClient };

/** Options of {@linkcode redisStorage}. */
export interface RedisStorageOptions {
  /** Begins every key, in braces, to share a database with other data; default `onappupdate`. */
  readonly prefix?: string;
  /**
   * Whether the server has a write on its disk before it acknowledges it (`appendfsync always`), which cannot be asked of
   * every server; default false.
   */
  readonly durable?: boolean;
  /** How long in milliseconds a call, and each page of a listing, may take before it fails; default 5000. */
  readonly timeoutMs?: number;
  /**
   * For tests: the time in milliseconds since 1970, against which entries expire; default the clock of the server. With it,
   * the server removes nothing by itself.
   */
  readonly clock?: () => number;
}

/**
 * Stores through `client`, which stays yours: close it after `app.close()`.
 *
 * While the client has no connection, calls wait for it, outside of its queue, and fail when `timeoutMs` is over. Once the
 * server is back, they go on by themselves.
 *
 * `put`, `get`, `delete` and `list` throw `StorageError` for all that Redis refuses, and `TypeError` for a value that JSON
 * cannot say and for a `ttlMs` that is no finite number. No error holds a value: of what a client throws, `cause` has the
 * message and the code, not the arguments of the command.
 *
 * @throws {TypeError} when `client` is of neither library, `prefix` is empty, no well-formed text or has braces, or
 * `timeoutMs` is not above 0 and below 2^31
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
  { prefix = "onappupdate", durable = false, timeoutMs = 5000, clock }: RedisStorageOptions = {},
): Storage {
  encodeKey([prefix]); // throws for what is no text
  if (prefix === "" || /[{}]/.test(prefix)) {
    throw new TypeError(`cannot begin keys with ${JSON.stringify(prefix)}, wanted some text without braces`);
  }
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31)) {
    throw new TypeError(`cannot wait ${timeoutMs} milliseconds for Redis, wanted more than 0 and less than 2^31`);
  }
  const ask = createAsk(connectionOf(client), timeoutMs);
  // The braces have a cluster keep all of it in one place.
  const base = `{${prefix}}:`;
  const [keys, ends] = [`${base}keys`, `${base}ends`];
  /** How far the clock of the server is ahead of ours; unknown before the first answer that says it. */
  let aheadMs: number | undefined;

  function learn(serverTime: unknown): void {
    aheadMs = Number(serverTime) - Date.now();
  }

  function placeOf(key: readonly string[]): string {
    return `${base}entry:${textOf(key)}`;
  }

  function isOver({ expiresAt }: Entry<unknown>, now: number): boolean {
    return expiresAt !== undefined && expiresAt <= now;
  }

  async function read<T>(what: What, key: Key, place: string): Promise<Entry<T> | null> {
    const text = await ask(what, GET, [place], () => [], (reply) => reply);
    const entry = text === null ? null : toEntry<T>(key, String(text));
    // Redis removes by its own clock only.
    return entry === null || clock !== undefined && isOver(entry, clock()) ? null : entry;
  }

  /** Puts `text`, or removes when there is none. Gives whether `condition` held. */
  async function write(
    what: What,
    key: Key,
    place: string,
    condition: string,
    id: string,
    ...put: readonly string[]
  ): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    const places = [keys, place, ends, `${base}done:${id}`];
    const status = await ask(
      what,
      WRITE,
      places,
      () => {
        // Before anything is known of the server's clock it is too late: then the server says the time and does nothing.
        const args = [aheadMs === undefined ? "0" : String(Math.ceil(deadline + aheadMs)), condition, ...put];
        return clock === undefined ? args : [...args, ...["", ""].slice(put.length), String(clock())];
      },
      (reply) => {
        const [time, status] = [Math.floor(Number(reply) / 4), Number(reply) % 4];
        learn(time);
        return status === LATE ? undefined : status;
      },
    );
    if (status !== STRANGE) return status === DONE;
    await read(what, key, place); // says what it is
    throw strange(key);
  }

  /** What there is of an entry that is listed and was not where it should be. */
  async function lookAgain<T>(what: What, key: Key): Promise<Entry<T> | null> {
    const entry = await read<T>(what, key, placeOf(key));
    // Removed by somebody else. Taken from the list, unless it is there by now.
    if (entry === null) await write(what, key, placeOf(key), ABSENT, crypto.randomUUID());
    return entry;
  }

  return {
    name: "redis",
    capabilities: { durable, scope: "network" },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      return await read<T>({ action: () => `get ${JSON.stringify(copy)} from`, signal }, copy, placeOf(copy));
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      const place = placeOf(copy);
      const text = encodeValue(copy, value);
      expiryOf(copy, 0, ttlMs); // throws for what is no duration
      const version = crypto.randomUUID();
      const what: What = { action: () => `put ${JSON.stringify(copy)} into`, signal };
      const put = [`${beginningOf(version)}- ${text}`, ...ttlMs === undefined ? [] : [String(ttlMs)]];
      const ok = await write(what, copy, place, conditionOf(ifVersion), version, ...put);
      return ok ? { ok, version } : { ok };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      const what: What = { action: () => `delete ${JSON.stringify(copy)} from`, signal };
      const ok = await write(what, copy, placeOf(copy), conditionOf(ifVersion), crypto.randomUUID());
      return { ok };
    },

    list: async function* <T>(
      prefix: readonly string[],
      { after, limit = Infinity, signal }: ListOptions = {},
    ): AsyncGenerator<Entry<T>> {
      signal?.throwIfAborted();
      const what: What = { action: () => `list ${JSON.stringify(prefix)} of`, signal };
      let { from, to } = rangeOf(prefix);
      if (after !== undefined) {
        const text = textOf(after);
        if (compareKeys(after, prefix) >= 0) from = `(${text}`;
      }
      for (let left = limit; left > 0;) {
        const args = [from, to, String(Math.ceil(Math.min(left, PAGE)))];
        const reply = await ask(
          what,
          LIST,
          [keys, ends],
          () => clock === undefined ? args : [...args, String(clock())],
          (reply) => reply as readonly unknown[],
        );
        const [time, next, ...page] = reply;
        learn(time);
        for (let i = 0; i < page.length; i += 2) {
          const key = decodeKey(String(page[i])) as unknown as Key;
          const text = page[i + 1];
          const entry = text === null ? await lookAgain<T>(what, key) : toEntry<T>(key, String(text));
          // It may have ended since the page came.
          if (entry === null || isOver(entry, clock?.() ?? Date.now() + aheadMs!)) continue;
          yield entry;
          left--;
          signal?.throwIfAborted();
        }
        if (next === null) return;
        from = `(${next}`;
      }
    },
  };
}

/** Entries that a listing asks for at once. */
const PAGE = 64;

function conditionOf(ifVersion: string | null | undefined): string {
  return ifVersion === undefined ? WHATEVER : ifVersion === null ? ABSENT : beginningOf(ifVersion);
}
