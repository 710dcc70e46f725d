/** Encoding and expiry of values, shared by all storages. */
import { StorageError } from "../errors.ts";
import type { Key } from "./storage.ts";

/**
 * Returns the JSON of `value`. Call it before the first `await` of `put`, because the caller may change the value later.
 *
 * @throws {TypeError} if JSON cannot represent the value
 */
export function encodeValue(key: Key, value: unknown): string {
  let text: string | undefined;
  let cause: unknown;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    cause = error;
  }
  if (text !== undefined) return text;
  const message = `cannot store ${typeof value} under ${JSON.stringify(key)}, wanted a value that JSON can represent`;
  throw new TypeError(message, { cause });
}

/**
 * Returns the value that {@linkcode encodeValue} encoded.
 *
 * @throws {StorageError} if `text` is not JSON. The message names `storage` and `key`, and does not quote `text`, which may
 * contain tokens.
 */
export function decodeValue<T>(storage: string, key: Key, text: string): T {
  try {
    return JSON.parse(text);
  } catch {
    throw new StorageError(`cannot get ${JSON.stringify(key)} from ${storage}: the stored value is not JSON`);
  }
}

/**
 * Returns when an entry written at `now` expires, in milliseconds since 1970; `undefined` if it never does.
 *
 * @throws {TypeError} if `ttlMs` is not a finite number
 */
export function expiryOf(key: Key, now: number, ttlMs: number | undefined): number | undefined {
  if (ttlMs === undefined) return undefined;
  if (Number.isFinite(ttlMs)) return now + ttlMs;
  throw new TypeError(`cannot store ${JSON.stringify(key)} with a ttlMs of ${ttlMs}, wanted a finite number`);
}

/** Returns whether an entry has expired at `now`, in milliseconds since 1970. */
export function isExpired(entry: { readonly expiresAt?: number | undefined }, now: number): boolean {
  return entry.expiresAt !== undefined && entry.expiresAt <= now;
}

/** Returns whether two values are the same JSON, in any order of members: some backends have their own. */
export function isSameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const members = Object.entries(a);
  return members.length === Object.keys(b).length &&
    members.every(([name, value]) => Object.hasOwn(b, name) && isSameJson(value, (b as Record<string, unknown>)[name]));
}
