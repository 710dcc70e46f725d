/** Keeps tokens out of what portals say. */

/** Takes tokens out of a text, and cuts it. */
export type Clean = (text: string) => string;

/** Takes `secrets` out of texts, also those that come to them later, and what may be other tokens. */
export function cleaner(secrets: ReadonlySet<string>): Clean {
  return (text) => {
    for (const secret of secrets) if (secret.length >= 8) text = text.replaceAll(secret, "[redacted]");
    return text.replaceAll(/[\da-f]{32,}/gi, "[redacted]").slice(0, 500);
  };
}
