/** What is about one installation of the app must not reach the next: the app may be removed while its upgrades run. */
import { OnAppUpdateError } from "../errors.ts";
import type { PortalLease } from "../portal/lease.ts";
import type { PortalRecord } from "../portal/record.ts";

/** The app was removed from the portal since the work on it began; it may be there again, as another installation. */
export class RemovedError extends OnAppUpdateError {
  constructor(memberId: string) {
    super("removed", `cannot go on with portal ${memberId}: the app was removed from it`);
  }
}

/** One installation on a portal that this worker holds. */
export interface Installation {
  /** As this worker last wrote or read it. @throws {RemovedError} when it is of another installation, or of none */
  readonly record: () => PortalRecord;
  /**
   * Applies `change`, and renews the lease.
   *
   * @throws {RemovedError} when the record is of another installation, or of none: that one is not changed
   * @throws {LeaseLostError} when another worker has the portal
   */
  readonly update: PortalLease["update"];
  /** Those of the portal that is held. */
  readonly fencingToken: number;
  readonly signal: AbortSignal;
}

/** The installation that a portal has now. */
export function installationOf({ record, update, fencingToken, signal }: PortalLease): Installation {
  const { memberId, generation } = record();
  const isThere = (one: PortalRecord): boolean => one.status === "installed" && one.generation === generation;
  const own = (one: PortalRecord): PortalRecord => {
    if (!isThere(one)) throw new RemovedError(memberId);
    return one;
  };
  return {
    record: () => own(record()),
    update: async (change) => own(await update((one) => isThere(one) ? change(one) : one)),
    fencingToken,
    signal,
  };
}
