/** Group commit: the writes of one turn of the event loop share a transaction. */
import { setImmediate } from "node:timers";
import { assertOpen, type Context } from "./context.ts";
import { rollBack, sweep, SWEEP_INTERVAL } from "./database.ts";
import { toStorageError } from "./failure.ts";

/** Runs one statement at `now`, the time of the commit. */
export type RunWrite = (now: number) => { readonly changes: number | bigint };

/** Writes that wait for the next commit. */
export interface CommitQueue {
  /**
   * Resolves to the number of changed entries once the write is on disk. Rejects with the signal's reason if the signal is
   * aborted before the commit starts.
   *
   * @throws {StorageError} if the storage is closed
   */
  readonly write: (action: string, signal: AbortSignal | undefined, run: RunWrite) => Promise<number>;
  /** Commits the waiting writes now. */
  readonly flush: () => void;
}

interface PendingWrite {
  /** Its description for errors. */
  readonly action: string;
  readonly signal: AbortSignal | undefined;
  readonly run: RunWrite;
  readonly resolve: (changes: number) => void;
  readonly reject: (reason: unknown) => void;
}

/** Returns the commit queue of a storage. */
export function createCommitQueue(context: Context): CommitQueue {
  const { clock, database: { db, statements } } = context;
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
      statements.begin.run();
      // Read after BEGIN, which may have waited long for other processes.
      const now = clock();
      sweepSometimes(writes.length, now);
      stage = "write";
      const changes = writes.map(({ run }) => Number(run(now).changes));
      stage = "commit";
      statements.commit.run();
      writes.forEach(({ resolve }, i) => resolve(changes[i]!));
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
    write: (action, signal, run) => {
      assertOpen(context, action);
      return new Promise((resolve, reject) => {
        pending.push({ action, signal, run, resolve, reject });
        // A microtask would be too early: all microtasks of one request run before the next request of the same turn.
        if (pending.length === 1) setImmediate(flush);
      });
    },
    flush,
  };
}
