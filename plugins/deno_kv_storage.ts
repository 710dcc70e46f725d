/**
 * Stores an app's state in Deno KV: `Deno.openKv()` of Deno and Deno Deploy, or `openKv()` of `npm:@deno/kv` on Node.
 *
 * - **Deno Deploy**: assign a KV database to the app in its settings, then
 *   `denoKvStorage(await Deno.openKv(), { scope: "network" })`. The storage uses no queues, which Deno Deploy lacks.
 * - **Deno** elsewhere: set `"unstable": ["kv"]` in deno.json or the flag `--unstable-kv`, then
 *   `denoKvStorage(await Deno.openKv("app.db"))`. Several processes of one host can share the file.
 * - **Node**: `npm install @deno/kv`, then `denoKvStorage(await openKv("app.db"))` with its `openKv`. It also connects to a
 *   database of Deno Deploy: `openKv("https://api.deno.com/…")`, with `scope: "network"`. Without a path it stores nothing
 *   permanently.
 *
 * **Stored keys**. Values are bytes in UTF-8. They are JSON, because Deno KV stores objects in the format of the runtime's
 * V8, which older runtimes cannot read.
 *
 * | key                                               | value                                                                    |
 * | ------------------------------------------------- | ------------------------------------------------------------------------ |
 * | `["onappupdate", "entry", …parts of key]`         | `format`, `writeId`, `key`, `value`, and `expiresAt` if it expires       |
 * | `["onappupdate", "chunk", SHA-256 of key, index]` | chunk of a value above 64 KiB; its entry has `chunks` instead of `value` |
 * | `["onappupdate", "large", SHA-256 of key]`        | marker of a value in chunks: its key                                     |
 *
 * **Requests**. `get` is one request, two for a value in chunks. `put` and `delete` are one request; if a condition does
 * not hold, two. `write` is one atomic operation if Deno KV takes it at once: up to 10 conditions, 1,000 operations and
 * 800 KiB. A larger write is split, in order, into several atomic operations. A listing is one request for each 64 entries,
 * and two more for each value in chunks.
 *
 * An entry, its chunks and its marker are written and deleted in one atomic operation. Only `put` and `delete` without
 * `ifVersion` leave the chunks of a value that they replace, because they do not read it. Every 64th write of a storage
 * looks at up to 64 markers, and deletes the chunks that no longer belong to an entry.
 *
 * **Outages**. A request fails with `StorageError` if the database reports an error or `timeoutMs` is over. Only requests
 * that a lock of another process refused are repeated. If the reply to a `put`, or to a `write` with one, is lost, the
 * storage reads the entry and recognizes its own write by the `writeId`, or rejects with `StorageError`. A `delete` rejects.
 *
 * Connections to a remote database repeat requests on their own. If the first attempt succeeded and the second is refused,
 * `put` and `write` find that out, unless another process has written the entry since. `delete` with `ifVersion` does not:
 * it then resolves to `{ ok: false }` although it has deleted the entry. Without `ifVersion`, a repeated `put` or `delete`
 * also replaces what another process has written in between.
 *
 * @module
 */
import { checkOptions, option, type OptionRules, type Storage } from "../mod.ts";
import {
  createBackendCaller,
  type EncodedOperation,
  encodeOperations,
  encodeValue,
  expiryOf,
  type Key,
  type WriteResult,
} from "../storage.ts";
import { callDatabase, type Context } from "./deno_kv_storage/context.ts";
import { encodeEntry, type EntryWrite, MAX_VALUE_BYTES } from "./deno_kv_storage/entries.ts";
import { createKeyspace } from "./deno_kv_storage/keyspace.ts";
import { KV_RULES, type KvAtomicLike, type KvEntryLike, type KvKeyLike, type KvLike } from "./deno_kv_storage/kv.ts";
import { listEntries } from "./deno_kv_storage/listing.ts";
import { readEntry } from "./deno_kv_storage/reads.ts";
import { writeEntries } from "./deno_kv_storage/writes.ts";

export type { KvAtomicLike, KvEntryLike, KvKeyLike, KvLike };

/** Options of {@linkcode denoKvStorage}. */
export interface DenoKvStorageOptions {
  /**
   * First parts of every key. Storages with different prefixes share a database without seeing each other's entries.
   *
   * @default ["onappupdate"]
   */
  readonly prefix?: readonly string[];
  /**
   * Which processes share the database: `"host"` for a file; `"network"` for Deno Deploy and other remote databases;
   * `"process"` for `":memory:"`, which is then not reported as durable. The storage cannot find out by itself.
   *
   * @default "host"
   */
  readonly scope?: "process" | "host" | "network";
  /**
   * Returns the time in milliseconds since 1970. Entries expire by it.
   *
   * @default Date.now
   */
  readonly clock?: () => number;
  /**
   * Max duration in milliseconds of a call, and of each page of a listing. Above 0, below 2^31.
   *
   * @default 5000
   */
  readonly timeoutMs?: number;
}

