/** Keeps secrets out of what people see. */

/** A text with addresses in it, for people: what these have in their query may be a secret. */
export function shown(text: string): string {
  return text.replaceAll(/\?\S*/g, "?…");
}
