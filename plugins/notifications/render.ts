/** Renders a notification as text: escaped for its channel, and cut to the length that the channel takes. */
import type { NotificationMessage } from "./message.ts";
import { textsIn } from "./texts.ts";

/** Options of {@linkcode renderText}. */
export interface RenderOptions {
  /**
   * Maximum length of the text in UTF-16 units, as `string.length` counts them. Minimum: 1.
   *
   * @default Infinity
   */
  readonly maxLength?: number;
  /**
   * Returns a string such that the receiver shows it as it was, whatever markup it contains. It receives one line at a time.
   *
   * @default the string itself
   */
  readonly escape?: (text: string) => string;
  /** The id of the notification, for channels that have no other place for it. It becomes the last line. */
  readonly id?: string;
  /**
   * Returns the markup of the escaped first line, such as `<b>…</b>`.
   *
   * @default the line itself
   */
  readonly title?: (escaped: string) => string;
  /**
   * Returns the markup of the link, from its address as it is.
   *
   * @default the escaped address
   */
  readonly link?: (address: string) => string;
}

/** Lines that are shown as far as there is room, and a line that stands for the rest. */
interface Group {
  /** Shown if at least one further line of the group is. */
  readonly heading?: string;
  readonly lines: readonly string[];
  /** The number of lines that could not be passed at all. */
  readonly missing: number;
  readonly more: (count: number) => string;
}

/**
 * Returns a notification as text: the title with its severity or `RESOLVED`, the details, the portals, the link, and the id if
 * there is one. Control characters, line breaks inside of a line, and characters that reverse the direction of text are
 * replaced by spaces.
 *
 * If it is longer than `maxLength`, whole lines are left out: first portals, then details. A line says how many ("and 3 more").
 * Only the title is cut, if there is no room for it alone, and neither inside of a character nor of an escape sequence.
 *
 * @example
 * ```ts
 * import { renderText } from "@b24/onappupdate/notifications";
 * import assert from "node:assert/strict";
 *
 * const text = renderText({
 *   kind: "portal_parked",
 *   status: "firing",
 *   severity: "warning",
 *   title: "3 portals are parked",
 *   lines: ["upgrade 2.0.0: the field <RATING> is missing"],
 *   portals: { shown: [{ memberId: "a223", domain: "one.bitrix24.de" }, { memberId: "b334" }], total: 3 },
 * }, { escape: (line) => line.replaceAll("<", "&lt;") });
 *
 * assert.equal(text, [
 *   "WARNING: 3 portals are parked",
 *   "upgrade 2.0.0: the field &lt;RATING> is missing",
 *   "Portals: 3",
 *   "one.bitrix24.de (a223)",
 *   "b334",
 *   "and 1 more",
 * ].join("\n"));
 * ```
 */
export function renderText(message: NotificationMessage, options: RenderOptions = {}): string {
  const { maxLength = Infinity, escape = asIs, title = asIs, link = escape, id } = options;
  const texts = textsIn(message.language);
  const line = (text: string): string => escape(oneLine(text));
  const { shown, total } = message.portals;
  const heading = oneLine(
    `${message.status === "resolved" ? texts.resolved : texts.severity[message.severity]}: ${message.title}`,
  );
  const first = fitTitle(heading, maxLength, (text) => title(escape(text)));

  let room = maxLength - first.length;
  const last: string[] = [];
  /** Keeps room for a line at the end, if there is enough. */
  const keep = (text: string): void => {
    if (text.length + 1 > room) return;
    room -= text.length + 1;
    last.push(text);
  };
  if (id !== undefined) keep(line(texts.id(id)));
  if (message.link !== undefined) keep(link(oneLine(message.link)));

  const names = shown.map(({ memberId, domain }) => line(domain === undefined ? memberId : `${domain} (${memberId})`));
  const portals: Group = {
    heading: line(texts.portals(total)),
    lines: names,
    missing: Math.max(0, total - names.length),
    more: (count) => line(texts.morePortals(count)),
  };
  const details: Group = { lines: message.lines.map(line), missing: 0, more: (count) => line(texts.moreLines(count)) };
  const reserved = total === 0 ? 0 : portals.heading!.length + 1;
  const shownDetails = fitGroup(details, Math.max(0, room - reserved));
  for (const text of shownDetails) room -= text.length + 1;
  const shownPortals = total === 0 ? [] : fitGroup(portals, room);
  return [first, ...shownDetails, ...shownPortals, ...last.reverse()].join("\n");
}

function asIs(text: string): string {
  return text;
}

/** Control characters, separators of lines, and marks that change the direction of text, with the spaces around them. */
const BREAKS = /\s*[\p{Cc}\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+\s*/gu;

/** Returns a text as one line of well-formed characters. */
export function oneLine(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, "\ufffd").replaceAll(BREAKS, " ").trim();
}

/** Returns the title as it is rendered: cut, with an ellipsis, if it is longer than `max`. */
function fitTitle(title: string, max: number, render: (text: string) => string): string {
  const whole = render(title);
  if (whole.length <= max) return whole;
  const characters = Array.from(title).slice(0, max);
  for (let count = characters.length; count >= 0; count--) {
    const text = render(`${characters.slice(0, count).join("").trimEnd()}…`);
    if (text.length <= max) return text;
  }
  return "…".slice(0, max);
}

/** Returns the lines of a group that fit into `room`, each with a line break. */
function fitGroup({ heading, lines, missing, more }: Group, room: number): string[] {
  const left = heading === undefined ? room : room - heading.length - 1;
  if (left < 0) return [];
  const start = heading === undefined ? [] : [heading];
  const sizes = [0];
  for (const line of lines) sizes.push(sizes.at(-1)! + line.length + 1);
  for (let count = lines.length; count >= 0; count--) {
    const rest = lines.length - count + missing;
    // Behind a heading with the number, "and 40 more" would say nothing.
    const end = rest === 0 || (count === 0 && heading !== undefined) ? [] : [more(rest)];
    const size = sizes[count]! + end.reduce((sum, line) => sum + line.length + 1, 0);
    if (size <= left) return [...start, ...lines.slice(0, count), ...end];
  }
  return start;
}
