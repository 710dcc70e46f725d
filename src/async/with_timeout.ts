/** Limits on how long work may take. */
import { abortable } from "./abortable.ts";
import type { Time } from "./time.ts";

/**
 * Runs `work` with a signal of its own, which is aborted after `timeoutMs` milliseconds and when `outer` is aborted.
 *
 * Rejects with the reason of that signal as soon as it is aborted, whatever `work` does afterwards: work that returns
 * because it was aborted is not done.
 */
export async function withTimeout<T>(
  time: Pick<Time, "setTimer">,
  outer: AbortSignal,
  timeoutMs: number | undefined,
  work: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  outer.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  const abort = (): void => controller.abort(outer.reason);
  outer.addEventListener("abort", abort, { once: true });
  const cancel = timeoutMs === undefined ? undefined : time.setTimer(
    () => controller.abort(new DOMException(`it took longer than ${timeoutMs} ms`, "TimeoutError")),
    timeoutMs,
  );
  try {
    const value = await abortable(Promise.resolve(work(signal)), signal);
    signal.throwIfAborted();
    return value;
  } finally {
    cancel?.();
    outer.removeEventListener("abort", abort);
  }
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
