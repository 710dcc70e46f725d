/** Texts of any length, such as messages of errors, as they are stored: what follows the limit is only in the log. */

/** Maximum length of a stored text. */
export const MAX_TEXT_LENGTH = 4000;

/** Returns `text` as it is stored. */
export function storedText(text: string): string {
  if (text.length <= MAX_TEXT_LENGTH) return text;
  // Not the first half of a character.
  return `${text.slice(0, MAX_TEXT_LENGTH - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}
