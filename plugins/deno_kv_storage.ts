/**
 * Keeps an app's state in Deno KV: `Deno.openKv()` of Deno and Deno Deploy, `openKv()` of `npm:@deno/kv` on Node.
 *
 * - **Deno Deploy**: assign a KV database to the app in its settings, then
 *   `denoKvStorage(await Deno.openKv(), { scope: "network" })`. No queues are used, which Deno Deploy has not.
 * - **Deno** elsewhere: `"unstable": ["kv"]` in deno.json or the flag `--unstable-kv`, then
 *   `denoKvStorage(await Deno.openKv("app.db"))`. Several processes of one host may share the file.
 * - **Node**: `npm install @deno/kv`, then `denoKvStorage(await openKv("app.db"))` with its `openKv`, which also connects to
 *   a database of Deno Deploy: `openKv("https://api.deno.com/…")`, with `scope: "network"`. Without a path it keeps nothing.
 *
 * What it writes can be told from what else is in the database, and looked at:
 *
 * | key                                        | bytes, UTF-8                                                       |
 * | ------------------------------------------ | ------------------------------------------------------------------ |
 * | `["onappupdate", "entry", …parts of key]`  | JSON: `format`, `writeId`, `key`, `value`, and perhaps `expiresAt` |
 * | `["onappupdate", "part", writeId, number]` | of a longer value; its entry has the number of `parts` instead     |
 *
 * It is JSON because objects are written in the format of the runtime's V8, which older ones do not read: a Node beside a
 * Deno, or the Deno of last month.
 *
 * An entry and its parts are written and removed in one atomic operation. Every write looks at what it replaces, which
 * `put` with a version has learned from that version, and `put` with `null` from the absence: these are one request when
 * they succeed. `put` without `ifVersion` is one for a new key and three for another; `delete` without `ifVersion` is two. A
 * listing is one request for each 64 entries and two more for each entry in parts.
 *
 * A write of which the outcome is not known, because its reply was lost or came too late, is recognised by its `writeId`,
 * or the call fails; it is never repeated. Connections to a remote database repeat requests by themselves, though. When
 * such a repetition is refused because the first try had succeeded, `put` finds that out, unless others have written the
 * entry since, and `delete` with a version does not: it says that it removed nothing.
 *
 * @module
 */
import type { Storage } from "../mod.ts";
import { StorageError } from "../errors.ts";
import {
  compareKeys,
  decodeValue,
  encodeKey,
  encodeValue,
  type Entry,
  expiryOf,
  type Key,
  type ListOptions,
} from "../storage.ts";
import {
  type Found,
  type Known,
  MAX_VALUE_BYTES,
  NAME,
  pack,
  type Packed,
  parseVersion,
  toEntry,
  toFound,
  versionOf,
} from "./deno_kv_storage/entries.ts";
import {
  collect,
  type Committed,
  type KvAtomicLike,
  type KvEntryLike,
  type KvKeyLike,
  type KvLike,
} from "./deno_kv_storage/kv.ts";
import { type Ask, patiently } from "./deno_kv_storage/patiently.ts";

export type { KvAtomicLike, KvEntryLike, KvKeyLike, KvLike };

/** Options of {@linkcode denoKvStorage}. */
export interface DenoKvStorageOptions {
  /** First parts of every key, to share a database with other data; default `["onappupdate"]`. */
  readonly prefix?: readonly string[];
  /**
   * Who shares the database, which a handle does not tell: `"host"`, the default, for a file, `"network"` for Deno
   * Deploy and every other remote database, `"process"` for `":memory:"`, which is not durable then.
   */
  readonly scope?: "process" | "host" | "network";
  /** The time in milliseconds since 1970, against which entries expire; default `Date.now`. */
  readonly clock?: () => number;
  /** How long in milliseconds a call, and each page of a listing, may take before it fails; default 5000. */
  readonly timeoutMs?: number;
}

