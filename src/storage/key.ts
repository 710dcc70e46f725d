/** Order and encoding of keys, shared by all storages. */
// deno-lint-ignore-file no-control-regex -- the encoding uses U+0000 and U+0001
import type { Key } from "./storage.ts";

/**
 * Checks the key of an entry: it has one or more parts, and each is a well-formed string.
 *
 * @throws {TypeError} if it is not
 */
export function assertKey(key: readonly string[]): asserts key is Key {
  if (key.length === 0) throw new TypeError("cannot use an empty key, wanted at least one part");
  assertParts(key);
}

function assertParts(parts: readonly string[]): void {
  for (const part of parts) {
    if (typeof part !== "string" || LONE_SURROGATE.test(part)) {
      throw new TypeError(`cannot use ${JSON.stringify(part)} in a key, wanted a well-formed string`);
    }
  }
}

// String.prototype.isWellFormed is not in the type library of every runtime.
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Compares two keys part by part, each by code point. A key comes before the longer keys that start with it.
 *
 * @returns -1 if `a` comes before `b`, 1 if it comes after `b`, 0 if they are equal
 */
export function compareKeys(a: readonly string[], b: readonly string[]): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const order = compareStrings(a[i]!, b[i]!);
    if (order !== 0) return order;
  }
  return Math.sign(a.length - b.length);
}

/** Compares by code point, as the UTF-8 bytes sort. `<` compares UTF-16 code units, whose order differs above U+FFFF. */
export function compareStrings(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i), y = b.charCodeAt(i);
    if (x === y) continue;
    const xSurrogate = x >= 0xd800 && x <= 0xdfff, ySurrogate = y >= 0xd800 && y <= 0xdfff;
    if (xSurrogate !== ySurrogate) return xSurrogate ? 1 : -1;
    return x < y ? -1 : 1;
  }
  return Math.sign(a.length - b.length);
}

/**
 * Encodes a key as one string, whose UTF-8 bytes sort as the keys do. Each part is followed by U+0000; U+0000 and U+0001
 * inside a part are escaped.
 *
 * The keys under a prefix are the strings from `encodeKey(prefix)`, inclusive, to the same string with U+0001 as its last
 * character, exclusive.
 *
 * @throws {TypeError} if a part is not a well-formed string
 */
export function encodeKey(key: readonly string[]): string {
  assertParts(key);
  let encoded = "";
  for (const part of key) encoded += `${ESCAPED.test(part) ? escaped(part) : part}\0`;
  return encoded;
}

const ESCAPED = /[\0\x01]/;

function escaped(part: string): string {
  return part.replace(/[\0\x01]/g, (c) => c === "\0" ? "\x01\x01" : "\x01\x02");
}

/** Returns the key that {@linkcode encodeKey} encoded. */
export function decodeKey(encoded: string): Key {
  const parts = encoded.split("\0").slice(0, -1);
  return parts.map((part) =>
    part.replace(/\x01([\x01\x02])/g, (_, c) => c === "\x01" ? "\0" : "\x01")
  ) as unknown as Key;
}
