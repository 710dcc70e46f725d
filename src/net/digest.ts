/** Digests of texts and tokens. */
import type { Secret } from "../secret.ts";
import { hasherOf } from "./runtime.ts";

/** Looked up at the first digest, because it takes milliseconds. */
let hasher: ReturnType<typeof hasherOf> | undefined;

/** Returns the SHA-256 of `text` in hexadecimal. */
export async function digest(text: string): Promise<string> {
  hasher ??= hasherOf();
  return await hasher(text);
}

/**
 * Returns the SHA-256 of a token in hexadecimal, as `portal.applicationToken` stores it: enough to recognize the token, and
 * useless to a thief.
 */
export async function digestToken(token: Secret): Promise<string> {
  return await digest(token.reveal());
}
