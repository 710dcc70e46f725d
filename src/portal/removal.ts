/** The removal of the app in a portal's record, and its undoing. Pure functions. */
import { contradicted } from "./claims.ts";
import type { EventFacts } from "./event_facts.ts";
import { type PortalRecord, withoutRemovedFields } from "./record.ts";

/**
 * Milliseconds that a removal that was believed without Bitrix24's confirmation can be undone. The portal keeps its
 * version and generation for so long.
 */
export const UNDO_MS = 30 * 24 * 60 * 60 * 1000;

/** A removal that is to be recorded. */
export interface Removal {
  /** When Bitrix24 sent the event, in seconds since 1970. */
  readonly ts: number;
  /** When it was believed without Bitrix24's confirmation, in milliseconds since 1970; absent if it is confirmed. */
  readonly believedAt?: number;
  /**
   * `false` if an event of this removal wants the app's data kept, or Bitrix24 still knew the app as installed after the last
   * of them had come: it may have been made up.
   */
  readonly isCleanSure?: boolean;
}

/** Returns the record of the removed app. */
export function removed(record: PortalRecord, { ts, believedAt, isCleanSure = true }: Removal): PortalRecord {
  const { removalBelievedAt: _b, isCleanUnsure: _c, ...rest } = withoutRemovedFields(record);
  return {
    ...rest,
    status: "uninstalled",
    uninstalledTs: Math.max(ts, record.uninstalledTs ?? 0),
    ...(believedAt === undefined ? {} : { removalBelievedAt: believedAt }),
    ...(isCleanSure ? {} : { isCleanUnsure: true as const }),
  };
}

/** Returns whether a contact at `now`, in milliseconds since 1970, shows that the app was never removed. */
export function isUndoable({ status, removalBelievedAt }: PortalRecord, now: number): boolean {
  return status === "uninstalled" && removalBelievedAt !== undefined && now - removalBelievedAt < UNDO_MS;
}

/**
 * Returns the record of the same installation as before the removal. Without a proof of its application token, the app may
 * have been installed anew: the removal stays a claim, which an installation with another token completes. `ts`: of the
 * contact, in seconds since 1970.
 */
export function undone(
  { uninstalledTs = 0, removalBelievedAt, purgeAt: _p, owedRemoval: _o, isCleanUnsure: _c, ...record }: PortalRecord,
  ts: number,
  { receivedAt, verification }: Pick<EventFacts, "receivedAt" | "verification">,
): PortalRecord {
  // The removal is late from now on, if it is applied again.
  const installedTs = Math.max(record.installedTs, ts, uninstalledTs + 1);
  const next: PortalRecord = { ...record, status: "installed", installedTs };
  if (verification.applicationTokenDigest !== undefined) return next;
  const removal = { ts: uninstalledTs, since: removalBelievedAt ?? receivedAt };
  return { ...next, claims: { removal: contradicted("removal", removal, receivedAt) } };
}
