/** Escape functions of the markup languages of channels. */

/** Returns HTML that shows `text`, also as the value of an attribute. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => HTML[character]!);
}

const HTML: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  // Telegram knows no other named entities, and all numerical ones.
  "'": "&#39;",
};

/** Returns what Telegram shows as `text`, as HTML. It would notify the user that an `@` names, also inside of HTML. */
export function escapeTelegram(text: string): string {
  return escapeHtml(withoutMentions(text));
}

/**
 * Returns what Slack shows as `text`, in a message with `mrkdwn: false`: Slack wants these three characters as entities and no
 * others. An `@` would mention users on servers that are compatible with Slack.
 */
export function escapeSlack(text: string): string {
  return withoutMentions(text).replaceAll(/[&<>]/g, (character) => HTML[character]!);
}

/** Returns Markdown that shows `text`: CommonMark lets each ASCII punctuation character be escaped by a backslash. */
export function escapeMarkdown(text: string): string {
  return withoutMentions(text).replaceAll(/[\\`*_{}[\]()#+\-.!|<>~&:$^=]/g, "\\$&");
}

/** A character without width and meaning: it separates the characters of a code, and is not seen. */
const SEPARATOR = "\u200b";

function withoutMentions(text: string): string {
  return text.replaceAll("@", `@${SEPARATOR}`);
}

/**
 * Returns what Bitrix24 shows as `text` in a message. It documents no escape sequence, so codes are separated: tags such as
 * `[b]`, the line break `#BR#`, and quotes, which begin with `>>` or dashes.
 */
export function escapeBbCode(text: string): string {
  return text.replaceAll(/\[|#(?=br#)/gi, `$&${SEPARATOR}`).replace(/^(?=>>|--)/, SEPARATOR);
}
