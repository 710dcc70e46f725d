/** Keeps tokens out of the strings that portals send. */
import { redact, type Secret } from "../../mod.ts";

/** Returns a string without tokens, cut to 500 characters. */
export type Redact = (text: string) => string;

/** Returns a function that removes `secrets`, also those that are added later, and whatever else looks like a token. */
export function redactor(secrets: ReadonlySet<Secret>): Redact {
  return (text) => redact(text, secrets).replaceAll(/[\da-f]{32,}/gi, "[redacted]").slice(0, 500);
}
