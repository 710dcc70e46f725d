/** Removes secrets from messages. */

/** Returns a text without the queries of its URLs, which may contain secrets. */
export function hideQueries(text: string): string {
  return text.replaceAll(/\?\S*/g, "?…");
}
