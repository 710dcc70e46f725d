/** The clocks and timers of an app. The core takes them from here alone, so that a simulation can replace them. */

/** A source of time. */
export interface Time {
  /** Wall-clock time in milliseconds since 1970. Other processes may have another one. */
  readonly now: () => number;
  /** Milliseconds since an arbitrary point; never goes back. For durations within this process. */
  readonly monotonic: () => number;
  /**
   * Calls `run` once after `ms` milliseconds, and returns a function that cancels it.
   *
   * `keepAlive: false` lets the process end while the timer is pending, where the runtime supports that.
   */
  readonly setTimer: (run: () => void, ms: number, options?: { readonly keepAlive?: boolean }) => () => void;
}

/** The time of the system. */
export const systemTime: Time = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer: (run, ms, { keepAlive = true } = {}) => {
    const timer = setTimeout(run, ms);
    if (!keepAlive) (timer as { readonly unref?: () => void }).unref?.();
    return () => clearTimeout(timer);
  },
};

/** Above this many milliseconds, about 25 days, timers of JavaScript fire at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms` milliseconds; rejects with the reason of `signal` once it is aborted. */
export function delay(time: Pick<Time, "setTimer">, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = (): void => {
      cancel();
      reject(signal!.reason);
    };
    const cancel = time.setTimer(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
