/** What becomes of a portal that removed the app. */
import type { Storage } from "../storage/storage.ts";
import { runPrefix } from "./keys.ts";
import type { PortalRecord } from "./record.ts";

/** Deletes what is kept beside the record: runs and the results of their steps. */
export async function purgeRuns(storage: Storage, memberId: string): Promise<void> {
  for (const prefix of [runPrefix(memberId), ["result", memberId]]) {
    for await (const { key } of storage.list(prefix)) await storage.delete(key);
  }
}

/**
 * The record with no more than it takes to tell late events from forged ones, and a new installation from an old one; as it
 * is where the app has been installed again.
 */
export function purgeRecord(record: PortalRecord): PortalRecord {
  if (record.status === "installed") return record;
  const { format, memberId, status, generation, installedTs, uninstalledTs, latestTs } = record;
  const { applicationToken, inboxSequence, fencingToken, lease, due, supersededDue, indexedAs } = record;
  return {
    ...{ format, memberId, domain: "", status, generation, applied: [], installedTs, latestTs },
    ...(uninstalledTs === undefined ? {} : { uninstalledTs }),
    ...(applicationToken === undefined ? {} : { applicationToken }),
    ...(inboxSequence === undefined ? {} : { inboxSequence }),
    ...(fencingToken === undefined ? {} : { fencingToken }),
    ...(lease === undefined ? {} : { lease }),
    ...(due === undefined ? {} : { due }),
    ...(supersededDue === undefined ? {} : { supersededDue }),
    ...(indexedAs === undefined ? {} : { indexedAs }),
  };
}
