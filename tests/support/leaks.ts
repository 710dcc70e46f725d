/** Finds tokens of the fake Bitrix24 in what a program has written. */
import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { TOKEN_MARKER } from "../../src/testing/bitrix24/marker.ts";

/** Returns the marker as it appears in base64, for each of its places in a group of three bytes. */
function inBase64(marker: string): string[] {
  return [0, 1, 2].map((offset) => {
    const text = Buffer.from("\0".repeat(offset) + marker).toString("base64").replace(/=+$/, "");
    const ends = (offset + marker.length) % 3 !== 0;
    // The first and last characters also depend on what is around the marker.
    return text.slice(offset === 0 ? 0 : offset + 1, ends ? -1 : undefined);
  });
}

const FORMS: readonly RegExp[] = [
  // Each character as it is, or percent-encoded.
  new RegExp([...TOKEN_MARKER].map((char) => `(?:${char}|%${char.charCodeAt(0).toString(16)})`).join(""), "i"),
  new RegExp(inBase64(TOKEN_MARKER).join("|")),
];

/** Returns whether a text has a token of the fake, also percent-encoded or in base64. */
export function hasToken(text: string): boolean {
  return FORMS.some((form) => form.test(text));
}

/** The texts that a token can be a part of, in any of these forms. */
const WORD = /[\w%+/=-]+/g;

/** Returns a text with each token of the fake replaced. */
export function withoutTokens(text: string): string {
  return hasToken(text) ? text.replace(WORD, (word) => hasToken(word) ? "[token]" : word) : text;
}

/** Returns the lines that have a token of the fake, with the token replaced. */
export function linesWithToken(text: string): readonly string[] {
  return hasToken(text) ? text.split("\n").filter(hasToken).map((line) => withoutTokens(line).slice(0, 2000)) : [];
}

/** Throws if a text has a token of the fake. `what` names the text. */
export function assertNoToken(what: string, text: string): void {
  const [line] = linesWithToken(text);
  assert(line === undefined, `${what} has a token: ${line}`);
}
