/** Finished runs, as operators see them. */
import { readJournals } from "../../portal/journal.ts";
import { portalKey } from "../../portal/keys.ts";
import type { AppliedUpgrade } from "../../portal/portal.ts";
import { type PortalRecord, readRecord } from "../../portal/record.ts";
import { listRuns, type StoredRun } from "../../portal/run_history.ts";
import type { Storage } from "../../storage/storage.ts";

/** A finished run. */
export interface FinishedRun {
  /** Unique among the runs of its portal. Later runs have greater ids. */
  readonly id: string;
  /** Number of the installation that it belongs to: `portal.generation` at that time. */
  readonly generation: number;
  /** Version at its start. */
  readonly from: string;
  /** Version that it reached. */
  readonly to: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Milliseconds since 1970. */
  readonly finishedAt: number;
  /** The upgrades that it has applied, in order; those that were skipped are marked. */
  readonly applied: readonly AppliedUpgrade[];
  /** The upgrades that it has started, in order, with the names of their steps. */
  readonly upgrades: readonly { readonly upgradeId: string; readonly steps: readonly string[] }[];
}

/** Returns the finished runs of a portal that are kept, the latest first. */
export async function listFinishedRuns(storage: Storage, memberId: string): Promise<FinishedRun[]> {
  const runs: FinishedRun[] = [];
  const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
  if (record === undefined) return runs;
  for (const run of await listRuns(storage, record)) runs.push(await withSteps(storage, memberId, run));
  return runs;
}

async function withSteps(
  storage: Storage,
  memberId: string,
  { format: _, upgrades, ...run }: StoredRun,
): Promise<FinishedRun> {
  const journals = await readJournals(storage, memberId, run.id);
  const stepsOf = (upgradeId: string): readonly string[] => (journals.get(upgradeId) ?? []).map(([name]) => name);
  return {
    ...run,
    upgrades: upgrades.map((upgradeId) => ({ upgradeId, steps: stepsOf(upgradeId) })),
  };
}
