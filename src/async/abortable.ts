/** Waits for shared work until a signal is aborted; the work goes on for the other callers. */

/**
 * Returns what `work` resolves to, and rejects as it does.
 *
 * @throws the reason of `signal`, as soon as it is aborted
 */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal | null | undefined): Promise<T> {
  if (signal === undefined || signal === null) return await work;
  // The work may reject after the caller has stopped waiting.
  work.catch(() => {});
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
