/** State that the methods of a storage share, and calls to the database. */
import type { BackendCaller, Key } from "../../storage.ts";
import type { Keyspace } from "./keyspace.ts";
import type { KvLike } from "./kv.ts";

/** State that the methods of one storage share. */
export interface Context {
  readonly kv: KvLike;
  readonly keyspace: Keyspace;
  readonly clock: () => number;
  readonly call: BackendCaller;
  readonly sweep: SweepState;
}

/** Progress of the sweep. */
export interface SweepState {
  /** Number of writes since its last page. */
  writes: number;
  /** Key of the last entry that it has looked at. Absent: it begins again. */
  after?: Key | undefined;
}

/** Pauses before a request is repeated that a lock of another process has refused. */
const MIN_PAUSE_MS = 5;
const MAX_PAUSE_MS = 160;

/** Sends a request to the database, and repeats it as long as locks of other processes refuse it. */
export type Send = <R>(request: () => Promise<R>) => Promise<R>;

/**
 * Runs one or more requests as one call.
 *
 * @throws {StorageError} if the database fails or the call times out
 */
export function callDatabase<R>(
  { call }: Context,
  action: string,
  signal: AbortSignal | undefined,
  run: (send: Send) => Promise<R>,
): Promise<R> {
  return call(() => `${action} Deno KV`, signal, (current) =>
    run(async (request) => {
      for (let pauseMs = MIN_PAUSE_MS;; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
        if (current.isSettled) throw new Error("the call is settled");
        try {
          return await request();
        } catch (error) {
          if (!isLocked(error)) throw error;
          current.status = "the database was locked by other processes";
          current.cause = error;
        }
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }));
}

/** Returns whether SQLite refused a request because of a lock. It has done nothing then. */
function isLocked(error: unknown): boolean {
  return error instanceof Error && /database (table )?is locked/.test(error.message);
}
