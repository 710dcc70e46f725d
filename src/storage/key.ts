/** Order and encoding of keys, the same for every adapter. */
// deno-lint-ignore-file no-control-regex -- the encoding of keys uses two of them
import type { Key } from "./storage.ts";

/** @throws {TypeError} when `key` is empty, or a part is no well-formed text and so has no place in the order. */
export function assertKey(key: readonly string[]): asserts key is Key {
  if (key.length === 0) throw new TypeError("cannot use an empty key, wanted at least one part");
  assertParts(key);
}

function assertParts(parts: readonly string[]): void {
  for (const part of parts) {
    if (typeof part !== "string" || LONE_SURROGATE.test(part)) {
      throw new TypeError(`cannot use ${JSON.stringify(part)} in a key, wanted well-formed text`);
    }
  }
}

// String.prototype.isWellFormed says the same and is not in every runtime's type library.
const LONE_SURROGATE = /\p{Surrogate}/u;

/** -1, 0 or 1: part by part, each by code point, a shorter key before its continuations. */
export function compareKeys(a: readonly string[], b: readonly string[]): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const order = compareText(a[i]!, b[i]!);
    if (order !== 0) return order;
  }
  return Math.sign(a.length - b.length);
}

/** By code point, as UTF-8 bytes sort; `<` compares UTF-16 units, which differ above U+FFFF. */
export function compareText(a: string, b: string): number {
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
 * One text for a key, whose UTF-8 bytes sort as the keys do: each part ended by U+0000, with U+0000 and U+0001
 * inside a part escaped. The keys under a prefix are the texts from `encodeKey(prefix)` up to, and without, the
 * same text with its last character raised to U+0001.
 *
 * @throws {TypeError} when a part is no well-formed text
 */
export function encodeKey(key: readonly string[]): string {
  assertParts(key);
  return key.map((part) => part.replace(/[\0\x01]/g, (c) => c === "\0" ? "\x01\x01" : "\x01\x02") + "\0").join("");
}

/** The key that {@linkcode encodeKey} made `text` of. */
export function decodeKey(text: string): string[] {
  return text.split("\0").slice(0, -1).map((part) =>
    part.replace(/\x01([\x01\x02])/g, (_, c) => c === "\x01" ? "\0" : "\x01")
  );
}
