/** One installation of the app on a portal: an app that is reinstalled while upgrades run must not get their results. */
import { OnAppUpdateError } from "../errors.ts";
import type { PortalLease } from "../portal/lease.ts";
import type { PortalRecord } from "../portal/record.ts";

/** The app was removed from the portal while a worker worked on it. It may have been reinstalled since. */
export class RemovedError extends OnAppUpdateError {
  constructor(memberId: string) {
    super("removed", `cannot continue with portal ${memberId}: the app was removed from it`);
  }
}

/** The lease of a portal, restricted to one installation of the app. */
export interface Installation {
  /**
   * The record as this worker last read or wrote it.
   *
   * @throws {RemovedError} if the installation no longer exists
   */
  readonly record: () => PortalRecord;
  /**
   * Applies `change` and renews the lease. A record of another installation is not changed.
   *
   * @throws {RemovedError} if the installation no longer exists
   * @throws {LeaseLostError} if another worker has taken the lease
   */
  readonly update: PortalLease["update"];
  /**
   * Reads the record, which other processes may have changed.
   *
   * @throws {RemovedError} if the installation no longer exists
   * @throws {LeaseLostError} if another worker has taken the lease
   */
  readonly reread: PortalLease["reread"];
  /**
   * Renews the lease if it is nearly over; see `PortalLease`.
   *
   * @throws {RemovedError} if the installation no longer exists
   * @throws {LeaseLostError} if another worker has taken the lease
   */
  readonly ensureHeld: PortalLease["ensureHeld"];
  /** Applies `change` with the next write; see `PortalLease`. A record of another installation is not changed. */
  readonly stage: PortalLease["stage"];
  /** Writes the staged changes; see `PortalLease`. */
  readonly flush: PortalLease["flush"];
  /** See `PortalLease`. */
  readonly fencingToken: number;
  /** Aborted when the lease is lost. */
  readonly signal: AbortSignal;
}

/** Returns the portal's current installation. */
export function installationOf(
  { record, ensureHeld, update, reread, stage, flush, fencingToken, signal }: PortalLease,
): Installation {
  const { memberId, generation } = record();
  const isCurrent = (record: PortalRecord): boolean =>
    record.status === "installed" && record.generation === generation;
  const assertCurrent = (record: PortalRecord): PortalRecord => {
    if (!isCurrent(record)) throw new RemovedError(memberId);
    return record;
  };
  return {
    record: () => assertCurrent(record()),
    ensureHeld: async () => {
      await ensureHeld();
      assertCurrent(record());
    },
    update: async (change) => assertCurrent(await update((record) => isCurrent(record) ? change(record) : record)),
    reread: async () => assertCurrent(await reread()),
    flush,
    stage: (change, onStored) => {
      let isApplied = false;
      stage((record) => {
        isApplied = isCurrent(record);
        return isApplied ? change(record) : { record };
      }, () => {
        if (isApplied) onStored?.();
      });
    },
    fencingToken,
    signal,
  };
}
