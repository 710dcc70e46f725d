/** Keys that a storage uses in the database. */
import { createHash } from "node:crypto";
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
  /** Returns the keys of the large value of an entry. */
  readonly large: (key: Key) => LargeValueKeys;
  /** Returns the range of all markers after that of the entry `after`. */
  readonly markers: (after?: Key) => { readonly start: KvKeyLike; readonly end: KvKeyLike };
  /** Returns the max size of the key of an entry, and of each other key of its value, in bytes. */
  readonly sizes: (key: Key) => { readonly entry: number; readonly other: number };
}

/** The keys of a large value, besides that of its entry. */
export interface LargeValueKeys {
  /** The key under which the sweep finds the value. */
  readonly marker: KvKeyLike;
  /** Returns the key of a chunk. */
  readonly chunk: (index: number) => KvKeyLike;
}

/**
 * Returns the keyspace of a prefix.
 *
 * @throws {TypeError} if a part of `prefix` is not a well-formed string
 */
export function createKeyspace(prefix: readonly string[]): Keyspace {
  encodeKey(prefix); // throws for a string that is not well-formed
  const root = [...prefix];
  const otherBytes = bytesOf([...root, "chunk", "x".repeat(43), "x".repeat(8)]);

  function under(parts: readonly string[]): readonly (string | number | boolean | Uint8Array)[] {
    encodeKey(parts); // throws for a string that is not well-formed
    const kvKey = [...root, "entry", ...parts];
    const bytes = bytesOf(kvKey);
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

  function large(key: Key): LargeValueKeys {
    // A digest, because the keys of all chunks must fit into an atomic operation next to the largest value.
    const digest = createHash("sha256").update(encodeKey(key)).digest("base64url");
    return { marker: [...root, "large", digest], chunk: (index) => [...root, "chunk", digest, index] };
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
    large,
    markers: (after) => ({
      start: after === undefined ? [...root, "large"] : [...large(after).marker, BEFORE_STRINGS],
      end: [...root, "large", AFTER_STRINGS],
    }),
    sizes: (key) => ({ entry: bytesOf([...root, "entry", ...key]), other: otherBytes }),
  };
}

/** Returns the size of a key of strings in the database. */
function bytesOf(kvKey: readonly string[]): number {
  return kvKey.reduce((sum, part) => sum + 2 + encoder.encode(part.replaceAll("\0", "\0\0")).length, 0);
}
