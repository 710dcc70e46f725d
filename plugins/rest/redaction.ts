/** Keeps tokens out of the strings that portals send. */

/** Returns a string without tokens, cut to 500 characters. */
export type Redact = (text: string) => string;

/** Returns a function that removes `secrets`, also those that are added later, and whatever else looks like a token. */
export function redactor(secrets: ReadonlySet<string>): Redact {
  return (text) => {
    for (const secret of secrets) if (secret.length >= 8) text = text.replaceAll(secret, "[redacted]");
    return text.replaceAll(/[\da-f]{32,}/gi, "[redacted]").slice(0, 500);
  };
}
