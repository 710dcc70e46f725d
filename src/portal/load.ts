/** Reading and changing the record of a portal that has to be there. */
import { UnknownPortalError } from "../errors.ts";
import { updateEntry } from "../storage/update.ts";
import type { Storage } from "../storage/storage.ts";
import { portalKey, type PortalRecord, readRecord } from "./record.ts";

/** @throws {UnknownPortalError} when the portal is not stored */
export async function loadPortal(storage: Storage, memberId: string): Promise<PortalRecord> {
  const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
  if (record === undefined) throw new UnknownPortalError(memberId);
  return record;
}

/**
 * Applies `change`, which may run several times, and resolves to the record then.
 *
 * @throws {UnknownPortalError} when the portal is not stored
 */
export async function changePortal(
  storage: Storage,
  memberId: string,
  change: (record: PortalRecord) => PortalRecord,
): Promise<PortalRecord> {
  const written = await updateEntry<PortalRecord>(storage, portalKey(memberId), (entry) => {
    const record = readRecord(entry);
    if (record === undefined) throw new UnknownPortalError(memberId);
    return change(record);
  });
  return written!.value;
}