const OPTION_RULES: OptionRules<DenoKvStorageOptions> = {
  prefix: option.list("the first parts of every key", option.value("a string", (part) => typeof part === "string")),
  scope: option.oneOf("process", "host", "network"),
  clock: option.function(),
  timeoutMs: option.duration(),
};

/**
 * Creates a storage on the database `kv`. You own the handle: close it after `app.close()`.
 *
 * When `put`, `delete` or `write` resolves, the write is on disk for a file, or in the database of Deno Deploy. While another
 * process writes to the file, requests are repeated until `timeoutMs` is over. A write that timed out may have been done.
 *
 * Entries expire at their exact time by `clock`. The database removes them a minute later or more.
 *
 * A key can have 2046 bytes including `prefix`, with a few bytes of overhead for each part; a value can have 768 KiB of JSON
 * in UTF-8. Methods throw `StorageError` for more, and if the database fails. Those that read the entry also throw it if
 * other data is stored under the key, and `FormatError` if a newer version of this library wrote the entry; `put` and
 * `delete` without `ifVersion` do not read it. `put` throws `TypeError` for a value that JSON cannot
 * represent, and for a `ttlMs` that is not a finite number.
 *
 * @throws {TypeError} if `kv` is not a database, a part of `prefix` is not a well-formed string, or an option is unknown or
 * invalid
 *
 * @example
 * ```ts
 * import { createApp } from "@b24/onappupdate";
 * import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
 * import assert from "node:assert/strict";
 *
 * const kv = await Deno.openKv(":memory:");
 * const storage = denoKvStorage(kv, { scope: "process" });
 * const app = createApp({ storage });
 *
 * await storage.put(["portal", "a223"], { version: "2.0.0" });
 * assert.deepEqual((await storage.get(["portal", "a223"]))?.value, { version: "2.0.0" });
 * await app.close();
 * kv.close();
 * ```
 */
export function denoKvStorage(
  kv: KvLike,
  options: DenoKvStorageOptions = {},
): Storage {
  checkOptions("cannot use Deno KV", options, OPTION_RULES);
  checkOptions("cannot use Deno KV", { kv }, KV_RULES);
  const { prefix = ["onappupdate"], scope = "host", clock = Date.now, timeoutMs = 5000 } = options;
  const context: Context = {
    ...{ kv, keyspace: createKeyspace(prefix), clock, call: createBackendCaller(timeoutMs) },
    sweep: { writes: 0 },
  };

  function prepare({ key, json, ifVersion, ttlMs }: Omit<EncodedOperation, "encodedKey">): EntryWrite {
    const kvKey = context.keyspace.entry(key);
    const encoded = json === undefined ? undefined : encodeEntry(key, json, expiryOf(key, clock(), ttlMs), ttlMs);
    return { key, kvKey, ifVersion, encoded };
  }

  function writeAll(
    action: string,
    signal: AbortSignal | undefined,
    writes: readonly EntryWrite[],
  ): Promise<WriteResult> {
    return callDatabase(context, action, signal, (send) => writeEntries(context, send, writes));
  }

  return {
    name: "deno-kv",
    capabilities: { durable: scope !== "process", scope, maxValueBytes: MAX_VALUE_BYTES },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const kvKey = context.keyspace.entry(key);
      const action = `get ${JSON.stringify(key)} from`;
      return await callDatabase(context, action, signal, (send) => readEntry<T>(context, send, kvKey));
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const write = prepare({ key: [...key], json: encodeValue(key, value), ifVersion, ttlMs });
      const result = await writeAll(`put ${JSON.stringify(key)} into`, signal, [write]);
      return result.ok ? { ok: true, version: result.versions[0]! } : { ok: false };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      const write = prepare({ key: [...key], ifVersion, ttlMs: undefined });
      const { ok } = await writeAll(`delete ${JSON.stringify(key)} from`, signal, [write]);
      return { ok };
    },

    write: async (operations, { signal } = {}) => {
      signal?.throwIfAborted();
      return await writeAll("write to", signal, encodeOperations(operations).map(prepare));
    },

    list: (prefix, options = {}) => listEntries(context, prefix, options),
  };
}
