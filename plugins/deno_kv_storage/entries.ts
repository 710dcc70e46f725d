/** Entries as they are in the database, whole or in parts. */
import { FormatError, StorageError } from "../../errors.ts";
import type { Entry, Key } from "../../storage.ts";
import type { KvEntryLike } from "./kv.ts";

/** For errors. */
export const NAME = "Deno KV";
/** Of what is stored. A change that older versions of this library would misread raises it. */
const FORMAT = 1;
/** Deno KV takes 65,536 for a value and 819,200 for an atomic operation, keys included. */
const PART_BYTES = 65_536;
const MAX_PARTS = 12;
/** Of the JSON of a value. */
export const MAX_VALUE_BYTES: number = MAX_PARTS * PART_BYTES;
/** Clocks of hosts differ: a backend that is ahead must not remove what others still have to see, or a part of it. */
const GRACE_MS = 60_000;
/** A hundred years; Deno KV refuses numbers that are too large. */
const MAX_EXPIRE_MS = 3.2e12;

const encoder = new TextEncoder();

/** What a write knows of the entry that it replaces. */
export interface Known {
  readonly versionstamp: string;
  /** Another one for every write. */
  readonly writeId: string;
  /** How many parts there are; without them the value is in the entry. */
  readonly parts?: number | undefined;
  readonly expiresAt?: number | undefined;
}

/** An entry of which the value may be in parts. */
export interface Found extends Known {
  /** Not taken from the key in the database: `npm:@deno/kv` takes a first U+FEFF off its parts. */
  readonly key: Key;
  readonly value?: unknown;
}

/** What a write stores. */
export interface Packed extends Omit<Known, "versionstamp"> {
  readonly entry: Uint8Array;
  readonly chunks: readonly Uint8Array[];
  readonly expiry: { readonly expireIn?: number };
}

/** @throws {StorageError} for a value that is too large */
export function pack(key: Key, text: string, expiresAt: number | undefined, ttlMs = 0): Packed {
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
      `wanted ${MAX_VALUE_BYTES} at most`,
  );
}

/** @throws {Error} when it is none; {FormatError} when newer code wrote it */
export function toFound({ value: bytes, versionstamp }: KvEntryLike): Found | null {
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

/** What callers are given. */
export function toEntry<T>(found: Found): Entry<T> {
  const { key, value, expiresAt } = found;
  return { key, value: value as T, version: versionOf(found), ...(expiresAt === undefined ? {} : { expiresAt }) };
}

/** A version says all that a write has to know of the entry, so that it need not read it first. */
export function versionOf({ versionstamp, writeId, parts = 0, expiresAt = Infinity }: Known): string {
  return [versionstamp, writeId, parts, expiresAt].join(" ");
}

/** `undefined` when no entry can have this version. */
export function parseVersion(version: string): Known | undefined {
  const [versionstamp = "", writeId = "", parts, expiresAt] = version.split(" ");
  if (!/^[0-9a-f]{20}$/.test(versionstamp)) return undefined;
  return { versionstamp, writeId, parts: Number(parts), expiresAt: Number(expiresAt) };
}
