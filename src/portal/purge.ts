/** Purges the data of portals that removed the app: tokens at once, the rest when its retention is over. */
import type { Storage } from "../storage/storage.ts";
import { type Delivery, DELIVERY_FORMAT, type Receipt, RECEIPT_MS } from "./inbox.ts";
import { INBOX, receiptKey, resultPrefix, runPrefix } from "./keys.ts";
import { type PortalRecord, withoutPurgedFields } from "./record.ts";
import { removeUnverifiedBefore } from "./unverified.ts";
import type { UnverifiedOptions } from "./unverified_head.ts";

/** Numbers of events that a removal has deleted. */
export interface PurgedEvents {
  /** Parked deliveries. */
  readonly parked: number;
  /** Events that waited for verification, without one that is being verified. */
  readonly unverified: number;
}

/**
 * Deletes what the inbox and the events that wait for verification hold of a portal from before its removal at `time`, in
 * milliseconds since 1970: no token may stay. The handlers of these deliveries would no longer run. `removalId` is the
 * delivery of the removal itself, which is kept.
 */
export async function purgeTokens(
  options: UnverifiedOptions,
  memberId: string,
  time: number,
  removalId: string,
): Promise<PurgedEvents> {
  const { storage } = options;
  let parked = 0;
  for await (const { key, value } of storage.list<Delivery>([...INBOX, memberId])) {
    const deliveryId = key.at(-1)!;
    if (deliveryId === removalId || value.receivedAt > time) continue;
    const receipt: Receipt = { format: DELIVERY_FORMAT };
    await storage.put(receiptKey(memberId, deliveryId), receipt, { ifVersion: null, ttlMs: RECEIPT_MS });
    await storage.delete(key);
    if (value.attempts > 0 && value.retryAt === undefined) parked++;
  }
  return { parked, unverified: await removeUnverifiedBefore(options, memberId, time) };
}

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
