/** Reads records of portals. A record that cannot be read must not stop work on the others. */
import { listEntries } from "../storage/list_keys.ts";
import type { Entry, ListOptions, Storage } from "../storage/storage.ts";
import { isUnreadable } from "../storage/unreadable.ts";
import { APP, portalKey, PORTALS } from "./keys.ts";
import { isNewer, type PortalRecord } from "./record.ts";

/** Stands for a record that newer code wrote, or whose encryption key this process does not have. */
export type Unreadable = "unreadable";

/** Returns the record of a portal; `null` if it is not stored. */
export async function findRecord(storage: Storage, memberId: string): Promise<Entry<PortalRecord> | Unreadable | null> {
  try {
    const entry = await storage.get<PortalRecord>(portalKey(memberId));
    return isNewer(entry) ? "unreadable" : entry;
  } catch (error) {
    if (isUnreadable(error)) return "unreadable";
    throw error;
  }
}

/** Lists the records of portals, in the order of their `member_id`. */
export async function* listRecords(
  storage: Storage,
  options?: Pick<ListOptions, "after" | "limit">,
): AsyncGenerator<readonly [memberId: string, entry: Entry<PortalRecord> | Unreadable]> {
  for await (const entry of listEntries<PortalRecord>(storage, PORTALS, options)) {
    const isReadable = entry.version !== undefined && !isNewer(entry);
    yield [entry.key.at(-1)!, isReadable ? entry : "unreadable"];
  }
}

/**
 * Rejects if this process does not only lack the encryption key of some entries, but has a wrong one: no other process could
 * read what it stores.
 *
 * @throws {StorageError} if the app of the storage cannot be read
 */
export async function assertRightKey(storage: Storage): Promise<void> {
  await storage.get(APP);
}
