/** Decides what is due for a group. Pure functions. */
import type { Group, PendingMessage } from "./group.ts";
import { KINDS } from "./kinds.ts";
import type { Level } from "./level.ts";

/** The next action of a group: a message that the problem is there, or over, nothing until `at`, or nothing ever again. */
export type Decision =
  | { readonly action: "fire" }
  | { readonly action: "resolve" }
  | { readonly action: "wait"; readonly at: number }
  | { readonly action: "forget" };

/** Times in milliseconds. */
export interface Timing {
  readonly groupIntervalMs: number;
  readonly repeatIntervalMs: number;
}

/** Time (ms) that a group waits until its problem can be seen: portals are listed as parked once their work has ended. */
const GRACE_MS = 60_000;

/** Difference (ms) of the clocks of two processes. A later time is of a clock that was put back since, and long ago. */
const MAX_CLOCK_DIFFERENCE_MS = 60_000;

/** Time (ms) after which something that was counted counts as over. */
const CALM_MS = 30 * 60_000;

/**
 * Returns whether a group is to be looked at. It never waits for longer than `maxWaitMs`, and another process sends its pending
 * message after `takeoverMs`: later times are of a clock that was put back.
 */
export function isDue(
  { pending, checkAt }: Pick<Group, "checkAt"> & { readonly pending?: Pick<PendingMessage, "until"> },
  now: number,
  { maxWaitMs, takeoverMs }: { readonly maxWaitMs: number; readonly takeoverMs: number },
): boolean {
  const [at, waitMs] = pending === undefined ? [checkAt, maxWaitMs] : [pending.until, takeoverMs];
  return at <= now || at > now + waitMs + MAX_CLOCK_DIFFERENCE_MS;
}

/** Returns what is due for a group whose time has come. */
export function decide(group: Group, { count }: Pick<Level, "count">, now: number, timing: Timing): Decision {
  return count > 0 ? decideThere(group, now, timing) : decideOver(group, now, timing);
}

function decideThere({ kind, told, hasChanged }: Group, now: number, timing: Timing): Decision {
  const { groupIntervalMs, repeatIntervalMs } = timing;
  if (told === undefined) return { action: "fire" };
  const isNews = hasChanged && KINDS[kind].end === "level";
  if (told.at > now + MAX_CLOCK_DIFFERENCE_MS) return { action: "fire" };
  const fireAt = told.at + (isNews ? groupIntervalMs : repeatIntervalMs);
  return now >= fireAt ? { action: "fire" } : { action: "wait", at: Math.min(fireAt, now + groupIntervalMs) };
}

function decideOver({ kind, told, since, latestAt }: Group, now: number, timing: Timing): Decision {
  const { groupIntervalMs, repeatIntervalMs } = timing;
  const { end } = KINDS[kind];
  if (told === undefined) {
    const overAt = end === "level" ? latestAt + GRACE_MS : since + groupIntervalMs;
    return now >= overAt ? { action: "forget" } : { action: "wait", at: Math.min(overAt, now + GRACE_MS / 2) };
  }
  if (end === "level") return { action: "resolve" };
  const [from, lastsMs] = end === "count" ? [latestAt, CALM_MS] : [told.at, repeatIntervalMs];
  const overAt = from + lastsMs;
  if (now < overAt && from <= now + MAX_CLOCK_DIFFERENCE_MS) {
    return { action: "wait", at: Math.min(overAt, now + groupIntervalMs) };
  }
  return { action: end === "count" ? "resolve" : "forget" };
}
