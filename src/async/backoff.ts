/** A common delay of calls to a service that fails: those that are under way together must not each try on. */
import { delay, type Time } from "./time.ts";

/** Options of {@linkcode createBackoff}. */
export interface BackoffOptions {
  /** Delay (ms) after the first round of failures. Each further delay is twice as long. */
  readonly initialMs: number;
  /** Maximum delay in milliseconds. */
  readonly maxMs: number;
  /** Number of rounds of failures without a success after which the service counts as down. */
  readonly maxRounds: number;
}

/** The state of a service, as its callers see it. */
export interface Backoff {
  /** Waits until the service may be called. Rejects with the reason of `signal` if it is aborted meanwhile. */
  readonly ready: (signal?: AbortSignal) => Promise<void>;
  /** Records the failure of a call that began at `startedAt`, in monotonic milliseconds. Failures of one time count once. */
  readonly failed: (startedAt: number) => void;
  /** Records a success: the next failure is the first one. */
  readonly succeeded: () => void;
  /** Returns whether the service counts as down. */
  readonly isDown: () => boolean;
}

/** Returns the state of a service that has not been called yet. */
export function createBackoff(time: Pick<Time, "monotonic" | "setTimer">, options: BackoffOptions): Backoff {
  const { initialMs, maxMs, maxRounds } = options;
  let rounds = 0;
  let failedAt = -Infinity;
  let readyAt = -Infinity;
  return {
    ready: async (signal) => {
      while (readyAt > time.monotonic()) await delay(time, readyAt - time.monotonic(), signal);
      signal?.throwIfAborted();
    },
    failed: (startedAt) => {
      if (startedAt < failedAt) return;
      rounds++;
      failedAt = time.monotonic();
      readyAt = failedAt + Math.min(maxMs, initialMs * 2 ** (rounds - 1));
    },
    succeeded: () => {
      rounds = 0;
      readyAt = -Infinity;
    },
    isDown: () => rounds >= maxRounds,
  };
}
