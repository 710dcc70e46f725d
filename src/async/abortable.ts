/** Waits for shared work until a signal is aborted, and signals of single pieces of work. */

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

/**
 * Returns a signal that is aborted with `outer`. Call `unlink` when the work ends: a signal that lives as long as the app
 * would otherwise remember all work that ever listened to it.
 */
export function linkedSignal(outer: AbortSignal): { readonly signal: AbortSignal; readonly unlink: () => void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort(outer.reason);
  if (outer.aborted) abort();
  else outer.addEventListener("abort", abort, { once: true });
  return { signal: controller.signal, unlink: () => outer.removeEventListener("abort", abort) };
}
