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
import {
  compareKeys,
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

/** A key of Deno KV. */
export type KvKeyLike = readonly (string | number | boolean | Uint8Array)[];

/** What Deno KV gives for a key; without versionstamp there is nothing. */
export interface KvEntryLike {
  /** As it was set. */
  readonly value: unknown;
  /** Greater after every write. */
  readonly versionstamp: string | null;
}

/** What is used of a `Deno.Kv`, and of a `Kv` of `npm:@deno/kv`. */
export interface KvLike {
  /** Reads one key. */
  readonly get: (key: KvKeyLike) => Promise<KvEntryLike>;
  /** Reads the keys from `start` up to, and without, `end`. */
  readonly list: (
    range: { readonly start: KvKeyLike; readonly end: KvKeyLike },
    options: { readonly limit: number; readonly batchSize: number },
  ) => AsyncIterable<KvEntryLike>;
  /** Begins a write. */
  readonly atomic: () => KvAtomicLike;
}

/** What is used of a `Deno.AtomicOperation`: every step gives the operation with it. */
export interface KvAtomicLike {
  /** Only if the key has this versionstamp; `null`: only if there is nothing. */
  readonly check: (check: { readonly key: KvKeyLike; readonly versionstamp: string | null }) => KvAtomicLike;
  /** Sets a key; `expireIn` milliseconds later or some time after that, the backend removes it. */
  readonly set: (key: KvKeyLike, value: unknown, options: { readonly expireIn?: number }) => KvAtomicLike;
  /** Removes a key. */
  readonly delete: (key: KvKeyLike) => KvAtomicLike;
  /** Does all of it, or nothing when a check fails. */
  readonly commit: () => Promise<{ readonly ok: true; readonly versionstamp: string } | { readonly ok: false }>;
}

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
 * ```ts deno
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
    capabilities: { durable: scope !== "process", scope, maxValueBytes: MAX_PARTS * PART_BYTES },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const place = placeOfEntry(key);
      return await patiently(`get ${JSON.stringify(key)} from`, timeoutMs, signal, (ask) => read<T>(ask, place));
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const place = placeOfEntry(key);
      const packed = pack(key, encodeValue(key, value), endOf(key, clock(), ttlMs), ttlMs);
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

const NAME = "Deno KV";
/** Of what is stored. A change that older versions of this library would misread raises it. */
const FORMAT = 1;
/** Deno KV takes 2048; a listing that goes on after a key needs two. */
const MAX_KEY_BYTES = 2046;
/** Deno KV takes 65,536 for a value and 819,200 for an atomic operation, keys included. */
const PART_BYTES = 65_536;
const MAX_PARTS = 12;
/** Entries that `list` has in memory at once. */
const PAGE = 64;
/** Clocks of hosts differ: a backend that is ahead must not remove what others still have to see, or a part of it. */
const GRACE_MS = 60_000;
/** A hundred years; Deno KV refuses numbers that are too large. */
const MAX_EXPIRE_MS = 3.2e12;
/** Pauses before what another process has kept from being done is tried again. */
const FIRST_PAUSE_MS = 5;
const LAST_PAUSE_MS = 160;
/** A part of a key that comes before every text. */
const NO_BYTES = new Uint8Array();

const encoder = new TextEncoder();

type Committed = Awaited<ReturnType<KvAtomicLike["commit"]>>;

/** What a write knows of the entry that it replaces. */
interface Known {
  readonly versionstamp: string;
  /** Another one for every write. */
  readonly writeId: string;
  /** How many parts there are; without them the value is in the entry. */
  readonly parts?: number | undefined;
  readonly expiresAt?: number | undefined;
}

interface Found extends Known {
  /** Not taken from the key in the database: `npm:@deno/kv` takes a first U+FEFF off its parts. */
  readonly key: Key;
  readonly value?: unknown;
}

/** What a write stores. */
interface Packed extends Omit<Known, "versionstamp"> {
  readonly entry: Uint8Array;
  readonly chunks: readonly Uint8Array[];
  readonly expiry: { readonly expireIn?: number };
}

function pack(key: Key, text: string, expiresAt: number | undefined, ttlMs = 0): Packed {
  const writeId = crypto.randomUUID();
  const head = JSON.stringify({ format: FORMAT, writeId, key, expiresAt }).slice(0, -1);
  const expireIn = Math.ceil(Math.min(Math.max(ttlMs, 0), MAX_EXPIRE_MS)) + GRACE_MS;
  const rest = { writeId, expiresAt, expiry: expiresAt === undefined ? {} : { expireIn } };

  const whole = encoder.encode(`${head},"value":${text}}`);
  if (whole.length <= PART_BYTES) return { ...rest, entry: whole, chunks: [] };
  const bytes = encoder.encode(text);
  const parts = Math.ceil(bytes.length / PART_BYTES);
  if (parts <= MAX_PARTS) {
    const chunks = Array.from({ length: parts }, (_, i) => bytes.slice(i * PART_BYTES, (i + 1) * PART_BYTES));
    return { ...rest, parts, entry: encoder.encode(`${head},"parts":${parts}}`), chunks };
  }
  throw new StorageError(
    `cannot put ${JSON.stringify(key)} into ${NAME}: the value has ${bytes.length} bytes, ` +
      `wanted ${MAX_PARTS * PART_BYTES} at most`,
  );
}

function toFound({ value: bytes, versionstamp }: KvEntryLike): Found | null {
  if (versionstamp === null) return null;
  let stored: Partial<Found> & { readonly format?: unknown } | null | undefined;
  try {
    stored = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes as Uint8Array));
  } catch {
    // Its error would quote what is stored, which may be a token.
  }
  if (typeof stored?.format !== "number") throw new Error("what is stored there is not of this storage");
  if (stored.format !== FORMAT) throw new FormatError(`an entry in ${NAME}`, stored.format, FORMAT);
  return { ...stored as Found, versionstamp };
}

function toEntry<T>(found: Found): Entry<T> {
  const { key, value, expiresAt } = found;
  return { key, value: value as T, version: versionOf(found), ...(expiresAt === undefined ? {} : { expiresAt }) };
}

/** A version says all that a write has to know of the entry, so that it need not read it first. */
function versionOf({ versionstamp, writeId, parts = 0, expiresAt = Infinity }: Known): string {
  return [versionstamp, writeId, parts, expiresAt].join(" ");
}

/** `undefined` when no entry can have this version. */
function parseVersion(version: string): Known | undefined {
  const [versionstamp = "", writeId = "", parts, expiresAt] = version.split(" ");
  if (!/^[0-9a-f]{20}$/.test(versionstamp)) return undefined;
  return { versionstamp, writeId, parts: Number(parts), expiresAt: Number(expiresAt) };
}

async function collect(entries: AsyncIterable<KvEntryLike>): Promise<KvEntryLike[]> {
  const collected: KvEntryLike[] = [];
  for await (const entry of entries) collected.push(entry);
  return collected;
}

/** Requests something of the backend, until it is not kept from it by another process. */
type Ask = <R>(request: () => Promise<R>) => Promise<R>;

/** Runs what may take its time, or fail in the backend. */
async function patiently<R>(
  action: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  run: (ask: Ask) => Promise<R>,
): Promise<R> {
  let locked: unknown;
  let ended: { readonly error: unknown } | undefined;
  let end: (error: unknown) => void = () => {};
  const over = new Promise<never>((_, reject) => {
    end = (error) => {
      ended = { error };
      reject(error);
    };
  });
  over.catch(() => {}); // at that moment, nobody may be waiting

  const timer = setTimeout(() => {
    const saw = locked === undefined ? "no answer" : "only locks of other processes";
    end(new Error(`${saw} for ${timeoutMs} milliseconds`, { cause: locked }));
  }, timeoutMs);
  const abort = (): void => end(signal?.reason);
  signal?.addEventListener("abort", abort);

  const ask: Ask = async (request) => {
    for (let pauseMs = FIRST_PAUSE_MS;; pauseMs = Math.min(2 * pauseMs, LAST_PAUSE_MS)) {
      if (ended !== undefined) throw ended.error;
      try {
        return await Promise.race([over, request()]);
      } catch (error) {
        if (!isLocked(error)) throw error;
        locked = error;
      }
      await Promise.race([over, new Promise((resolve) => setTimeout(resolve, pauseMs))]);
    }
  };
  try {
    return await run(ask);
  } catch (error) {
    if (signal?.aborted || error instanceof StorageError || error instanceof FormatError) throw error;
    // The other lines are where in the library it happened.
    const [reason] = String(error instanceof Error ? error.message : error).split("\n");
    throw new StorageError(`cannot ${action} ${NAME}: ${reason}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/** SQLite says so before it has done anything. */
function isLocked(error: unknown): boolean {
  return error instanceof Error && /database (table )?is locked/.test(error.message);
}
