/** Values and their ends, the same for every adapter. */
import { StorageError } from "../errors.ts";
import type { Key } from "./storage.ts";

/**
 * JSON of `value`, which cannot be shared with the caller by mistake.
 *
 * @throws {TypeError} when JSON cannot say it
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
  throw new TypeError(`cannot store ${typeof value} under ${JSON.stringify(key)}, wanted what JSON can say`, { cause });
}

/**
 * The value of which {@linkcode encodeValue} made `text`.
 *
 * @throws {StorageError} when `text` is no JSON; names `storage` and `key`, and quotes nothing, for it may hold tokens
 */
export function decodeValue<T>(storage: string, key: Key, text: string): T {
  try {
    return JSON.parse(text);
  } catch {
    throw new StorageError(`cannot get ${JSON.stringify(key)} from ${storage}: what is stored there is no JSON`);
  }
}

/**
 * When an entry that is written at `now` ends, in milliseconds since 1970; `undefined`: never.
 *
 * @throws {TypeError} when `ttlMs` is no finite number
 */
export function expiryOf(key: Key, now: number, ttlMs: number | undefined): number | undefined {
  if (ttlMs === undefined) return undefined;
  if (Number.isFinite(ttlMs)) return now + ttlMs;
  throw new TypeError(`cannot store ${JSON.stringify(key)} for ${ttlMs} milliseconds, wanted a finite number`);
}
