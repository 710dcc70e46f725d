/** Runs statements, and repeats those that the server has not executed until the call times out. */
import { setTimeout } from "node:timers";
import { createBackendCaller } from "../../storage.ts";
import type { Query, Row } from "./client.ts";
import { type Failure, failureOf } from "./failures.ts";

/**
 * Max number of statements without a reply whose calls have ended. At this number calls wait instead of sending, so that a
 * hung server cannot exhaust the memory of the process.
 */
const MAX_ABANDONED = 100;
/** Delay (ms) before a statement is repeated. */
const RETRY_DELAY_MS = 20;

/** The storage operation that statements run for. */
export interface Operation {
  /** Returns its description for errors, such as `get ["a"] from PostgreSQL`. */
  readonly describe: () => string;
  readonly signal: AbortSignal | undefined;
}

/** The statement may have been done. The message is that of the client's error, which is the cause. */
export class UnknownOutcomeError extends Error {}

/**
 * Calls `run` with a function that executes one statement, and resolves to its result. All statements of a call share one
 * time limit.
 *
 * The function repeats a statement that the server has not executed. It throws `UnknownOutcomeError` if the statement may
 * have been executed, and a copy of the client's error without values if the server refuses it.
 *
 * @throws {StorageError} if `run` throws, or the time is over
 */
export type RunStatements = <R>(operation: Operation, run: (query: Query) => Promise<R>) => Promise<R>;

/**
 * Returns a function that runs statements through `send`. Each call has `timeoutMs`. If the table is missing, the statement
 * `createTable` creates it.
 *
 * @throws {TypeError} if `timeoutMs` is not above 0 and below 2^31
 */
export function createRunner(send: Query, createTable: string, timeoutMs: number): RunStatements {
  const callServer = createBackendCaller(timeoutMs);
  const retryDelay = createRetryDelay();
  let abandoned = 0;

  return async (operation, run) => {
    /** Whether a statement was sent and has no reply yet, and whether the call has ended meanwhile. */
    let [inFlight, isAbandoned] = [false, false];

    async function attempt(text: string, values: (string | null)[]): Promise<readonly Row[] | Failure> {
      inFlight = true;
      try {
        return await send(text, values);
      } catch (error) {
        return failureOf(error);
      } finally {
        inFlight = false;
        if (isAbandoned) abandoned--;
      }
    }

    try {
      return await callServer(operation.describe, operation.signal, (call) => {
        let hasCreatedTable = false;
        let unknownCount = 0;
        async function query(text: string, values: (string | null)[]): Promise<readonly Row[]> {
          while (!call.isSettled) {
            if (abandoned >= MAX_ABANDONED) {
              await retryDelay();
              continue;
            }
            const result = await attempt(text, values);
            if (Array.isArray(result)) return result;
            if (!isFailure(result)) throw new Error("saw no rows, wanted a client whose query() resolves to { rows }");
            const { kind, error } = result;
            [call.status, call.cause] = [error.message, error];
            if (kind === "refused" || (kind === "no table" && hasCreatedTable)) throw error;
            if (kind === "no table") {
              hasCreatedTable = true;
              await repeated(query, createTable, []).catch((cause: Error) => {
                throw new Error(`${error.message}, and it cannot be created: ${cause.message}`, { cause });
              });
              continue;
            }
            // A client that always fails at once must not be called without a pause: timers would not run.
            if (kind !== "unknown" || ++unknownCount % 2 === 0) await retryDelay();
            if (kind === "unknown") throw new UnknownOutcomeError(error.message, { cause: error });
          }
          throw new Error("the call has ended");
        }
        return run(query);
      });
    } finally {
      if (inFlight) {
        isAbandoned = true;
        abandoned++;
      }
    }
  };
}

function isFailure(result: unknown): result is Failure {
  return typeof result === "object" && result !== null && "kind" in result;
}

/** Executes a statement that may be executed several times. Repeats it until there is a reply. */
export async function repeated(query: Query, text: string, values: (string | null)[]): Promise<readonly Row[]> {
  for (;;) {
    try {
      return await query(text, values);
    } catch (error) {
      if (!(error instanceof UnknownOutcomeError)) throw error;
    }
  }
}

/** Returns a function that resolves after the delay. All callers share one timer. */
function createRetryDelay(): () => Promise<void> {
  let pending: Promise<void> | undefined;
  return () =>
    pending ??= new Promise((resolve) =>
      setTimeout(() => {
        pending = undefined;
        resolve();
      }, RETRY_DELAY_MS)
    );
}
