/** Limits on calls to the backend of a storage: a timeout, and abort signals. */
import { createDeadline } from "../async/deadline.ts";
import { systemTime } from "../async/time.ts";
import { checkOptions, option } from "../check_options.ts";
import { FormatError, StorageError } from "../errors.ts";

/** A call to a backend in progress. */
export interface BackendCall {
  /** Whether the caller has its result. After a timeout or an abort, start no further requests. */
  readonly isSettled: boolean;
  /**
   * State of the call, for the error if it times out: `no reply for 5000 milliseconds`.
   *
   * @default "no reply"
   */
  status: string;
  /** Cause of that error. */
  cause?: unknown;
}

/**
 * Runs a call and returns its result. `describe` returns what the call does, for errors: `get ["a"] from Redis`.
 *
 * @throws the reason of `signal`, as soon as it is aborted. The request may be executed nevertheless.
 * @throws {StorageError} if the call times out or `run` rejects. `StorageError` and `FormatError` are passed through; other
 * errors become its cause, so they must not contain stored values.
 */
export type BackendCaller = <T>(
  describe: () => string,
  signal: AbortSignal | undefined,
  run: (call: BackendCall) => Promise<T>,
) => Promise<T>;

/**
 * Creates a function that runs the calls of one storage to its backend, so that none takes longer than the timeout and all
 * failures are a `StorageError`. For authors of storages.
 *
 * All calls share one timer, which does not keep the process alive.
 *
 * @param timeoutMs Max duration of a call in milliseconds. Above 0, below 2^31.
 * @throws {TypeError} if `timeoutMs` is not such a number
 *
 * @example
 * ```ts
 * import { createBackendCaller } from "@b24/onappupdate/storage";
 * import assert from "node:assert/strict";
 *
 * const call = createBackendCaller(5000);
 * const query = () => Promise.reject(new Error("connection refused"));
 * await assert.rejects(call(() => `get ["a"] from my database`, undefined, query), {
 *   name: "StorageError",
 *   message: `cannot get ["a"] from my database: connection refused`,
 * });
 * ```
 */
export function createBackendCaller(timeoutMs: number): BackendCaller {
  checkOptions("cannot call a backend", { timeoutMs }, { timeoutMs: option.duration() });
  const startTimeout = createDeadline(systemTime, timeoutMs);

  return (describe, signal, run) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const call = { isSettled: false, status: "no reply", cause: undefined as unknown };
      const cancelTimeout = startTimeout(() => fail(`${call.status} for ${timeoutMs} milliseconds`, call.cause));
      signal?.addEventListener("abort", abort);
      run(call).then((result) => settle(() => resolve(result)), rejectWith);

      function settle(how: () => void): void {
        if (call.isSettled) return;
        call.isSettled = true;
        cancelTimeout();
        signal?.removeEventListener("abort", abort);
        how();
      }

      function abort(): void {
        settle(() => reject(signal!.reason));
      }

      function rejectWith(error: unknown): void {
        if (error instanceof StorageError || error instanceof FormatError) return settle(() => reject(error));
        // Further lines show where in the client it happened.
        const [reason = ""] = String(error instanceof Error ? error.message : error).split("\n");
        fail(reason, error);
      }

      function fail(reason: string, cause: unknown): void {
        settle(() => reject(new StorageError(`cannot ${describe()}: ${reason}`, cause === undefined ? {} : { cause })));
      }
    });
}
