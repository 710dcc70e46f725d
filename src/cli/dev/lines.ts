/** The lines that a stand-in prints: what happened, and the help. */
import { cut, type painter, safe } from "../text.ts";
import { STAND_IN_COMMANDS } from "./commands.ts";
import { keyBindings } from "./keys.ts";
import type { CallEntry, Entry, SentEntry } from "./transcript.ts";

/** Paints a text. */
export type Paint = ReturnType<typeof painter>;

const DOMAIN_WIDTH = 22;
const NAME_WIDTH = 24;

/** Returns the line of an entry, and below it what is worth a second one; nothing while an event is on its way. */
export function entryLines(entry: Entry, paint: Paint): string[] {
  const time = paint("dim", timeOf(entry.at));
  if (entry.kind === "note") return [`${time}   ${paint("yellow", safe(entry.text))}`];
  if (entry.kind === "call") return callLines(entry, time, paint);
  return entry.outcome === undefined ? [] : sentLines(entry, time, paint);
}

function sentLines(entry: SentEntry & { readonly id: number }, time: string, paint: Paint): string[] {
  const { id, name, detail = "", domain, outcome, status = 0, ms = 0, answer = "", remark } = entry;
  const what = `${name} ${detail}`.trim();
  const isGood = outcome === "answered" && status < 400;
  const how = outcome === "withheld"
    ? paint("yellow", "not sent")
    : outcome === "failed"
    ? paint("red", "no answer")
    : `${paint(isGood ? "green" : "red", String(status))} ${paint("dim", `in ${ms} ms`)}`;
  const suffix = remark === undefined ? "" : ` ${paint("yellow", `(${safe(remark)})`)}`;
  const line = `${time} → ${paint("bold", column(what, NAME_WIDTH))} ${column(domain, DOMAIN_WIDTH)} ${how} ${
    paint("dim", `#${id}`)
  }${suffix}`;
  const isWorthReading = outcome === "failed" || (outcome === "answered" && !isGood);
  return isWorthReading && answer !== "" ? [line, `           ${paint("dim", reasonOf(answer))}`] : [line];
}

function callLines(
  { method, host, status, error, ms, params, commands = [] }: CallEntry,
  time: string,
  paint: Paint,
): string[] {
  const isGood = status !== undefined && status < 400 && error === undefined;
  const how = [
    status === undefined ? "" : paint(isGood ? "green" : "red", String(status)),
    error === undefined ? "" : paint("red", safe(error)),
    paint("dim", `in ${ms} ms`),
  ].filter((part) => part !== "").join(" ");
  const shown = params === "{}" ? "" : ` ${paint("dim", firstLine(params))}`;
  const listed = commands.slice(0, MAX_COMMANDS).map((command) => `             ${paint("dim", firstLine(command))}`);
  const more = commands.length > MAX_COMMANDS
    ? [`             ${paint("dim", `and ${commands.length - MAX_COMMANDS} more`)}`]
    : [];
  return [
    `${time}   ← ${column(method, NAME_WIDTH - 2)} ${column(host, DOMAIN_WIDTH)} ${how}${shown}`,
    ...listed,
    ...more,
  ];
}

const MAX_COMMANDS = 5;

/** Returns the keys and commands. */
export function helpLines(): string[] {
  const keys = keyBindings().map(([key, line]) => `${key} ${line}`);
  const width = Math.max(...keys.map((text) => text.length)) + 2;
  const rows: string[] = [];
  for (let i = 0; i < keys.length; i += 5) {
    rows.push(`  ${keys.slice(i, i + 5).map((text) => text.padEnd(width)).join("")}`.trimEnd());
  }
  const usage = STAND_IN_COMMANDS.map(({ name, usage }) => `${name} ${usage}`.trim());
  const usageWidth = Math.max(...usage.map((text) => text.length)) + 2;
  return [
    "Keys: (q ends the stand-in, ? shows this, : or Enter begins a command)",
    ...rows,
    "Commands:",
    ...STAND_IN_COMMANDS.map(({ help }, i) => `  ${usage[i]!.padEnd(usageWidth)}${help}`),
  ];
}

/** Returns the local time of day. */
export function timeOf(at: number): string {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** Returns what an app says about a refusal: the `detail` of a body of RFC 9457, otherwise the begin of the body. */
function reasonOf(answer: string): string {
  try {
    const { detail } = Object(JSON.parse(answer)) as { readonly detail?: unknown };
    return typeof detail === "string" && detail !== "" ? cut(safe(detail), 300) : firstLine(answer);
  } catch {
    return firstLine(answer);
  }
}

function firstLine(text: string): string {
  return cut(safe(text.trim()), 110);
}

/** A longer text is whole: the columns after it give way. */
function column(text: string, width: number): string {
  return cut(safe(text), MAX_COLUMN).padEnd(width);
}

const MAX_COLUMN = 60;
