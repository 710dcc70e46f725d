/** Time-outs of one length that share a timer: one for each request would cost more than to read its body. */

/** Above it, about 25 days, timers fire at once; in milliseconds. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Whether a timer can wait for `ms` milliseconds. */
export function isDuration(ms: unknown): ms is number {
  return typeof ms === "number" && ms > 0 && ms <= LONGEST_TIMER_MS;
}

/** Calls `expire` once the time is over, unless what it returns is called before. */
export type Deadline = (expire: () => void) => () => void;

/** A timer of Deno and of Node; elsewhere timers are numbers, and nothing ends when none is left. */
interface Timer {
  readonly ref?: () => void;
  readonly unref?: () => void;
}

/** A deadline of `ms` milliseconds. It keeps a process alive only while somebody waits for it. */
export function createDeadline(ms: number): Deadline {
  /** In the order in which they end. */
  const waiting = new Set<{ readonly at: number; readonly expire: () => void }>();
  let timer: Timer | undefined;

  function arm(inMs: number): void {
    timer = setTimeout(expireDue, inMs) as unknown as Timer;
  }

  function expireDue(): void {
    timer = undefined;
    const now = performance.now();
    for (const one of waiting) {
      // Timers fire a little early, too.
      if (one.at > now) return arm(Math.ceil(one.at - now));
      waiting.delete(one);
      one.expire();
    }
  }

  return (expire) => {
    const one = { at: performance.now() + ms, expire };
    waiting.add(one);
    if (timer === undefined) arm(ms);
    else if (waiting.size === 1) timer.ref?.();
    return () => {
      if (waiting.delete(one) && waiting.size === 0) timer?.unref?.();
    };
  };
}
