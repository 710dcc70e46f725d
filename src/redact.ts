/** Removes secrets from strings and errors before they are logged or stored. */
import { REDACTED, type Secret } from "./secret.ts";

/**
 * Returns `text` without the values of `secrets`, for text that may quote a token: a handler's error, a host's answer.
 * Values shorter than 8 characters are kept: removing them could garble ordinary words.
 */
export function redact(text: string, secrets: Iterable<Secret>): string {
  // Longest first: if one value is the prefix of another, the rest of the longer one must not remain.
  const values = Array.from(secrets, (secret) => secret.reveal()).sort((a, b) => b.length - a.length);
  for (const value of values) {
    if (value.length >= 8) text = text.replaceAll(value, REDACTED);
  }
  return text;
}

/**
 * Returns a copy of `thrown` that can be logged: of the same class, with its causes, and without the values of `secrets`
 * in any string. Members that are objects, such as a request or a response, are not copied.
 */
export function redactError(thrown: unknown, secrets: readonly Secret[], depth: number = 0): Error {
  if (!(thrown instanceof Error)) return new Error(redact(stringOf(() => thrown), secrets));
  const copy = Object.create(Object.getPrototypeOf(thrown)) as Error;
  const define = (key: string, value: unknown, enumerable: boolean): void =>
    void Object.defineProperty(copy, key, { value, enumerable, configurable: true });
  for (const [key, value] of Object.entries(thrown)) {
    if (typeof value === "string") define(key, redact(value, secrets), true);
    else if (typeof value !== "object" && typeof value !== "function") define(key, value, true);
  }
  // Always own properties of the copy: those of a DOMException are accessors that only work on the original.
  for (const key of ["name", "message", "stack"] as const) {
    const value = redact(stringOf(() => thrown[key]), secrets);
    define(key, value, false);
  }
  // Causes may be circular.
  if (thrown.cause !== undefined && depth < MAX_CAUSES) {
    define("cause", redactError(thrown.cause, secrets, depth + 1), false);
  }
  return copy;
}

/** The maximum number of nested causes that are copied. */
const MAX_CAUSES = 10;

/** Returns a value as a string. Anything can be thrown, including values whose conversion throws. */
function stringOf(value: () => unknown): string {
  try {
    return String(value());
  } catch {
    return "a value that cannot be converted to a string";
  }
}
