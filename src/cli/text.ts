/** Text for terminals, files and programs: without control characters of others, aligned, colored where that is wanted. */
import { styleText } from "node:util";
import type { Output } from "./terminal.ts";

/** Control characters, and characters that change the direction of text: a portal or a message may contain them. */
// deno-lint-ignore no-control-regex -- these are the characters to find
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const STYLES_AND_CONTROLS = new RegExp(`\u001b\\[[\\d;]*m|${CONTROLS.source}`, "g");

/** Returns text of others on one line, without anything that a terminal obeys. */
export function safe(text: string): string {
  return text.replace(CONTROLS, (char) => char === "\n" || char === "\t" ? " " : escaped(char));
}

/** Returns lines of others without anything that a terminal obeys. */
export function safeLines(text: string): string {
  return text.replace(CONTROLS, (char) => /[\t\r\n]/.test(char) ? char : escaped(char));
}

/** Returns text in which a terminal obeys only line ends, tabs and styles: what a command has forgotten to make {@linkcode safe}. */
export function safeStyled(text: string): string {
  return text.replace(STYLES_AND_CONTROLS, (part) => part.length > 1 || /[\t\n]/.test(part) ? part : escaped(part));
}

function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Returns JSON over several lines, or on one, in which a terminal obeys nothing either. */
export function toJson(value: unknown, { onOneLine = false }: { readonly onOneLine?: boolean } = {}): string {
  const json = JSON.stringify(value, null, onOneLine ? 0 : 2) ?? "null";
  return json.replace(CONTROLS, (char) => char === "\n" ? char : escaped(char));
}

/** A style of `styleText`. */
export type Style = Parameters<typeof styleText>[0];

/** Returns a function that colors text if `output` shows colors. */
export function painter({ hasColor }: Pick<Output, "hasColor">): (style: Style, text: string) => string {
  return (style, text) => hasColor ? styleText(style, text, { validateStream: false }) : text;
}

/** A cell of a table: plain text, and possibly its style. */
export type Cell = string | { readonly text: string; readonly style: Style };

/**
 * Returns a table with aligned columns. A column whose head begins with `>` is aligned to the right. The last column is cut
 * to the width of a terminal; columns that do not fit into it follow below their row, with their heads. `notes`: lines below
 * each row.
 */
export function table(
  heads: readonly string[],
  rows: readonly (readonly Cell[])[],
  output: Pick<Output, "hasColor" | "isTerminal" | "columns">,
  notes: readonly string[] = [],
): string {
  const { isTerminal, columns } = output;
  const paint = painter(output);
  const cells = rows.map((row) => row.map((cell) => typeof cell === "string" ? { text: cell } : cell));
  const isRight = heads.map((head) => head.startsWith(">"));
  const names = heads.map((head) => head.replace(/^>/, ""));
  const widths = names.map((name, i) => Math.max(width(name), ...cells.map((row) => width(safe(row[i]!.text)))));
  const count = isTerminal ? columnsThatFit(widths, columns) : names.length;
  const line = (row: readonly { readonly text: string; readonly style?: Style }[]): string => {
    let used = 0;
    const parts = row.slice(0, count).map(({ text, style }, i) => {
      const isLast = i === row.length - 1;
      const room = isLast && isTerminal ? Math.max(columns - used, MIN_COLUMN) : Infinity;
      const shown = cut(safe(text), room);
      const space = " ".repeat(Math.max(widths[i]! - width(shown), 0));
      used += widths[i]! + GAP.length;
      const painted = style === undefined ? shown : paint(style, shown);
      return isRight[i] ? space + painted : isLast ? painted : painted + space;
    });
    return parts.join(GAP).trimEnd();
  };
  const below = (text: string): string[] => text === "" ? [] : [wrapped(text, isTerminal ? columns : Infinity, GAP)];
  const lines = cells.flatMap((row, i) => {
    const others = row.slice(count).map(({ text }, at) => text && `${names[count + at]!.toLowerCase()} ${text}`.trim());
    return [line(row), ...below(others.filter((text) => text !== "").join(", ")), ...below(notes[i] ?? "")];
  });
  return [line(names.map((text) => ({ text, style: "dim" }))), ...lines].join("\n");
}

const GAP = "  ";

/** Width of what can be left of the last column. */
const MIN_COLUMN = 10;

/** Returns the number of columns that fit into a terminal, 1 or more, the last one possibly cut. */
function columnsThatFit(widths: readonly number[], columns: number): number {
  let used = 0;
  for (const [i, width] of widths.entries()) {
    const isLast = i === widths.length - 1;
    if (i > 0 && used + (isLast ? Math.min(width, MIN_COLUMN) : width) > columns) return i;
    used += width + GAP.length;
  }
  return widths.length;
}

/** Returns the number of characters that people see, near enough for tables. */
function width(text: string): number {
  return [...text].length;
}

/** Returns the text, or its beginning and `…`. */
export function cut(text: string, max: number): string {
  const chars = [...text];
  return chars.length <= max ? text : `${chars.slice(0, Math.max(max - 1, 0)).join("")}…`;
}

/** Returns text broken between words into lines of at most `columns` characters, each after `indent`. */
export function wrapped(text: string, columns: number, indent = ""): string {
  const lines: string[] = [];
  let line = "";
  for (const word of safe(text).split(/\s+/)) {
    if (line !== "" && width(indent) + width(line) + 1 + width(word) > columns) {
      lines.push(indent + line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, indent + line].join("\n");
}

/** Returns a time as people read it, in UTC: `2026-11-29 16:49:03Z`. */
export function time(ms: number): string {
  return new Date(ms).toISOString().replace("T", " ").replace(/\.\d+Z$/, "Z");
}

/** Returns a duration by its two largest units: `3 d 4 h`, `2 min 5 s`, `120 ms`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(Math.round(ms), 0)} ms`;
  const units = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]] as const;
  const at = units.findIndex(([, size]) => ms >= size);
  const [name, size] = units[at]!;
  const next = units[at + 1];
  const rest = next === undefined ? 0 : Math.floor((ms % size) / next[1]);
  return `${Math.floor(ms / size)} ${name}${rest === 0 || next === undefined ? "" : ` ${rest} ${next[0]}`}`;
}

/** Returns a number and its noun: `1 portal`, `1,204 portals`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Returns a bar of `columns` characters for a share from 0 to 1. More than nothing is never shown as empty. */
export function bar(share: number, columns: number): string {
  const full = share <= 0 ? 0 : Math.max(Math.round(share * columns), 1);
  return "█".repeat(Math.min(full, columns)) + "░".repeat(Math.max(columns - full, 0));
}
