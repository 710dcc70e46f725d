/** The finished runs of portals: which upgrades ran, and the journals that a rollback needs. */
import { FormatError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import { resultKey, runPrefix } from "./keys.ts";
import type { PortalRecord, UpgradeJournal } from "./record.ts";
import type { RecordChange } from "./record_store.ts";

/** A finished run as it is stored. */
export interface StoredRun {
  readonly format: typeof RUN_FORMAT;
  /** The ids of a portal's runs sort by time. */
  readonly id: string;
  /** Number of the installation. */
  readonly generation: number;
  /** Version of the portal when the run started. */
  readonly from: string;
  /** Version that the run reached. */
  readonly to: string;
  /** In milliseconds since 1970. */
  readonly startedAt: number;
  /** In milliseconds since 1970. */
  readonly finishedAt: number;
  /** The applied upgrades, in order. */
  readonly journal: readonly UpgradeJournal[];
}

/** Raised if older code would misread a run. */
export const RUN_FORMAT = 1;

/** Number of finished runs that are kept for each portal. */
const MAX_RUNS = 20;

/** Returns the change that moves the version to `version`, the target of the run, and the run to the history. */
export function withRunFinished(record: PortalRecord, version: string, finishedAt: number): RecordChange {
  const { failure: _f, run, blocked: _b, ...rest } = record;
  if (run === undefined) return { record: { ...rest, version } };
  const { id, from, startedAt, journal } = run;
  const { memberId, generation, runs = [] } = record;
  const value: StoredRun = { format: RUN_FORMAT, id, generation, from, to: version, startedAt, finishedAt, journal };
  return {
    record: { ...rest, version, runs: [...runs.filter((other) => other !== id), id].slice(-MAX_RUNS) },
    before: [{ put: [...runPrefix(memberId), id], value }],
  };
}

/**
 * Returns the finished runs of a portal, the latest first.
 *
 * @throws {FormatError} if newer code wrote one of them
 */
export async function listRuns(storage: Storage, memberId: string): Promise<StoredRun[]> {
  const runs: StoredRun[] = [];
  for await (const { key, value } of storage.list<StoredRun>(runPrefix(memberId))) {
    if (value.format !== RUN_FORMAT) throw new FormatError(`run ${key.slice(1).join(" ")}`, value.format, RUN_FORMAT);
    runs.push(value);
  }
  return runs.reverse();
}

/** Returns the latest finished run of a portal. */
export async function latestRun(storage: Storage, memberId: string): Promise<StoredRun | undefined> {
  return (await listRuns(storage, memberId))[0];
}

/** Deletes the oldest runs of a portal, so that at most 19 are left. Reads nothing unless there are more. */
export async function deleteSurplusRuns(storage: Storage, { memberId, runs = [] }: PortalRecord): Promise<void> {
  if (runs.length < MAX_RUNS) return;
  for (const { id, journal } of (await listRuns(storage, memberId)).slice(MAX_RUNS - 1)) {
    for (const { stored } of journal.flatMap(({ steps }) => Object.values(steps))) {
      if (stored !== undefined) await storage.delete(resultKey(memberId, stored));
    }
    await storage.delete([...runPrefix(memberId), id]);
  }
}
