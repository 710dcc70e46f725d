/** Timeouts of one length that share a timer: a timer per request would cost more than reading its body. */
import type { Time } from "./time.ts";

/** Starts a timeout that calls `expire`, and returns a function that cancels it. */
export type Deadline = (expire: () => void) => () => void;

/** Returns a deadline of `ms` milliseconds. It does not keep the process alive. */
export function createDeadline(time: Pick<Time, "monotonic" | "setTimer">, ms: number): Deadline {
  /** In the order of their expiry. */
  const pending = new Set<{ readonly at: number; readonly expire: () => void }>();
  let isArmed = false;

  function arm(inMs: number): void {
    isArmed = true;
    time.setTimer(expireDue, inMs, { keepAlive: false });
  }

  function expireDue(): void {
    isArmed = false;
    const now = time.monotonic();
    for (const timeout of pending) {
      // Timers may fire a little early.
      if (timeout.at > now) return arm(Math.ceil(timeout.at - now));
      pending.delete(timeout);
      timeout.expire();
    }
  }

  return (expire) => {
    const timeout = { at: time.monotonic() + ms, expire };
    pending.add(timeout);
    if (!isArmed) arm(ms);
    return () => void pending.delete(timeout);
  };
}
