/** Encoding of keys and entries in the table. */
import { Buffer } from "node:buffer";
import { StorageError } from "../../errors.ts";
import { assertKey, decodeKey, decodeValue, encodeKey, type Entry, type Key } from "../../storage.ts";
import type { Row } from "./client.ts";

/**
 * Returns the bytes of an entry's key, which sort as the keys do, in hexadecimal.
 *
 * @throws {TypeError} if `key` is empty or has a part that is not a well-formed string
 */
export function encodeEntryKey(key: Key): string {
  assertKey(key);
  return toHex(encodeKey(key));
}

const toHex = (text: string): string => Buffer.from(text).toString("hex");

/** Exclusive bounds of a range of encoded keys. */
export interface KeyRange {
  readonly above: string;
  readonly below: string;
}

/** Returns the range of the keys under `prefix`. */
export function rangeUnder(prefix: readonly string[]): KeyRange {
  // UTF-8 never contains 0xff, so it is above every key.
  if (prefix.length === 0) return { above: "", below: "ff" };
  // The last byte is 0, so no key is between the bytes without it and the bytes with it.
  const above = toHex(encodeKey(prefix)).slice(0, -2);
  return { above, below: `${above}01` };
}

/** Returns the key that a listed row has. */
export function decodeEntryKey(hex: string): Key {
  return decodeKey(Buffer.from(hex, "hex").toString());
}

/**
 * Returns the entry in a row.
 *
 * @throws {StorageError} if the row has no such columns, or the stored value is not JSON
 */
export function decodeRow<T>(key: Key, { value, version, expiry }: Row): Entry<T> {
  if (typeof value !== "string" || typeof version !== "string") {
    const wanted = "wanted a client that returns columns of type text as strings, under their names";
    throw new StorageError(`cannot read ${JSON.stringify(key)} from PostgreSQL: saw other columns, ${wanted}`);
  }
  return {
    key,
    value: decodeValue("PostgreSQL", key, value),
    version,
    ...(expiry == null ? {} : { expiresAt: Number(expiry) }),
  };
}
