/** Ends work with signals, or when it takes too long. */

/**
 * Runs `work` with a signal that any of `outer` and the time-out abort, and then waits for it no longer.
 *
 * @throws the reason of the signal; that of the time-out is a `TimeoutError`
 */
export async function within<T>(
  outer: readonly AbortSignal[],
  timeoutMs: number | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  for (const one of outer) one.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  const expire = (): void => controller.abort(new DOMException(`it took longer than ${timeoutMs} ms`, "TimeoutError"));
  const timer = timeoutMs === undefined ? undefined : setTimeout(expire, timeoutMs);
  const links = outer.map((one) => ({ one, stop: (): void => controller.abort(one.reason) }));
  for (const { one, stop } of links) one.addEventListener("abort", stop, { once: true });
  try {
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    return await Promise.race([work(signal), aborted]);
  } finally {
    clearTimeout(timer);
    for (const { one, stop } of links) one.removeEventListener("abort", stop);
  }
}
