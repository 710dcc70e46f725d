/** Work that ends with a signal, or when it takes too long. */

/** When {@linkcode abortable} ends its work. */
export interface AbortOptions {
  /** The work ends once one of them is aborted. */
  readonly signals: readonly AbortSignal[];
  /** The work ends after this many milliseconds; absent: never. */
  readonly timeoutMs?: number;
}

/**
 * Runs `work` with a signal that is aborted by any of `signals` or after `timeoutMs`, and stops waiting for it then.
 *
 * @throws the reason of the signal; after the timeout, a `DOMException` named `TimeoutError`
 */
export async function abortable<T>(
  { signals, timeoutMs }: AbortOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  for (const signal of signals) signal.throwIfAborted();
  const controller = new AbortController();
  const expire = (): void => controller.abort(new DOMException(`timed out after ${timeoutMs} ms`, "TimeoutError"));
  const timer = timeoutMs === undefined ? undefined : setTimeout(expire, timeoutMs);
  const listeners = signals.map((signal) => ({ signal, abort: (): void => controller.abort(signal.reason) }));
  for (const { signal, abort } of listeners) signal.addEventListener("abort", abort, { once: true });
  try {
    const aborted = new Promise<never>((_, reject) => {
      controller.signal.addEventListener("abort", () => reject(controller.signal.reason), { once: true });
    });
    return await Promise.race([work(controller.signal), aborted]);
  } finally {
    clearTimeout(timer);
    for (const { signal, abort } of listeners) signal.removeEventListener("abort", abort);
  }
}
