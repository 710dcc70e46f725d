/** What a secret looks like wherever it is printed. */
const REDACTED = "[redacted]";

/**
 * A token or key that does not print itself: consoles, JSON, template strings, errors and the
 * inspectors of Node and Deno show `[redacted]`. Only {@linkcode Secret.reveal} gives the value, so a
 * search for `reveal(` finds every place where a secret leaves its wrapper.
 *
 * @example
 * ```ts
 * import { Secret } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * const token = new Secret("3a0f7d66007e2a1c");
 * assert.equal(`${token}`, "[redacted]");
 * assert.equal(JSON.stringify({ token }), '{"token":"[redacted]"}');
 * assert.equal(token.reveal(), "3a0f7d66007e2a1c");
 * ```
 */
export class Secret {
  readonly #value: string;

  static {
    // Node and Deno look these up by registered symbol, which a class member cannot spell in a way
    // that JSR accepts.
    for (const inspect of ["nodejs.util.inspect.custom", "Deno.customInspect"]) {
      Object.defineProperty(Secret.prototype, Symbol.for(inspect), { value: () => REDACTED });
    }
  }

  /** Wraps `value`. */
  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. Give it to nothing that prints, stores or forwards it unasked. */
  reveal(): string {
    return this.#value;
  }

  /**
   * Whether `other` is the same secret. Takes the same time wherever the two differ, so an answer's
   * timing does not tell how much of a guess was right.
   */
  equals(other: Secret | string): boolean {
    const a = this.#value;
    const b = typeof other === "string" ? other : other.#value;
    let difference = a.length ^ b.length;
    for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % (b.length || 1));
    return difference === 0;
  }

  /** `[redacted]`. */
  toString(): string {
    return REDACTED;
  }

  /** `[redacted]`. */
  toJSON(): string {
    return REDACTED;
  }
}

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

/** SHA-256 of `text` in hexadecimal. */
export async function digest(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What is stored of an application token: enough to recognise it, useless to who steals it. */
export async function digestToken(token: Secret): Promise<string> {
  return await digest(token.reveal());
}
