/** Limits on how long work may take. */
import { abortable } from "./abortable.ts";
import type { Time } from "./time.ts";

/** Limits of {@linkcode createTimeLimit}. */
export interface TimeLimits {
  /** Time (ms) after which the signal is aborted. `undefined`: no limit. */
  readonly timeoutMs: number | undefined;
  /**
   * Time (ms) that work whose time is over may take to end, before it is left alone.
   *
   * @default 0
   */
  readonly graceMs?: number;
  /**
   * Ends this wait when it is aborted.
   *
   * @default the outer signal
   */
  readonly cutOff?: AbortSignal;
}

/** A piece of work under a time limit. */
export interface TimeLimit {
  /** Aborted when the time is over, by `abort`, and when the outer signal is aborted. */
  readonly signal: AbortSignal;
  /** Lets the time begin again. */
  readonly restart: () => void;
  /** Ends the work early. */
  readonly abort: (reason: unknown) => void;
  /**
   * Runs `work`, once. Rejects with the reason of the signal if it is aborted, whatever `work` does afterwards: work that
   * returns because it was aborted is not done. Waits for it for `graceMs`, unless `cutOff` is aborted.
   */
  readonly run: <T>(work: () => T | Promise<T>) => Promise<T>;
}

/** Returns a time limit. The time begins with `run`. */
export function createTimeLimit(
  time: Pick<Time, "setTimer">,
  outer: AbortSignal,
  { timeoutMs, graceMs = 0, cutOff = outer }: TimeLimits,
): TimeLimit {
  const controller = new AbortController();
  const { signal } = controller;
  const expire = (): void => controller.abort(new DOMException(`it took longer than ${timeoutMs} ms`, "TimeoutError"));
  const arm = (): () => void => timeoutMs === undefined ? () => {} : time.setTimer(expire, timeoutMs);
  let cancel: (() => void) | undefined;

  /** Waits until work that was aborted has ended, so that its next attempt does not overlap with it. */
  async function waitForEnd(running: Promise<unknown>): Promise<void> {
    if (graceMs === 0 || cutOff.aborted) return;
    await abortable(settlesWithin(time, running.catch(() => {}), graceMs), cutOff).catch(() => {});
  }

  return {
    signal,
    restart: () => {
      if (cancel === undefined) return;
      cancel();
      cancel = arm();
    },
    abort: (reason) => controller.abort(reason),
    run: async (work) => {
      outer.throwIfAborted();
      const abort = (): void => controller.abort(outer.reason);
      outer.addEventListener("abort", abort, { once: true });
      cancel = arm();
      try {
        const running = Promise.resolve(work());
        try {
          const value = await abortable(running, signal);
          signal.throwIfAborted();
          return value;
        } catch (error) {
          if (signal.aborted) await waitForEnd(running);
          throw error;
        }
      } finally {
        cancel();
        cancel = undefined;
        outer.removeEventListener("abort", abort);
      }
    },
  };
}

/** Runs `work` under a time limit; see {@linkcode TimeLimit.run}. */
export async function withTimeout<T>(
  time: Pick<Time, "setTimer">,
  outer: AbortSignal,
  limits: TimeLimits | number | undefined,
  work: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const limit = createTimeLimit(time, outer, typeof limits === "object" ? limits : { timeoutMs: limits });
  return await limit.run(() => work(limit.signal));
}

/** Waits for `work` for at most `ms` milliseconds. Returns whether it has settled, and rejects as it does. */
export async function settlesWithin(
  time: Pick<Time, "setTimer">,
  work: Promise<unknown>,
  ms: number,
): Promise<boolean> {
  const { promise: expired, resolve } = Promise.withResolvers<false>();
  const cancel = time.setTimer(() => resolve(false), ms);
  try {
    return await Promise.race([work.then(() => true), expired]);
  } finally {
    cancel();
  }
}
