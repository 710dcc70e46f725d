/** A wrapper for tokens and keys. */

/** The string that is printed instead of a secret. */
export const REDACTED = "[redacted]";

/**
 * A token or key that is never printed: consoles, JSON, template strings, errors and the inspectors of Node and Deno show
 * `[redacted]`. Only {@linkcode Secret.reveal} returns the value, so a search for `reveal(` finds every place where a
 * secret leaves its wrapper.
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
    // Node and Deno look these up by registered symbols, which JSR does not accept as names of class members.
    for (const inspect of ["nodejs.util.inspect.custom", "Deno.customInspect"]) {
      Object.defineProperty(Secret.prototype, Symbol.for(inspect), { value: () => REDACTED });
    }
  }

  /** Wraps `value`. */
  constructor(value: string) {
    this.#value = value;
  }

  /** Returns the value. Do not pass it to anything that might print or store it. */
  reveal(): string {
    return this.#value;
  }

  /**
   * Returns whether `other` has the same value. Takes constant time for strings of one length, so timing does not reveal
   * how much of a guess is right.
   */
  equals(other: Secret | string): boolean {
    const a = this.#value;
    const b = typeof other === "string" ? other : other.#value;
    let difference = a.length ^ b.length;
    for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % (b.length || 1));
    return difference === 0;
  }

  /** Returns `[redacted]`. */
  toString(): string {
    return REDACTED;
  }

  /** Returns `[redacted]`. */
  toJSON(): string {
    return REDACTED;
  }
}
