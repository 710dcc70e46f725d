/** Group commit: the writes of one turn of the event loop share a transaction. */
import { setImmediate } from "node:timers";
import { assertOpen, type Context } from "./context.ts";
import { rollBack, sweep, SWEEP_INTERVAL } from "./database.ts";
import { toStorageError } from "./failure.ts";

/** Runs the statements of a write at `now`, the time of the commit. */
export type RunWrite<R> = (now: number) => R;

/** Writes that wait for the next commit. */
export interface CommitQueue {
  /**
   * Resolves to the result of `run`, which writes `entries` entries, once the write is on disk. Rejects with the signal's reason if the signal is
   * aborted before the commit starts.
   *
   * @throws {StorageError} if the storage is closed
   */
  readonly write: <R>(
    action: string,
    signal: AbortSignal | undefined,
    run: RunWrite<R>,
    entries?: number,
  ) => Promise<R>;
  /** Commits the waiting writes now. */
  readonly flush: () => void;
}

interface PendingWrite {
  /** Its description for errors. */
  readonly action: string;
  readonly signal: AbortSignal | undefined;
  readonly run: RunWrite<unknown>;
  readonly entries: number;
  readonly resolve: (result: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/** Returns the commit queue of a storage. */
export function createCommitQueue(context: Context): CommitQueue {
  const { clock, checkFile, database: { db, statements } } = context;
  let pending: PendingWrite[] = [];
  let writesSinceSweep = 0;

  function flush(): void {
    const writes = pending;
    pending = [];
    for (const { signal, reject } of writes) if (signal?.aborted) reject(signal.reason);
    commit(writes.filter(({ signal }) => !signal?.aborted));
  }

  /** Runs the writes in one transaction, and settles them. */
  function commit(writes: readonly PendingWrite[]): void {
    if (writes.length === 0) return;
    let stage: "begin" | "write" | "commit" = "begin";
    try {
      checkFile();
      statements.begin.run();
      // Read after BEGIN, which may have waited long for other processes.
      const now = clock();
      sweepSometimes(writes.reduce((sum, { entries }) => sum + entries, 0), now);
      stage = "write";
      const results = writes.map(({ run }) => run(now));
      stage = "commit";
      statements.commit.run();
      // It may have been removed since: then nobody will find these writes.
      checkFile();
      writes.forEach(({ resolve }, i) => resolve(results[i]));
    } catch (error) {
      rollBack(db);
      // The failure of one write must not fail the others, so each is committed alone. After a failed COMMIT nothing is
      // repeated: recovery may find it done, and a condition would then take it for the write of another process.
      if (stage === "write" && writes.length > 1) writes.forEach((write) => commit([write]));
      else writes.forEach(({ action, reject }) => reject(toStorageError(action, error)));
    }
  }

  /** Runs in the transaction of the writes, so that a failure rejects them and their callers can retry. */
  function sweepSometimes(writes: number, now: number): void {
    writesSinceSweep += writes;
    if (writesSinceSweep < SWEEP_INTERVAL) return;
    const count = writesSinceSweep;
    writesSinceSweep = 0;
    sweep(statements, now, count);
  }

  return {
    write: <R>(action: string, signal: AbortSignal | undefined, run: RunWrite<R>, entries = 1) => {
      assertOpen(context, action);
      return new Promise<R>((resolve, reject) => {
        pending.push({ action, signal, run, entries, resolve: resolve as (result: unknown) => void, reject });
        // A microtask would be too early: all microtasks of one request run before the next request of the same turn.
        if (pending.length === 1) setImmediate(flush);
      });
    },
    flush,
  };
}
