/** The finished runs of portals: which upgrades ran, and the journals that a rollback needs. */
import { FormatError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import { resultKey, runPrefix } from "./keys.ts";
import type { PortalRecord, UpgradeJournal } from "./record.ts";

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

/** Stores the run of `record`, which has reached `to`. Idempotent. */
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

async function deleteOldRuns(storage: Storage, memberId: string): Promise<void> {
  for (const { id, journal } of (await listRuns(storage, memberId)).slice(MAX_RUNS)) {
    for (const { stored } of journal.flatMap(({ steps }) => Object.values(steps))) {
      if (stored !== undefined) await storage.delete(resultKey(memberId, stored));
    }
    await storage.delete([...runPrefix(memberId), id]);
  }
}
