/** Encoding of entries in the database. A large value is split into chunks. */
import { FormatError, StorageError } from "../../errors.ts";
import type { Entry, Key } from "../../storage.ts";
import type { KvEntryLike, KvKeyLike } from "./kv.ts";

/** Format of an entry. Raise it with a change that older versions of this library would misread. */
const FORMAT = 1;
/** Max size of a chunk. Deno KV allows 65,536 bytes for a value, and 819,200 for an atomic operation with its keys. */
const CHUNK_BYTES = 65_536;
/** Max number of chunks of a value. */
export const MAX_CHUNKS = 12;
/** Max size of the JSON of a value. */
export const MAX_VALUE_BYTES: number = MAX_CHUNKS * CHUNK_BYTES;
/**
 * Time that the database keeps an entry after its expiry. The clocks of hosts differ, and a database whose clock is ahead
 * must not remove an entry, or some of its chunks, that others still read.
 */
const GRACE_MS = 60_000;
/** A hundred years. Deno KV rejects much larger numbers. */
const MAX_EXPIRE_MS = 3.2e12;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** A stored entry as a write has to know it to replace it. */
export interface EntryRef {
  readonly versionstamp: string;
  /** Unique id of the write that stored the entry. */
  readonly writeId: string;
  /** Number of chunks. Absent: the value is in the entry itself. */
  readonly chunks?: number | undefined;
  readonly expiresAt?: number | undefined;
}

/** A stored entry. Its value may be in chunks. */
export interface StoredEntry extends EntryRef {
  /** Stored with the entry, because `npm:@deno/kv` drops a leading U+FEFF from the parts of its keys. */
  readonly key: Key;
  readonly value?: unknown;
}

/** An entry as a write stores it. */
export interface EncodedEntry extends Omit<EntryRef, "versionstamp"> {
  readonly bytes: Uint8Array;
  readonly chunkBytes: readonly Uint8Array[];
  /** Options of all `set` calls of the write. */
  readonly setOptions: { readonly expireIn?: number };
}

/** A put of one entry, or a deletion. */
export interface EntryWrite {
  readonly key: Key;
  readonly kvKey: KvKeyLike;
  readonly ifVersion: string | null | undefined;
  /** The entry. Absent: the write deletes. */
  readonly encoded?: EncodedEntry | undefined;
}

/**
 * Encodes an entry with the JSON of its value.
 *
 * @throws {StorageError} if the value is too large
 */
export function encodeEntry(key: Key, json: string, expiresAt: number | undefined, ttlMs = 0): EncodedEntry {
  const writeId = crypto.randomUUID();
  const head = JSON.stringify({ format: FORMAT, writeId, key, expiresAt }).slice(0, -1);
  const expireIn = Math.ceil(Math.min(Math.max(ttlMs, 0), MAX_EXPIRE_MS)) + GRACE_MS;
  const common = { writeId, expiresAt, setOptions: expiresAt === undefined ? {} : { expireIn } };

  const whole = encoder.encode(`${head},"value":${json}}`);
  if (whole.length <= CHUNK_BYTES) return { ...common, bytes: whole, chunkBytes: [] };
  const value = encoder.encode(json);
  const chunks = Math.ceil(value.length / CHUNK_BYTES);
  if (chunks <= MAX_CHUNKS) {
    const chunkBytes = Array.from({ length: chunks }, (_, i) => value.slice(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES));
    return { ...common, chunks, bytes: encoder.encode(`${head},"chunks":${chunks}}`), chunkBytes };
  }
  throw new StorageError(
    `cannot put ${JSON.stringify(key)} into Deno KV: the value has ${value.length} bytes, ` +
      `wanted at most ${MAX_VALUE_BYTES}`,
  );
}

/**
 * Returns the stored entry, or `null` if there is none.
 *
 * @throws {FormatError} if a newer version of this library wrote it
 * @throws {Error} if it is not an entry. The message does not quote it, because it may contain tokens
 */
export function decodeEntry({ value: bytes, versionstamp }: KvEntryLike): StoredEntry | null {
  if (versionstamp === null) return null;
  let stored: Partial<StoredEntry> & { readonly format?: unknown } | null | undefined;
  try {
    stored = JSON.parse(decoder.decode(bytes as Uint8Array));
  } catch {
    // Not an entry.
  }
  if (typeof stored?.format !== "number") throw new Error("the stored data was not written by this storage");
  if (stored.format !== FORMAT) throw new FormatError("an entry in Deno KV", stored.format, FORMAT);
  return { ...stored as StoredEntry, versionstamp };
}

/** Returns the entry for callers. */
export function toEntry<T>(stored: StoredEntry): Entry<T> {
  const { key, value, expiresAt } = stored;
  return { key, value: value as T, version: encodeVersion(stored), ...(expiresAt === undefined ? {} : { expiresAt }) };
}

/** Returns the version of an entry. It contains the whole reference, so that a write need not read the entry first. */
export function encodeVersion({ versionstamp, writeId, chunks = 0, expiresAt = Infinity }: EntryRef): string {
  return [versionstamp, writeId, chunks, expiresAt].join(" ");
}

/** Returns the reference in a version; `undefined` if no entry can have this version. */
export function decodeVersion(version: string): EntryRef | undefined {
  const [versionstamp = "", writeId = "", chunks, expiresAt] = version.split(" ");
  if (!/^[0-9a-f]{20}$/.test(versionstamp)) return undefined;
  return { versionstamp, writeId, chunks: Number(chunks), expiresAt: Number(expiresAt) };
}