/**
 * Stores in the database behind `kv`, which stays yours: close it after `app.close()`, or let the process end.
 *
 * A file that other processes write to refuses writes now and then; they are tried again until `timeoutMs` is over.
 * Entries expire at their own deadline, whenever the backend removes them: that is at least a minute later.
 *
 * Keys may have 2046 bytes, with those of `prefix` and a few more; values 768 KiB as JSON in UTF-8: beyond 64 KiB they are
 * split. `put`, `get`, `delete` and `list` throw `StorageError` for more, and `TypeError` for a value that JSON cannot say
 * and for a `ttlMs` that is no finite number.
 *
 * @throws {TypeError} when a part of `prefix` is no well-formed text, or `timeoutMs` is not above 0 and below 2^31
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
  { prefix = ["onappupdate"], scope = "host", clock = Date.now, timeoutMs = 5000 }: DenoKvStorageOptions = {},
): Storage {
  encodeKey(prefix); // throws for what is no text, as it does below
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31)) {
    throw new TypeError(`cannot wait ${timeoutMs} milliseconds for ${NAME}, wanted more than 0 and less than 2^31`);
  }
  const root = [...prefix];

  /** Where the entry of `key` is. */
  function placeOf(key: readonly string[]): KvKeyLike {
    encodeKey(key);
    const place = [...root, "entry", ...key];
    const bytes = place.reduce((sum, part) => sum + 2 + encoder.encode(part.replaceAll("\0", "\0\0")).length, 0);
    if (bytes <= MAX_KEY_BYTES) return place;
    const start = JSON.stringify(key).slice(0, 60);
    throw new StorageError(
      `cannot use ${start}… in ${NAME}: it has ${bytes} bytes there, wanted ${MAX_KEY_BYTES} at most`,
    );
  }

  function placeOfEntry(key: Key): KvKeyLike {
    if (key.length === 0) throw new TypeError("cannot use an empty key, wanted at least one part");
    return placeOf(key);
  }

  function partOf(writeId: string, number: number): KvKeyLike {
    return [...root, "part", writeId, number];
  }

  function isOver({ expiresAt }: Known): boolean {
    return expiresAt !== undefined && expiresAt <= clock();
  }

  async function find(ask: Ask, place: KvKeyLike): Promise<Found | null> {
    return toFound(await ask(() => kv.get(place)));
  }

  /** `undefined` when a part is gone. */
  async function join(ask: Ask, { writeId, parts: count = 0 }: Found): Promise<string | undefined> {
    const range = { start: partOf(writeId, 0), end: partOf(writeId, count) };
    const parts = await ask(() => collect(kv.list(range, { limit: count, batchSize: count })));
    if (parts.length < count) return undefined;
    const decoder = new TextDecoder("utf-8", { fatal: true });
    return parts.map(({ value }) => decoder.decode(value as Uint8Array, { stream: true })).join("") + decoder.decode();
  }

  async function read<T>(ask: Ask, place: KvKeyLike): Promise<Entry<T> | null> {
    let before = "";
    for (;;) {
      const found = await find(ask, place);
      if (found === null || isOver(found)) return null;
      if (found.parts === undefined) return toEntry<T>(found);
      const text = await join(ask, found);
      if (text !== undefined) return toEntry<T>({ ...found, value: decodeValue(NAME, found.key, text) });
      // Replaced while it was read, then; unless nothing has changed.
      if (found.versionstamp === before) throw new Error("parts of what is stored there are missing");
      before = found.versionstamp;
    }
  }

  /** Replaces `known`. In this order, even a backend that did a part of it only would leave an entry that is whole. */
  function write(
    place: KvKeyLike,
    known: Known | null,
    { writeId, entry, chunks, expiry }: Packed,
  ): Promise<Committed> {
    let operation = kv.atomic().check({ key: place, versionstamp: known?.versionstamp ?? null });
    for (const [i, bytes] of chunks.entries()) operation = operation.set(partOf(writeId, i), bytes, expiry);
    return removeParts(operation.set(place, entry, expiry), known).commit();
  }

  function remove(place: KvKeyLike, known: Known): Promise<Committed> {
    return removeParts(kv.atomic().check({ key: place, versionstamp: known.versionstamp }).delete(place), known)
      .commit();
  }

  function removeParts(operation: KvAtomicLike, known: Known | null): KvAtomicLike {
    for (let i = 0; i < (known?.parts ?? 0); i++) operation = operation.delete(partOf(known!.writeId, i));
    return operation;
  }

  return {
    name: "deno-kv",
    capabilities: { durable: scope !== "process", scope, maxValueBytes: MAX_VALUE_BYTES },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const place = placeOfEntry(key);
      return await patiently(`get ${JSON.stringify(key)} from`, timeoutMs, signal, (ask) => read<T>(ask, place));
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const place = placeOfEntry(key);
      const packed = pack(key, encodeValue(key, value), expiryOf(key, clock(), ttlMs), ttlMs);
      const wanted = typeof ifVersion === "string" ? parseVersion(ifVersion) : null;
      if (wanted === undefined || (wanted !== null && isOver(wanted))) return { ok: false };
      return await patiently(`put ${JSON.stringify(key)} into`, timeoutMs, signal, async (ask) => {
        for (let known = wanted;;) {
          let failure: { readonly error: unknown } | undefined;
          try {
            const committed = await ask(() => write(place, known, packed));
            if (committed.ok) return { ok: true, version: versionOf({ ...packed, ...committed }) };
          } catch (error) {
            failure = { error };
          }
          // A failure may have come after the write, and a refusal may answer a request that was sent twice.
          const found = await find(ask, place).catch((error) => {
            throw failure === undefined ? error : failure.error;
          });
          if (found?.writeId === packed.writeId) return { ok: true, version: versionOf(found) };
          if (failure !== undefined) throw failure.error;
          if (typeof ifVersion === "string") return { ok: false };
          if (ifVersion === null && found !== null && !isOver(found)) return { ok: false };
          known = found;
        }
      });
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      const place = placeOfEntry(key);
      const wanted = ifVersion === undefined ? null : parseVersion(ifVersion);
      if (wanted === undefined || (wanted !== null && isOver(wanted))) return { ok: false };
      return await patiently(`delete ${JSON.stringify(key)} from`, timeoutMs, signal, async (ask) => {
        for (;;) {
          const known = wanted ?? await find(ask, place);
          if (known === null) return { ok: true };
          const { ok } = await ask(() => remove(place, known));
          if (ok || wanted !== null) return { ok };
        }
      });
    },

    list: async function* <T>(
      prefix: readonly string[],
      { after, limit = Infinity, signal }: ListOptions = {},
    ): AsyncGenerator<Entry<T>> {
      signal?.throwIfAborted();
      const action = `list ${JSON.stringify(prefix)} of`;
      // No part of a key of ours is a number, a boolean or bytes: bytes come before every text, booleans after.
      let start = placeOf(prefix);
      const end = [...start, true];
      if (after !== undefined) {
        const place = placeOfEntry(after);
        if (compareKeys(after, prefix) >= 0) {
          if (prefix.some((part, i) => part !== after[i])) return;
          start = [...place, NO_BYTES];
        }
      }
      for (let left = limit; left > 0;) {
        const size = Math.ceil(Math.min(left, PAGE));
        const page = await patiently(action, timeoutMs, signal, async (ask) => {
          const entries = await ask(() => collect(kv.list({ start, end }, { limit: size, batchSize: size })));
          return entries.map((entry) => toFound(entry)!);
        });
        for (const found of page) {
          if (isOver(found)) continue;
          const entry = found.parts === undefined
            ? toEntry<T>(found)
            : await patiently(action, timeoutMs, signal, (ask) => read<T>(ask, placeOf(found.key)));
          if (entry === null) continue;
          yield entry;
          left--;
          signal?.throwIfAborted();
        }
        if (page.length < size) return;
        start = [...placeOf(page.at(-1)!.key), NO_BYTES];
      }
    },
  };
}

/** Deno KV takes 2048; a listing that goes on after a key needs two. */
const MAX_KEY_BYTES = 2046;
/** Entries that `list` has in memory at once. */
const PAGE = 64;
/** A part of a key that comes before every text. */
const NO_BYTES = new Uint8Array();

const encoder = new TextEncoder();
