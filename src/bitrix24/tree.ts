/** Decoded bodies, and the limits of decoding. */
import { InputError } from "../errors.ts";

/** A decoded value. Forms contain strings only; numbers, booleans and `null` come from JSON. */
export type WireValue = string | number | boolean | null | readonly WireValue[] | WireTree;

/**
 * A decoded map. It has no prototype and no methods, so that a key such as `__proto__` is a key like any other: use
 * `Object.hasOwn(tree, key)`.
 */
export interface WireTree {
  /** The value of a decoded key. */
  readonly [key: string]: WireValue;
}

/** Limits of a body; a body that exceeds one is refused with 400. */
export interface DecodeLimits {
  /**
   * Maximum number of values of every kind: strings, and the maps and arrays that they are in, except the outermost.
   *
   * @default 5000
   */
  readonly fields: number;
  /**
   * Maximum number of containers around a value, including the outermost: `a=1` has 1, `a[b]=1` has 2.
   *
   * @default 16
   */
  readonly depth: number;
  /**
   * Maximum length of a decoded key, in UTF-16 code units.
   *
   * @default 256
   */
  readonly keyLength: number;
  /**
   * Maximum length of a decoded string, in UTF-16 code units.
   *
   * @default 1048576
   */
  readonly valueLength: number;
}

/** The default limits, above every event that an app can subscribe to: messages to bots are long and nested. */
export const DECODE_LIMITS: DecodeLimits = Object.freeze({
  fields: 5000,
  depth: 16,
  keyLength: 256,
  valueLength: 2 ** 20,
});

/** Whether `value` is a map, not an array. */
export function isTree(value: unknown): value is WireTree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @throws {InputError} if `key`, the last key of `path`, is longer than the limit */
export function checkKey(path: readonly string[], key: string, limits: DecodeLimits): void {
  if (key.length > limits.keyLength) {
    throw overLimit(path, `a key of ${key.length} characters`, "keyLength", limits);
  }
}

/** @throws {InputError} if `text` is longer than the limit */
export function checkText(path: readonly string[], text: string, limits: DecodeLimits): void {
  if (text.length > limits.valueLength) {
    throw overLimit(path, `a string of ${text.length} characters`, "valueLength", limits);
  }
}

/** Returns the error for a body with more fields than the limit. */
export function tooManyFields(limits: DecodeLimits): InputError {
  return overLimit([], `more than ${limits.fields} fields`, "fields", limits);
}

/** Returns the error for a value at `path` that is nested deeper than the limit. */
export function tooDeep(path: readonly string[], limits: DecodeLimits): InputError {
  return overLimit(path, `more than ${limits.depth} levels`, "depth", limits);
}

function overLimit(path: readonly string[], saw: string, name: keyof DecodeLimits, limits: DecodeLimits): InputError {
  return inputError(path, saw, `at most ${limits[name]} (limits.${name})`);
}

/** Returns the error for a problem at `path`, which is empty for the body as a whole. */
export function inputError(path: readonly string[], saw: string, wanted: string): InputError {
  return new InputError([{ path: path.map(shown).join("."), saw, wanted }]);
}

/**
 * Returns a key for an error message. The sender has chosen it, so it is escaped and cut: a long key may be a token in the
 * wrong place.
 */
function shown(key: string): string {
  if (key === "") return '""';
  const isLong = key.length > 24;
  const printable = JSON.stringify(isLong ? key.slice(0, 8) : key).slice(1, -1)
    .replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return isLong ? `${printable}…` : printable;
}
