/** Purges the data of portals that removed the app: tokens at once, the rest when its retention is over. */
import { readCredentials } from "./credentials_record.ts";
import { type Delivery, deliveryOf, type StoredDelivery, type WaitingDelivery } from "./delivery.ts";
import { deleteAttempts } from "./failed_attempts.ts";
import { withoutDelivery } from "./inbox.ts";
import { adoptedPairKey, DELIVERIES } from "./keys.ts";
import type { PortalLease } from "./lease.ts";
import type { Storage } from "../storage/storage.ts";
import { type PortalRecord, withoutPurgedFields } from "./record.ts";
import { deleteRuns } from "./run_history.ts";
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
 * Deletes what the inbox and an adoption hold of a portal that was forgotten at `time`, in milliseconds since 1970, also removals. What came
 * since belongs to a later installation than `generation`, or to none.
 */
export async function purgeForgotten(
  options: UnverifiedOptions,
  lease: PortalLease,
  time: number,
  generation: number,
): Promise<void> {
  await options.storage.delete(adoptedPairKey(lease.record().memberId));
  // The clocks of processes that received some may be ahead.
  await purgeDeliveries(
    options,
    lease,
    ({ delivery: { receivedAt, generation: own } }) => own === undefined ? receivedAt <= time : own <= generation,
  );
}

/**
 * Deletes what the inbox, the events that wait for verification and an adoption hold of a portal from before its removal at
 * `time`, in milliseconds since 1970: no token may stay. The handlers of these deliveries would no longer run. `removalId` is the
 * delivery of the removal itself, which is kept.
 */
export async function purgeTokens(
  options: UnverifiedOptions,
  lease: PortalLease,
  time: number,
  removalId: string,
): Promise<PurgedEvents> {
  const record = lease.record();
  const purged = await purgeDeliveries(
    options,
    lease,
    ({ id, delivery }) =>
      id !== removalId && (delivery.receivedAt <= time || isOfEndedInstallation(record, id, delivery)),
  );
  const parked = purged.filter(({ delivery: { attempts, retryAt } }) => attempts > 0 && retryAt === undefined).length;
  await options.storage.delete(adoptedPairKey(record.memberId));
  return { parked, unverified: await removeUnverifiedBefore(options, record.memberId, time) };
}

/** Deletes deliveries in the inbox of a portal, and token pairs if it has removed the app. Returns the deliveries. */
async function purgeDeliveries(
  { storage, clock }: UnverifiedOptions,
  lease: PortalLease,
  isPurged: (waiting: WaitingDelivery) => boolean,
): Promise<readonly WaitingDelivery[]> {
  const { memberId, inbox = [], overflow } = lease.record();
  const purged = inbox.map(({ id, ...delivery }) => ({ id, delivery })).filter(isPurged);
  if (overflow !== undefined) {
    for await (const entry of storage.list<StoredDelivery>([...DELIVERIES, memberId])) {
      const waiting = deliveryOf(entry);
      if (isPurged(waiting)) purged.push(waiting);
    }
  }
  const end = { outcome: "outdated", at: clock() } as const;
  for (const waiting of purged) lease.stage((record) => withoutDelivery(record, waiting, end));
  // A crash came before they were deleted: a write of the removed portal's record deletes them.
  const isLeft = await readCredentials(storage, memberId) !== null;
  await (isLeft ? lease.update((record) => record) : lease.flush());
  return purged;
}

/**
 * Returns whether the handlers of a delivery no longer run, whatever the clock of the process says that received it. Those of
 * another removal do, and it has no tokens.
 */
function isOfEndedInstallation(
  { status, generation }: PortalRecord,
  id: string,
  { generation: own }: Delivery,
): boolean {
  if (own === undefined || id.startsWith("ONAPPUNINSTALL:")) return false;
  return own < generation || (own === generation && status === "uninstalled");
}

/** Deletes the runs of a portal, with their journals and results, and its failed attempts. */
export async function deleteHistory(storage: Storage, memberId: string): Promise<void> {
  await deleteRuns(storage, memberId);
  await deleteAttempts(storage, memberId);
}

/** Returns the record without customer data; unchanged if the app has been installed again. */
export function purgeRecord(record: PortalRecord): PortalRecord {
  return record.status === "installed" ? record : withoutPurgedFields(record);
}
