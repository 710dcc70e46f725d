/** The portals that a batch operation acts on. */
import type { PortalRecord } from "../../portal/record.ts";
import type { Storage } from "../../storage/storage.ts";
import { isMatch, matchingRecords, type RecordPage, type RecordPageOptions } from "./portals.ts";
import type { StoredBatch } from "./stored_batch.ts";

/** The members of a batch operation that say on which portals it acts. */
export type BatchMatch = Pick<StoredBatch, "match" | "rollout">;

/** Returns a page of the records that a batch operation acts on. */
export async function recordsOfBatch(
  storage: Storage,
  { match, rollout }: BatchMatch,
  options: RecordPageOptions,
): Promise<RecordPage> {
  const page = await matchingRecords(storage, match, options);
  return { ...page, records: page.records.filter((record) => rollout === undefined || hasFailedIn(record, rollout)) };
}

/** Returns whether a batch operation acts on a portal. */
export function isOfBatch(record: PortalRecord, { match, rollout }: BatchMatch): boolean {
  return isMatch(record, match) && (rollout === undefined || hasFailedIn(record, rollout));
}

/** Returns whether a portal was parked on its way to the target of a rollout, and is not being rolled back. */
function hasFailedIn({ target, failure, run }: PortalRecord, rollout: string): boolean {
  return target === rollout && failure?.to === rollout && failure.retryAt === undefined && failure.attempts > 0 &&
    !run?.isRollingBack;
}
