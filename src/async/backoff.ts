/** A common delay of calls to a service that fails: those that are under way together must not each try on. */
import { createMutex } from "./keyed_mutex.ts";
import { delay, type Time } from "./time.ts";

/** Options of {@linkcode createBackoff}. */
export interface BackoffOptions {
  /** Delay (ms) after the first failure. Each further delay is twice as long. */
  readonly initialMs: number;
  /** Maximum delay in milliseconds. */
  readonly maxMs: number;
  /** Returns whether an error of a call means that the service does not answer. */
  readonly isFailure: (error: unknown) => boolean;
  /** Ends waits with its reason when it is aborted. */
  readonly signal: AbortSignal;
}

/**
 * Runs one call of the service. Once a call has failed, calls run one at a time, each after a delay, until one succeeds.
 * Rejects as the call does.
 */
export type Backoff = <T>(call: () => Promise<T>) => Promise<T>;

/** Returns the backoff of a service that has not failed yet. */
export function createBackoff(time: Pick<Time, "monotonic" | "setTimer">, options: BackoffOptions): Backoff {
  const { initialMs, maxMs, isFailure, signal } = options;
  const mutex = createMutex();
  /** Number of failures in a row. */
  let failures = 0;
  let readyAt = -Infinity;

  async function run<T>(call: () => Promise<T>): Promise<T> {
    // Timers may fire a little early.
    while (readyAt > time.monotonic()) await delay(time, Math.ceil(readyAt - time.monotonic()), signal);
    signal.throwIfAborted();
    const before = failures;
    try {
      const result = await call();
      [failures, readyAt] = [0, -Infinity];
      return result;
    } catch (error) {
      if (!isFailure(error)) {
        [failures, readyAt] = [0, -Infinity];
      } else if (failures === before) {
        // Calls that were under way together have failed for the same reason.
        failures++;
        readyAt = time.monotonic() + Math.min(maxMs, initialMs * 2 ** before);
      }
      throw error;
    }
  }

  return (call) => failures === 0 ? run(call) : mutex(() => run(call));
}
