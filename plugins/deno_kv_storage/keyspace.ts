/** Keys that a storage uses in the database. */
import { StorageError } from "../../errors.ts";
import { assertKey, encodeKey, type Key } from "../../storage.ts";
import type { KvKeyLike } from "./kv.ts";

/** Max size of a key. Deno KV allows 2048 bytes, and a listing that continues after a key needs two. */
const MAX_KEY_BYTES = 2046;
/** A key part that sorts before every string. */
const BEFORE_STRINGS = new Uint8Array();
/** A key part that sorts after every string. */
const AFTER_STRINGS = true;

const encoder = new TextEncoder();

/** Keys of one storage in the database. */
export interface Keyspace {
  /**
   * Returns the key of an entry.
   *
   * @throws {TypeError} if `key` is empty or has a part that is not a well-formed string
   * @throws {StorageError} if it is too long
   */
  readonly entry: (key: Key) => KvKeyLike;
  /** Returns the range of the entries under `prefix`, after the entry `after`. Throws as `entry` does. */
  readonly range: (prefix: readonly string[], after?: Key) => { readonly start: KvKeyLike; readonly end: KvKeyLike };
  /** Returns the key of a chunk of a large value. */
  readonly chunk: (writeId: string, index: number) => KvKeyLike;
}

/**
 * Returns the keyspace of a prefix.
 *
 * @throws {TypeError} if a part of `prefix` is not a well-formed string
 */
export function createKeyspace(prefix: readonly string[]): Keyspace {
  encodeKey(prefix); // throws for a string that is not well-formed
  const root = [...prefix];

  function under(parts: readonly string[]): readonly (string | number | boolean | Uint8Array)[] {
    encodeKey(parts); // throws for a string that is not well-formed
    const kvKey = [...root, "entry", ...parts];
    const bytes = kvKey.reduce((sum, part) => sum + 2 + encoder.encode(part.replaceAll("\0", "\0\0")).length, 0);
    if (bytes <= MAX_KEY_BYTES) return kvKey;
    const start = JSON.stringify(parts).slice(0, 60);
    throw new StorageError(
      `cannot use ${start}… in Deno KV: it has ${bytes} bytes there, wanted at most ${MAX_KEY_BYTES}`,
    );
  }

  function entry(key: Key): KvKeyLike {
    assertKey(key);
    return under(key);
  }

  return {
    entry,
    range: (parts, after) => {
      const kvPrefix = under(parts);
      return {
        start: after === undefined ? kvPrefix : [...entry(after), BEFORE_STRINGS],
        end: [...kvPrefix, AFTER_STRINGS],
      };
    },
    chunk: (writeId, index) => [...root, "chunk", writeId, index],
  };
}
