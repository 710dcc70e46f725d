/** Removes secrets from texts and errors before they are logged or stored. */
import { REDACTED, Secret } from "./secret.ts";

/**
 * `text` without the values of `secrets`: for text of others (a handler's error, a host's answer) that may
 * quote a token. Values shorter than 8 characters are left: they would blank out ordinary words.
 */
export function redact(text: string, secrets: Iterable<Secret>): string {
  // Longest first: of a value that begins another one, the rest of the other would be left.
  const values = Array.from(secrets, (secret) => secret.reveal()).sort((a, b) => b.length - a.length);
  for (const value of values) {
    if (value.length >= 8) text = text.replaceAll(value, REDACTED);
  }
  return text;
}

/**
 * A copy of `thrown` that can be logged and handed on: of the same class, with its causes, and with the values of
 * `secrets` taken out of every text. Objects that hang on it (a request, a response) are left behind.
 */
export function redactError(thrown: unknown, secrets: readonly Secret[], depth: number = 0): Error {
  if (!(thrown instanceof Error)) return new Error(redact(textOf(() => thrown), secrets));
  const copy = Object.create(Object.getPrototypeOf(thrown)) as Error;
  const define = (key: string, value: unknown, enumerable: boolean): void =>
    void Object.defineProperty(copy, key, { value, enumerable, configurable: true });
  for (const [key, value] of Object.entries(thrown)) {
    if (typeof value === "string") define(key, redact(value, secrets), true);
    else if (typeof value !== "object" && typeof value !== "function") define(key, value, true);
  }
  // Own properties of the copy in any case: those of a DOMException are accessors that want the original.
  for (const key of ["name", "message", "stack"] as const) {
    define(
      key,
      redact(textOf(() => thrown[key]), secrets),
      false,
    );
  }
  // Causes may go round in a circle.
  if (thrown.cause !== undefined && depth < MOST_CAUSES) {
    define("cause", redactError(thrown.cause, secrets, depth + 1), false);
  }
  return copy;
}

/** How many causes of an error are told. */
const MOST_CAUSES = 10;

/** Anything can be thrown, also what is no text and what throws when it is asked for one. */
function textOf(value: () => unknown): string {
  try {
    return String(value());
  } catch {
    return "what was thrown cannot be shown";
  }
}
