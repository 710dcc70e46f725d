/** Time-outs of one duration, which share a timer. */
import { setTimeout } from "node:timers";

/** Time-outs of one duration. */
export interface Timeouts {
  /** Calls `expire` after the duration, unless the returned function is called before. */
  readonly start: (expire: () => void) => () => void;
}

interface Pending {
  readonly at: number;
  readonly expire: () => void;
}

/**
 * Returns time-outs of `ms` milliseconds. They share one timer, because a timer for each command would cost a good part of
 * the command itself. The timer does not keep the process alive.
 */
export function createTimeouts(ms: number): Timeouts {
  /** In the order in which they expire. */
  const pending = new Set<Pending>();
  let armed = false;

  function arm(delayMs: number): void {
    armed = true;
    setTimeout(expireDue, delayMs).unref();
  }

  function expireDue(): void {
    armed = false;
    const now = performance.now();
    for (const timeout of pending) {
      // Timers can fire slightly early.
      if (timeout.at > now) return arm(Math.ceil(timeout.at - now));
      pending.delete(timeout);
      timeout.expire();
    }
  }

  return {
    start: (expire) => {
      const timeout = { at: performance.now() + ms, expire };
      pending.add(timeout);
      if (!armed) arm(ms);
      return () => void pending.delete(timeout);
    },
  };
}
