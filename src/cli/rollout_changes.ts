/** The options of `onappupdate rollout set`. */
import { defined } from "../defined.ts";
import type { RolloutChanges, RolloutStage } from "../plugin/rollout.ts";
import { invalid, type OptionSpec, wholeNumber } from "./command.ts";
import { usageError } from "./exit.ts";

/** Changes of the options of a rollout. */
export interface ChangeOptions {
  readonly stages?: readonly RolloutStage[];
  readonly first?: readonly string[];
  readonly hold?: readonly string[];
  readonly failed?: number;
  readonly percent?: number;
  readonly window?: { readonly from: string; readonly to: string };
  readonly days?: readonly number[];
  readonly timeZone?: string;
  readonly anyTime?: true;
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

function parseStages(text: string): readonly RolloutStage[] {
  return text.split(",").map((part) => {
    const [, count = "", sign, amount, unit = ""] = /^\s*(\d+(?:\.\d+)?)(%?)(?::(\d+)(s|min|h|d))?\s*$/.exec(part) ??
      [];
    if (count === "") throw invalid("stages such as 5,10%:24h,100%");
    const length = amount === undefined ? {} : { forMs: Number(amount) * UNITS[unit]! };
    return sign === "%" ? { percent: Number(count), ...length } : { portals: Number(count), ...length };
  });
}

function parseWindow(text: string): ChangeOptions["window"] {
  const [, from, to] = /^(\d\d:\d\d)-(\d\d:\d\d)$/.exec(text) ?? [];
  if (from === undefined || to === undefined) throw invalid("times such as 22:00-06:00");
  return { from, to };
}

function parseDays(text: string): readonly number[] {
  if (/^[1-7](,[1-7])*$/.test(text)) return text.split(",").map(Number);
  throw invalid("days such as 1,2,3,4, where 1 is Monday");
}

function parsePercent(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text) && Number(text) <= 100) return Number(text);
  throw invalid("a number from 0 to 100");
}

function parseMemberId(text: string): string {
  if (/^[0-9a-f]{32}$/.test(text)) return text;
  throw invalid("a member_id: 32 lower-case hexadecimal digits");
}

/** The flags of {@linkcode ChangeOptions}. */
export const CHANGE_OPTIONS: readonly OptionSpec[] = [
  {
    flags: "--stages <list>",
    description: "numbers of portals, then percentages, each with a duration or until promote: 5,10%:24h,100%",
    parse: parseStages,
  },
  {
    ...{ flags: "--first <member_id>", description: "belongs to every stage; repeatable, replaces all" },
    ...{ parse: parseMemberId, isRepeatable: true },
  },
  {
    ...{ flags: "--hold <member_id>", description: "belongs to no stage; repeatable, replaces all" },
    ...{ parse: parseMemberId, isRepeatable: true },
  },
  { flags: "--failed <n>", description: "pause at n failed portals", parse: wholeNumber(1) },
  { flags: "--percent <n>", description: "or at n percent of those that have finished", parse: parsePercent },
  { flags: "--window <times>", description: "upgrades begin only then: 22:00-06:00", parse: parseWindow },
  { flags: "--days <list>", description: "of the window, 1 for Monday: 1,2,3,4", parse: parseDays },
  { flags: "--time-zone <name>", description: "of the window, such as Europe/Berlin" },
  { flags: "--any-time", description: "no window" },
];

/** Returns the changes. @throws {ExitError} if there are none, or they contradict each other */
export function changesOf(options: ChangeOptions): RolloutChanges {
  const { stages, first, hold, failed, percent, window, days, timeZone, anyTime } = options;
  const isAboutWindow = window !== undefined || days !== undefined || timeZone !== undefined;
  if (anyTime === true && isAboutWindow) throw usageError("saw --any-time and a window, wanted one of them");
  if (isAboutWindow && (window === undefined || timeZone === undefined)) {
    throw usageError("wanted --window TIMES and --time-zone NAME, and --days LIST if it is not every day");
  }
  const changes: RolloutChanges = {
    ...defined({ stages, first, hold }),
    ...(failed !== undefined || percent !== undefined) && { pauseWhen: defined({ failed, percent }) },
    ...window !== undefined && timeZone !== undefined && { window: { ...window, ...defined({ days }), timeZone } },
    ...anyTime === true && { window: null },
  };
  if (Object.keys(changes).length === 0) throw usageError("wanted an option to change, such as --failed 10");
  return changes;
}
