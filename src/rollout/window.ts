/** Windows: the times of day, in a time zone, at which upgrades may begin. Pure functions, by `Intl` only. */
import { option, type OptionProblem, type OptionRule, type OptionRules } from "../check_options.ts";
import type { RolloutWindow } from "../plugin/rollout.ts";

const MINUTE_MS = 60_000;
const DAY_MINUTES = 24 * 60;

/** Step (minutes) of the search for a window: offsets of time zones are multiples of it. */
const STEP_MINUTES = 15;

/** Days after which a window that opens on one day of the week must have opened, whatever clocks do. */
const SEARCHED_DAYS = 15;

const days: OptionRule = (value, path) => {
  const list = option.list(
    "a list of days, 1 for Monday to 7 for Sunday",
    option.number({ min: 1, max: 7, isWhole: true }),
  )(value, path);
  return list ??
    (Array.isArray(value) && value.length === 0
      ? { path, seen: "[]", wanted: "at least one day, or no days" }
      : undefined);
};

const RULES: OptionRules<RolloutWindow> = {
  from: option.required(option.timeOfDay()),
  to: option.required(option.timeOfDay()),
  days,
  timeZone: option.required(option.timeZone()),
};

/** Accepts windows that open at some time. */
export const windowRule: OptionRule = (value, path): OptionProblem | undefined => {
  const problem = option.object(RULES)(value, path);
  if (problem !== undefined || value === undefined) return problem;
  const { from, to } = value as RolloutWindow;
  return from === to ? { path: `${path}.to`, seen: JSON.stringify(to), wanted: "another time than from" } : undefined;
};

/** Returns whether a window is open at a time, in milliseconds since 1970. */
export function isOpen({ from, to, days, timeZone }: RolloutWindow, at: number): boolean {
  const { minute, day } = localTime(timeZone, at);
  const [start, end] = [minuteOf(from), minuteOf(to)];
  const begins = (day: number): boolean => days === undefined || days.includes(day);
  if (start < end) return minute >= start && minute < end && begins(day);
  const dayBefore = day === 1 ? 7 : day - 1;
  return (minute >= start && begins(day)) || (minute < end && begins(dayBefore));
}

/**
 * Returns the first whole minute from `at` on at which a window is open, in milliseconds since 1970. `undefined` if there is
 * none within two weeks: clocks are put forward over it.
 */
export function nextOpening(window: RolloutWindow, at: number): number | undefined {
  if (isOpen(window, at)) return at;
  const first = Math.ceil(at / MINUTE_MS) * MINUTE_MS;
  const length = (minuteOf(window.to) - minuteOf(window.from) + DAY_MINUTES) % DAY_MINUTES;
  const step = (length < STEP_MINUTES ? 1 : STEP_MINUTES) * MINUTE_MS;
  const end = first + SEARCHED_DAYS * DAY_MINUTES * MINUTE_MS;
  for (let time = first; time <= end; time += step) {
    if (!isOpen(window, time)) continue;
    // It has opened within the last step.
    let opening = time;
    while (opening - MINUTE_MS >= first && isOpen(window, opening - MINUTE_MS)) opening -= MINUTE_MS;
    return opening;
  }
  return undefined;
}

function minuteOf(text: string): number {
  const [hours, minutes] = text.split(":");
  return Number(hours) * 60 + Number(minutes);
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Returns the minute of the day and the day of the week, 1 for Monday, on a clock in a time zone. */
function localTime(timeZone: string, at: number): { readonly minute: number; readonly day: number } {
  const format = formats.get(timeZone) ??
    new Intl.DateTimeFormat("en-US", {
      ...{ timeZone, hourCycle: "h23", hour: "2-digit", minute: "2-digit" },
      ...{ year: "numeric", month: "2-digit", day: "2-digit" },
    });
  formats.set(timeZone, format);
  const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
  const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type)!;
  const weekday = new Date(Date.UTC(part("year"), part("month") - 1, part("day"))).getUTCDay();
  return { minute: part("hour") * 60 + part("minute"), day: weekday === 0 ? 7 : weekday };
}
