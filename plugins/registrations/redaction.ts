/** Removes secrets from messages. */

/** Returns a text without the user names, passwords, queries and fragments of its URLs, which may contain secrets. */
export function hideUrlSecrets(text: string): string {
  return text.replaceAll(/\S+/g, (word) => {
    const end = word.search(/[?#]/);
    const start = end < 0 ? word : word.slice(0, end);
    const at = start.lastIndexOf("@");
    return `${at < 0 ? start : `…${start.slice(at)}`}${end < 0 ? "" : `${word[end]}…`}`;
  });
}
