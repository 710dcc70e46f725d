/** Work that may take too long. */

/** Runs `work` with a signal of its own, and stops waiting for it when that is aborted. */
export async function withTimeout<T>(
  outer: AbortSignal,
  timeoutMs: number | undefined,
  work: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => controller.abort(outer.reason);
  outer.addEventListener("abort", stop, { once: true });
  const timer = timeoutMs === undefined ? undefined : setTimeout(
    () => controller.abort(new DOMException(`it took longer than ${timeoutMs} ms`, "TimeoutError")),
    timeoutMs,
  );
  try {
    const { signal } = controller;
    outer.throwIfAborted();
    const value = await Promise.race([
      work(signal),
      new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
    ]);
    // What ends because it was told to has not done its work.
    signal.throwIfAborted();
    return value;
  } finally {
    clearTimeout(timer);
    outer.removeEventListener("abort", stop);
  }
}
