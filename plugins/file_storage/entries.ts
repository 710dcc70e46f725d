/** Entries and their keys, as they are in the tables. */
import { decodeKey, decodeValue, encodeKey, type Entry, type Key } from "../../storage.ts";

const encoder = new TextEncoder();
// By default a decoder swallows a first U+FEFF.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws {TypeError} for an empty key, and for one that is no text */
export function toBytes(key: Key): Uint8Array {
  if (key.length === 0) throw new TypeError("cannot use an empty key, wanted at least one part");
  return encoder.encode(encodeKey(key));
}

/** The keys under `prefix` are those between, and without, `above` and `below`. */
export function rangeOf(prefix: readonly string[]): { above: Uint8Array; below: Uint8Array } {
  // No UTF-8 has 0xff, so it is above every key.
  if (prefix.length === 0) return { above: new Uint8Array(), below: Uint8Array.of(0xff) };
  // The last byte is 0, so nothing is between the bytes without it and the bytes with it.
  const above = encoder.encode(encodeKey(prefix)).slice(0, -1);
  return { above, below: Uint8Array.of(...above, 1) };
}

interface Row {
  readonly key: Uint8Array;
  readonly value: string;
  readonly version: string;
  readonly expires_at: number | null;
}

/** @throws {StorageError} when what is stored is no JSON */
export function toEntry<T>(file: string, row: Record<string, unknown>): Entry<T> {
  const { key: bytes, value, version, expires_at: expiresAt } = row as unknown as Row;
  const key = decodeKey(decoder.decode(bytes)) as unknown as Key;
  return {
    key,
    value: decodeValue(file, key, value),
    version,
    ...(expiresAt === null ? {} : { expiresAt }),
  };
}
