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
import { createHash } from "node:crypto";
import { setTimeout } from "node:timers";
import {
  compareKeys,
  decodeKey,
  decodeValue,
  encodeKey,
  encodeValue,
  endOf,
  type Entry,
  FormatError,
  type Key,
  type ListOptions,
  type Storage,
  StorageError,
} from "../mod.ts";

/** What is used of a client of `redis`: of `createClient`, `createCluster` and `createSentinel`. */
export interface NodeRedisClient {
  /** `connect()` was called, and it was not closed since. */
  readonly isOpen: boolean;
  /** Commands are sent at once. */
  readonly isReady: boolean;
  /** Runs a script that the server knows. */
  readonly evalSha: (sha: string, options: { keys: string[]; arguments: string[] }) => Promise<unknown>;
  /** Runs a script. */
  readonly eval: (script: string, options: { keys: string[]; arguments: string[] }) => Promise<unknown>;
}

/** What is used of a client of `ioredis`: of `Redis` and `Cluster`. */
export interface IoredisClient {
  /** `ready` when commands are sent at once. */
  readonly status: string;
  /** Runs a script that the server knows. */
  readonly evalsha: (sha: string, keys: number, ...keysAndArguments: string[]) => Promise<unknown>;
  /** Runs a script. */
  readonly eval: (script: string, keys: number, ...keysAndArguments: string[]) => Promise<unknown>;
}

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
 * ```ts deno redis
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
      endOf(copy, 0, ttlMs); // throws for what is no duration
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

/** Of what is stored, a digit. A change that older versions of this library would misread raises it. */
const FORMAT = 1;
/** Entries that a listing asks for at once. */
const PAGE = 64;
/** Commands that may be out without answer after their callers have given up. */
const MAX_UNANSWERED = 100;
/** How long to wait before a client without connection is looked at again. */
const LOOK_MS = 20;

/** How a write ended: two bits beside the time. */
const [DONE, LATE, STRANGE] = [1, 2, 3];

/** Conditions of a write; another one is what the entry has to begin with. */
const [WHATEVER, ABSENT] = ["*", "-"];

function conditionOf(ifVersion: string | null | undefined): string {
  return ifVersion === undefined ? WHATEVER : ifVersion === null ? ABSENT : beginningOf(ifVersion);
}

/** Of an entry: 39 characters, as versions are UUIDs. Then comes its end, or `-`, a space, and the JSON of its value. */
function beginningOf(version: string): string {
  return `${FORMAT} ${version} `;
}

interface Script {
  readonly text: string;
  /** What the server knows it by. */
  readonly sha: string;
}

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

// Scripts, and no GET: of a cluster, only masters run them.
const GET = script(`return redis.call("GET", KEYS[1])`);

const TIME = `
  local time = redis.call("TIME")
  local server = time[1] * 1000 + math.floor(time[2] / 1000)`;

// KEYS: keys, the entry, ends, what tells that this write was done
// ARGV: deadline, condition; for put the entry; perhaps its ttl; perhaps the time by which it ends
//
// In the order of what may fail, so that nothing is done in part: SET is refused by a server that has no room, and ZADD for keys
// of others. A key among the keys that has no entry is put right when it is listed.
const WRITE = script(`${TIME}
  if server > tonumber(ARGV[1]) then
    return server * 4 + (redis.call("EXISTS", KEYS[4]) == 1 and ${DONE} or ${LATE})
  end
  local head = redis.call("GETRANGE", KEYS[2], 0, 39)
  local held = head ~= ""
  if held and (string.sub(head, 1, 2) ~= "${FORMAT} " or string.byte(head, 39) ~= 32) then return server * 4 + ${STRANGE} end
  local live, now = held, server
  if ARGV[5] then
    now = tonumber(ARGV[5])
    local finish = string.match(redis.call("GETRANGE", KEYS[2], 39, 59), "^%d+")
    live = held and (not finish or tonumber(finish) > now)
  end

  local condition = ARGV[2]
  if condition ~= "${WHATEVER}" and (condition == "${ABSENT}" and live
    or condition ~= "${ABSENT}" and (not live or string.sub(head, 1, 39) ~= condition)) then
    return server * 4 + redis.call("EXISTS", KEYS[4])
  end

  local function remove(key, place)
    redis.call("DEL", place)
    redis.call("ZREM", KEYS[1], key)
    redis.call("ZREM", KEYS[3], key)
  end
  local base = string.sub(KEYS[1], 1, -5)
  local key = string.sub(KEYS[2], #base + 7)
  local memoryMs = ARGV[1] - server + 1000
  local text, ttl = ARGV[3], tonumber(ARGV[4])
  if not text or text == "" then
    -- Not by one SET as below: it would have to come first, and a full server would not let anything be deleted.
    if redis.call("EXISTS", KEYS[4]) == 1 then return server * 4 + ${DONE} end
    remove(key, KEYS[2])
    redis.call("SET", KEYS[4], "", "PX", memoryMs)
    return server * 4 + ${DONE}
  end
  if not redis.call("SET", KEYS[4], "", "NX", "PX", memoryMs) then return server * 4 + ${DONE} end
  if not held then redis.call("ZADD", KEYS[1], 0, key) end
  if not ttl then
    if string.sub(head, 40) ~= "-" then redis.call("ZREM", KEYS[3], key) end
    redis.call("SET", KEYS[2], text)
    return server * 4 + ${DONE}
  end

  local finish = math.min(math.ceil(now + ttl), 9007199254740991)
  -- Redis has it for a millisecond more.
  local px = finish - now - (ARGV[5] and 0 or 1)
  if px <= 0 then
    remove(key, KEYS[2])
  else
    local digits = string.format("%.0f", finish)
    redis.call("ZADD", KEYS[3], digits, key)
    local ending = string.sub(text, 1, 39) .. digits .. string.sub(text, 41)
    if ARGV[5] then
      redis.call("SET", KEYS[2], ending)
    else
      redis.call("SET", KEYS[2], ending, "PX", px)
    end
  end
  -- Twice as fast as they come. What is done is done, whatever becomes of this.
  for _, key in ipairs(redis.call("ZRANGEBYSCORE", KEYS[3], "-inf", now, "LIMIT", 0, 2)) do
    pcall(remove, key, base .. "entry:" .. key)
  end
  return server * 4 + ${DONE}`);

// KEYS: keys, ends
// ARGV: from, to, how many; perhaps the time by which entries end
//
// The entries are not among KEYS: who asks does not know them yet. They are in the slot of KEYS.
const LIST = script(`${TIME}
  local now = tonumber(ARGV[4]) or server
  local base = string.sub(KEYS[1], 1, -5) .. "entry:"
  local from, wanted = ARGV[1], tonumber(ARGV[3])
  local reply, over, bytes, seen, more = {server, false}, {}, 0, 0, true
  while more and wanted > 0 and seen < 1000 do
    local keys = redis.call("ZRANGEBYLEX", KEYS[1], from, ARGV[2], "LIMIT", 0, wanted)
    more = #keys == wanted
    for i, key in ipairs(keys) do
      from = "(" .. key
      seen = seen + 1
      local text = redis.call("GET", base .. key)
      local finish
      if not text then
        finish = redis.call("ZSCORE", KEYS[2], key)
      elseif ARGV[4] then
        finish = string.match(text, "^${FORMAT} %S+ (%d+) ")
      end
      if finish and tonumber(finish) <= now then
        over[#over + 1] = key
      else
        reply[#reply + 1] = key
        reply[#reply + 1] = text
        wanted = wanted - 1
        bytes = bytes + (text and #text or 0)
        if bytes >= 1048576 then
          more, wanted = more or i < #keys, 0
          break
        end
      end
    end
  end
  if more then reply[2] = string.sub(from, 2) end
  for _, key in ipairs(over) do
    -- A listing is no worse for it when the server does not write now.
    redis.pcall("DEL", base .. key)
    redis.pcall("ZREM", KEYS[1], key)
    redis.pcall("ZREM", KEYS[2], key)
  end
  return reply`);

/** A client, whichever it is. */
interface Connection {
  readonly state: () => "ready" | "waiting" | "closed";
  readonly evalsha: (script: Script, keys: string[], args: string[]) => Promise<unknown>;
  readonly eval: (script: Script, keys: string[], args: string[]) => Promise<unknown>;
}

function connectionOf(client: NodeRedisClient | IoredisClient): Connection {
  if (typeof (client as NodeRedisClient | undefined)?.evalSha === "function") {
    const redis = client as NodeRedisClient;
    return {
      state: () => redis.isReady ? "ready" : redis.isOpen ? "waiting" : "closed",
      evalsha: ({ sha }, keys, args) => redis.evalSha(sha, { keys, arguments: args }),
      eval: ({ text }, keys, args) => redis.eval(text, { keys, arguments: args }),
    };
  }
  if (typeof (client as IoredisClient | undefined)?.evalsha === "function") {
    const redis = client as IoredisClient;
    return {
      // One that waits (lazyConnect) connects when it is given a command.
      state: () => /^(ready|wait)$/.test(redis.status) ? "ready" : redis.status === "end" ? "closed" : "waiting",
      evalsha: ({ sha }, keys, args) => redis.evalsha(sha, keys.length, ...keys, ...args),
      eval: ({ text }, keys, args) => redis.eval(text, keys.length, ...keys, ...args),
    };
  }
  throw new TypeError("cannot use this client, wanted one of redis (node-redis) or of ioredis");
}

/** On whose behalf something is asked. */
interface What {
  /** For errors. */
  readonly action: () => string;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs a script until it is answered. `argsOf` gives its arguments, anew for every try; `read` what the answer is, or
 * `undefined` when it has to be asked again.
 */
type Ask = <R>(
  what: What,
  script: Script,
  keys: string[],
  argsOf: () => string[],
  read: (reply: unknown) => R | undefined,
) => Promise<R>;

function createAsk(connection: Connection, timeoutMs: number): Ask {
  const within = createDeadline(timeoutMs);
  /** Commands whose callers have given up. A server that hangs must not make the client keep ever more of them. */
  let unanswered = 0;
  let look: Promise<void> | undefined;

  /** One timer, however many wait. */
  function nextLook(): Promise<void> {
    return look ??= new Promise((resolve) =>
      setTimeout(() => {
        look = undefined;
        resolve();
      }, LOOK_MS)
    );
  }

  return ({ action, signal }, script, keys, argsOf, read) =>
    new Promise((resolve, reject) => {
      /** Whether this call has ended, whether a command is out, and whether one was lost that may have been done. */
      let [ended, out, lost] = [false, false, false];
      let saw = "no connection";
      let cause: Error | undefined;

      const cancel = within(() => fail(`${saw} for ${timeoutMs} milliseconds`));
      const abort = (): void => end(() => reject(signal!.reason));
      signal?.addEventListener("abort", abort);
      attempt();

      function end(settle: () => void): void {
        if (ended) return;
        ended = true;
        cancel();
        signal?.removeEventListener("abort", abort);
        if (out) unanswered++;
        settle();
      }

      function fail(reason: string): void {
        const options = cause === undefined ? {} : { cause };
        end(() => reject(new StorageError(`cannot ${action()} Redis: ${reason}`, options)));
      }

      function attempt(): void {
        if (ended) return;
        const state = connection.state();
        if (state === "closed") return fail("the client is closed, wanted one that is connected");
        // Not given to a client that would keep it until the server is back, which may be long after this has failed.
        if (state === "waiting" || unanswered >= MAX_UNANSWERED) return void nextLook().then(attempt);
        saw = "no answer";
        send(connection.evalsha);
      }

      function send(evaluate: Connection["evalsha"]): void {
        out = true;
        evaluate(script, keys, argsOf()).then(answered, failed);
      }

      function back(): void {
        out = false;
        if (ended) unanswered--;
      }

      function answered(reply: unknown): void {
        back();
        const result = read(reply);
        if (result !== undefined) return end(() => resolve(result));
        // What the server was too late for now, it may have done before.
        if (lost) return fail("the connection was lost, and it is not known whether it was done");
        attempt();
      }

      function failed(error: unknown): void {
        back();
        if (ended) return;
        const { code, reason } = described(error);
        if (code === "NOSCRIPT") return send(connection.eval);
        cause = withoutCommand(error, reason);
        if (code !== undefined && !PASSING.has(code)) return fail(reason);
        if (code === undefined) lost = true;
        nextLook().then(attempt);
      }
    });
}

/** What a server answers while it starts, or is stood in for. It has done nothing then. */
const PASSING = new Set(["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"]);

/** What an error says, and the code of it if it is an answer of the server. */
function described(error: unknown): { readonly code: string | undefined; readonly reason: string } {
  const { message, name } = error instanceof Error ? error : { message: String(error), name: "" };
  // What follows are the beginnings of the arguments.
  const [line = ""] = message.split(/\n|,? with args beginning/);
  const code = /^([A-Z]{3,}) /.exec(line)?.[1];
  return { code, reason: line || name };
}

/** ioredis gives its errors the whole command, with the value in it. */
function withoutCommand(error: unknown, message: string): Error {
  const { name, code } = error as Partial<NodeJS.ErrnoException>;
  return Object.assign(new Error(message), name === undefined ? {} : { name }, code === undefined ? {} : { code });
}

/**
 * Calls `expire` once `ms` are over, unless what it returns is called before: with one timer, as one for each command would
 * cost a good part of what the command does. It keeps no process alive: connections do, and whoever looks for one.
 */
function createDeadline(ms: number): (expire: () => void) => () => void {
  /** In the order in which they end. */
  const waiting = new Set<{ readonly at: number; readonly expire: () => void }>();
  let armed = false;

  function arm(inMs: number): void {
    armed = true;
    setTimeout(expireDue, inMs).unref();
  }

  function expireDue(): void {
    armed = false;
    const now = performance.now();
    for (const one of waiting) {
      // Timers fire a little early, too.
      if (one.at > now) return arm(Math.ceil(one.at - now));
      waiting.delete(one);
      one.expire();
    }
  }

  return (expire) => {
    const one = { at: performance.now() + ms, expire };
    waiting.add(one);
    if (!armed) arm(ms);
    return () => void waiting.delete(one);
  };
}

function textOf(key: readonly string[]): string {
  if (key.length === 0) throw new TypeError("cannot use an empty key, wanted at least one part");
  return encodeKey(key);
}

/** The keys under `prefix`, as a sorted set is asked for them. */
function rangeOf(prefix: readonly string[]): { from: string; to: string } {
  if (prefix.length === 0) return { from: "-", to: "+" };
  const text = encodeKey(prefix);
  return { from: `[${text}`, to: `(${text.slice(0, -1)}\x01` };
}

function toEntry<T>(key: Key, text: string): Entry<T> {
  const [head, format, version, end] = /^(\d+) (?:(\S+) (-|\d+) )?/.exec(text) ?? [];
  if (version === undefined || Number(format) !== FORMAT) throw strange(key, format);
  return {
    key,
    value: decodeValue("Redis", key, text.slice(head!.length)),
    version,
    ...(end === "-" ? {} : { expiresAt: Number(end) }),
  };
}

/** What is there is not what this version writes. What a newer one writes begins with its format and a space, too. */
function strange(key: Key, format?: string): Error {
  const name = `${JSON.stringify(key)} in Redis`;
  if (Number(format) > FORMAT) return new FormatError(name, format, FORMAT);
  return new StorageError(`cannot use ${name}: what is stored there is not of this storage`);
}
