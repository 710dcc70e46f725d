/** Encoding of entries and keys in the table. */
import { assertKey, decodeKey, decodeValue, encodeKey, type Entry, type Key } from "../../storage.ts";

const encoder = new TextEncoder();
// By default, a decoder drops a leading U+FEFF.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Returns the key of an entry as bytes, which sort as the keys do.
 *
 * @throws {TypeError} if `key` is empty or has a part that is not a well-formed string
 */
export function encodeEntryKey(key: Key): Uint8Array {
  assertKey(key);
  return encoder.encode(encodeKey(key));
}

/** Exclusive bounds of a range of encoded keys. */
export interface KeyRange {
  readonly above: Uint8Array;
  readonly below: Uint8Array;
}

/** Returns the range of the keys under `prefix`. */
export function rangeUnder(prefix: readonly string[]): KeyRange {
  // UTF-8 never contains 0xff, so it is above every key.
  if (prefix.length === 0) return { above: new Uint8Array(), below: Uint8Array.of(0xff) };
  // The last byte is 0, so no key is between the bytes without it and the bytes with it.
  const above = encoder.encode(encodeKey(prefix)).slice(0, -1);
  return { above, below: Uint8Array.of(...above, 1) };
}

interface Row {
  readonly key: Uint8Array;
  readonly value: string;
  readonly version: string;
  readonly expires_at: number | null;
}

/**
 * Returns the entry in a row.
 *
 * @throws {StorageError} if the stored value is not JSON
 */
export function decodeRow<T>(file: string, row: Record<string, unknown>): Entry<T> {
  const { key: bytes, value, version, expires_at: expiresAt } = row as unknown as Row;
  const key = decodeKey(decoder.decode(bytes));
  return {
    key,
    value: decodeValue(file, key, value),
    version,
    ...(expiresAt === null ? {} : { expiresAt }),
  };
}
