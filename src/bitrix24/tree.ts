/** What a decoder makes of a body, and how much of one it takes. */
import { InputError } from "../errors.ts";

/** A decoded value. Forms hold texts only; numbers, booleans and `null` come from JSON. */
export type WireValue = string | number | boolean | null | readonly WireValue[] | WireTree;

/**
 * A decoded map. It has no prototype, so that a key such as `__proto__` is a key like any other: ask
 * `Object.hasOwn(tree, key)`, it has no methods of its own.
 */
export interface WireTree {
  /** Decoded, own keys only. */
  readonly [key: string]: WireValue;
}

/** How much of a body is decoded before it is refused. */
export interface DecodeLimits {
  /** How many values: in a form `name=value` pairs, in JSON values of every kind without the outermost. Default 256. */
  readonly fields: number;
  /** How many containers around a value, the outermost counted: `a=1` has 1, `a[b]=1` has 2. Default 8. */
  readonly depth: number;
  /** Of one decoded key, in characters (UTF-16 code units). Default 256. */
  readonly keyLength: number;
  /** Of one decoded text, in characters (UTF-16 code units). Default 8192. */
  readonly valueLength: number;
}

/** What Bitrix24's events never come near. */
export const DECODE_LIMITS: DecodeLimits = Object.freeze({ fields: 256, depth: 8, keyLength: 256, valueLength: 8192 });

/** Whether `value` is a map, not an array. */
export function isTree(value: unknown): value is WireTree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @throws {InputError} when `key` is longer than the limit; it is the last of `path` */
export function checkKey(path: readonly string[], key: string, limits: DecodeLimits): void {
  if (key.length > limits.keyLength) {
    throw inputError(path, `a key of ${key.length} characters`, `at most ${limits.keyLength}`);
  }
}

/** @throws {InputError} when `text` is longer than the limit */
export function checkText(path: readonly string[], text: string, limits: DecodeLimits): void {
  if (text.length > limits.valueLength) {
    throw inputError(path, `a text of ${text.length} characters`, `at most ${limits.valueLength}`);
  }
}

/** What is wrong at `path`, which is empty for the body as a whole. */
export function inputError(path: readonly string[], saw: string, wanted: string): InputError {
  return new InputError([{ path: path.map(shown).join("."), saw, wanted }]);
}

/**
 * Whoever sent the body chose its keys: in a log they take little room and do nothing. A long one may be a token in
 * the wrong place; only its beginning is shown.
 */
function shown(key: string): string {
  if (key === "") return '""';
  const isLong = key.length > 24;
  const printable = JSON.stringify(isLong ? key.slice(0, 8) : key).slice(1, -1)
    .replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return isLong ? `${printable}…` : printable;
}
