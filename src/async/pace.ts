/** Spreads work evenly over time. */
import { delay, type Time } from "./time.ts";

/**
 * Waits for the turn of work that counts `units`. Turns come in the order of the calls.
 *
 * @throws the reason of `signal` if it is aborted meanwhile; the turn is used up
 */
export type Pace = (units: number, signal?: AbortSignal) => Promise<void>;

/** Returns a pace of at most `perMinute` units a minute. Unused turns are not saved up. */
export function createPace(time: Pick<Time, "monotonic" | "setTimer">, perMinute: number): Pace {
  const everyMs = 60_000 / perMinute;
  let nextAt = -Infinity;
  return async (units, signal) => {
    const now = time.monotonic();
    const at = Math.max(nextAt, now);
    nextAt = at + units * everyMs;
    if (at > now) await delay(time, at - now, signal);
    else signal?.throwIfAborted();
  };
}
