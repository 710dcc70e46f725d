/** Purges the data of portals that removed the app. */
import type { Storage } from "../storage/storage.ts";
import { resultPrefix, runPrefix } from "./keys.ts";
import { type PortalRecord, withoutPurgedFields } from "./record.ts";

/** Deletes the finished runs of a portal and the stored results of steps. */
export async function purgeRuns(storage: Storage, memberId: string): Promise<void> {
  for (const prefix of [runPrefix(memberId), resultPrefix(memberId)]) {
    for await (const { key } of storage.list(prefix)) await storage.delete(key);
  }
}

/** Returns the record without customer data; unchanged if the app has been installed again. */
export function purgeRecord(record: PortalRecord): PortalRecord {
  return record.status === "installed" ? record : withoutPurgedFields(record);
}
