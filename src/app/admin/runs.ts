/** Finished runs, as operators see them. */
import { listRuns, type StoredRun } from "../../portal/run_history.ts";
import type { Storage } from "../../storage/storage.ts";

/** A finished run. */
export interface FinishedRun {
  /** Unique among the runs of its portal. Later runs have greater ids. */
  readonly id: string;
  /** Version at its start. */
  readonly from: string;
  /** Version that it reached. */
  readonly to: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Milliseconds since 1970. */
  readonly finishedAt: number;
  /** Its upgrades in order, with the names of their steps. */
  readonly upgrades: readonly { readonly upgradeId: string; readonly steps: readonly string[] }[];
}

/** Returns the finished runs of a portal that are kept, the latest first. */
export async function listFinishedRuns(storage: Storage, memberId: string): Promise<FinishedRun[]> {
  return (await listRuns(storage, memberId)).map(summary);
}

function summary({ id, from, to, startedAt, finishedAt, journal }: StoredRun): FinishedRun {
  const upgrades = journal.map(({ upgradeId, steps }) => ({ upgradeId, steps: Object.keys(steps) }));
  return { id, from, to, startedAt, finishedAt, upgrades };
}
