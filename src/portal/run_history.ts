/** Runs that are over: what was run, and what rolling back needs. */
import { FormatError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import { resultKey, runPrefix } from "./keys.ts";
import type { PortalRecord, UpgradeJournal } from "./record.ts";

/** One run that is over. */
export interface StoredRun {
  readonly format: typeof RUN_FORMAT;
  /** Sorts by time among the runs of its portal. */
  readonly id: string;
  /** Of the installation. */
  readonly generation: number;
  /** Version that it began on. */
  readonly from: string;
  /** Version that it reached. */
  readonly to: string;
  /** In milliseconds since 1970. */
  readonly startedAt: number;
  /** In milliseconds since 1970. */
  readonly finishedAt: number;
  /** In order. */
  readonly journal: readonly UpgradeJournal[];
}

/** Raised whenever older code could misread a run. */
export const RUN_FORMAT = 1;

/** Keeps the run of `record`, which has reached `to`. May be called again for the same run. */
export async function saveRun(
  { storage, clock }: { readonly storage: Storage; readonly clock: () => number },
  record: PortalRecord,
  to: string,
): Promise<void> {
  const { id, from, startedAt, journal } = record.run!;
  const { generation } = record;
  const run: StoredRun = { format: RUN_FORMAT, id, generation, from, to, startedAt, finishedAt: clock(), journal };
  await storage.put([...runPrefix(record.memberId), id], run);
  await deleteOldRuns(storage, record.memberId);
}

/** Runs of a portal that are over, the latest first. */
export async function listRuns(storage: Storage, memberId: string): Promise<StoredRun[]> {
  const runs: StoredRun[] = [];
  for await (const { key, value } of storage.list<StoredRun>(runPrefix(memberId))) {
    if (value.format !== RUN_FORMAT) throw new FormatError(`run ${key.slice(1).join(" ")}`, value.format, RUN_FORMAT);
    runs.push(value);
  }
  return runs.reverse();
}

/** The last run of a portal that is over. */
export async function latestRun(storage: Storage, memberId: string): Promise<StoredRun | undefined> {
  return (await listRuns(storage, memberId))[0];
}

/** How many runs of a portal are kept. */
const KEPT = 20;

/** Deletes all but the latest runs, and the results of their steps. */
export async function deleteOldRuns(storage: Storage, memberId: string): Promise<void> {
  for (const { id, journal } of (await listRuns(storage, memberId)).slice(KEPT)) {
    for (const { stored } of journal.flatMap(({ steps }) => Object.values(steps))) {
      if (stored !== undefined) await storage.delete(resultKey(memberId, stored));
    }
    await storage.delete([...runPrefix(memberId), id]);
  }
}
