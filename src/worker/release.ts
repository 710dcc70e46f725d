/** Releases the lease of a portal: with its next schedule entry, or unfinished. */
import type { AppRuntime } from "../plugin/runtime.ts";
import { readCredentials } from "../portal/credentials_record.ts";
import type { PortalLease } from "../portal/lease.ts";
import { deleteHistory, purgeRecord } from "../portal/purge.ts";
import { UNDO_MS } from "../portal/removal.ts";
import { logScheduled, rescheduled, withWork } from "../portal/schedule.ts";
import type { WaitingTally } from "./waiting_tally.ts";

/**
 * Schedules the portal at `nextAt`, counts what waits, and releases the lease. Releases nothing if deliveries have arrived
 * since `inboxSequence`, or a report that observers wait for. Resolves to whether it released the lease.
 */
export async function releaseIfIdle(
  runtime: AppRuntime,
  lease: PortalLease,
  inboxSequence: number | undefined,
  nextAt: number | undefined,
  tally: WaitingTally,
): Promise<boolean> {
  const { clock, random } = runtime;
  const isReleased = await lease.release((record) =>
    record.inboxSequence === inboxSequence && record.reports === undefined
      ? rescheduled(tally.apply(record), nextAt, clock(), random)
      : undefined
  );
  if (isReleased) logScheduled(runtime, lease.record());
  return isReleased;
}

/** Releases the lease of a portal whose work is not done, and schedules the portal now. */
export async function releaseUnfinished({ clock, random }: AppRuntime, lease: PortalLease): Promise<void> {
  await lease.release((record) => withWork(record, clock(), random));
}

/**
 * Purges a removed portal if its retention is over. Resolves to the time when that is due, in milliseconds since 1970;
 * `undefined` if the app is installed or the portal is purged.
 */
export async function purgeIfExpired(runtime: AppRuntime, lease: PortalLease): Promise<number | undefined> {
  const { status, purgeAt, memberId, removalBelievedAt } = lease.record();
  if (status === "installed") return undefined;
  // A removal that was only believed can be undone.
  const retentionMs = removalBelievedAt === undefined ? runtime.retentionMs : Math.max(runtime.retentionMs, UNDO_MS);
  const at = purgeAt ?? runtime.clock() + retentionMs;
  if (at <= runtime.clock()) {
    await deleteHistory(runtime.storage, memberId);
    // If there are any, the write of the record deletes them.
    await readCredentials(runtime.storage, memberId);
    await lease.update(purgeRecord);
    runtime.log.info("portal purged", { event: "portal.purged", memberId });
    return undefined;
  }
  if (purgeAt === undefined) {
    await lease.update((record) => record.status === "installed" ? record : { ...record, purgeAt: at });
  }
  return at;
}
