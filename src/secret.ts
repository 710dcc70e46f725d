/** What a secret looks like wherever it is printed. */

export const REDACTED = "[redacted]";

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

/** SHA-256 of `text` in hexadecimal. */
export async function digest(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What is stored of an application token: enough to recognise it, useless to who steals it. */
export async function digestToken(token: Secret): Promise<string> {
  return await digest(token.reveal());
}
