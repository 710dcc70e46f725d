/** Texts of any length, such as messages of errors, as they are stored: what follows the limit is only in the log. */

/** Maximum length of a stored text. */
const MAX_TEXT_LENGTH = 4000;

/** Returns `text` as it is stored: at most `maxLength` characters of it. */
export function storedText(text: string, maxLength: number = MAX_TEXT_LENGTH): string {
  if (text.length <= maxLength) return text;
  // Not the first half of a character.
  return `${text.slice(0, maxLength - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}
