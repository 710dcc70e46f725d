/** Names of the keys that a storage uses in Redis. */
import { assertKey, encodeKey } from "../../storage.ts";

/** Names of the keys of one storage, all in one hash slot. */
export interface Keyspace {
  /** The sorted set of the encoded keys of all entries. */
  readonly keys: string;
  /** The sorted set of the encoded keys of entries that expire, by time of expiry. */
  readonly expiry: string;
  /**
   * Returns the key of an entry.
   *
   * @throws {TypeError} if `key` is empty or has a part that is not a well-formed string
   */
  readonly entry: (key: readonly string[]) => string;
  /** Returns the key of the receipt of a write. */
  readonly receipt: (writeId: string) => string;
}

/**
 * Returns the keyspace of a prefix. A cluster derives the slot from the text in braces.
 *
 * @throws {TypeError} if `prefix` is not a well-formed string
 */
export function createKeyspace(prefix: string): Keyspace {
  encodeKey([prefix]); // throws for a string that is not well-formed
  const base = `{${prefix}}:`;
  return {
    keys: `${base}keys`,
    expiry: `${base}expiry`,
    entry: (key) => `${base}entry:${encodeEntryKey(key)}`,
    receipt: (writeId) => `${base}receipt:${writeId}`,
  };
}

function encodeEntryKey(key: readonly string[]): string {
  assertKey(key);
  return encodeKey(key);
}

/** Bounds of a range of the sorted set of keys, as `ZRANGEBYLEX` takes them. */
export interface KeyRange {
  readonly from: string;
  readonly to: string;
}

/** Returns the range of the keys under `prefix`. */
export function rangeUnder(prefix: readonly string[]): KeyRange {
  if (prefix.length === 0) return { from: "-", to: "+" };
  const encoded = encodeKey(prefix);
  return { from: `[${encoded}`, to: `(${encoded.slice(0, -1)}\x01` };
}

/** Returns the lower bound of the keys after `key`. */
export function boundAfter(key: readonly string[]): string {
  return `(${encodeEntryKey(key)}`;
}
