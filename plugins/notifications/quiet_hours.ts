/** Quiet hours: times of day at which only what is critical is sent. By `Intl` only. */
import { option, type OptionProblem, type OptionRule, type OptionRules } from "../../mod.ts";

/**
 * Times of day at which operators get critical notifications only. The others are sent when the quiet hours are over, together
 * with what has happened since. An hour that comes twice, because clocks are put back, is quiet both times.
 */
export interface QuietHours {
  /** Begin, as `"22:00"`. */
  readonly from: string;
  /** End, as `"07:00"`; on the next day if it is before `from`. */
  readonly to: string;
  /** Time zone of the times, such as `"Europe/Berlin"`. */
  readonly timeZone: string;
}

const RULES: OptionRules<QuietHours> = {
  from: option.required(option.timeOfDay()),
  to: option.required(option.timeOfDay()),
  timeZone: option.required(option.timeZone()),
};

/** Accepts quiet hours that do not last all day. */
export const quietHoursRule: OptionRule = (value, path): OptionProblem | undefined => {
  const problem = option.object(RULES)(value, path);
  if (problem !== undefined || value === undefined) return problem;
  const { from, to } = value as QuietHours;
  return from === to ? { path: `${path}.to`, seen: JSON.stringify(to), wanted: "another time than from" } : undefined;
};

/** Returns a function that tells whether a time, in milliseconds since 1970, is in the quiet hours. */
export function createIsQuiet({ from, to, timeZone }: QuietHours): (at: number) => boolean {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", hour: "2-digit", minute: "2-digit" });
  return (at) => {
    const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]));
    const now = `${parts.get("hour")!.padStart(2, "0")}:${parts.get("minute")!.padStart(2, "0")}`;
    // Times with two digits compare as strings.
    return from < to ? now >= from && now < to : now >= from || now < to;
  };
}
