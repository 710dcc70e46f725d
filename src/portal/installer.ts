/**
 * The installer: the first ONAPPINSTALL of an installation. Upgrades of the portal wait until its handlers have succeeded.
 * Pure functions.
 */
import type { B24Event } from "../bitrix24/events.ts";
import { claimState } from "./event_claims.ts";
import type { EventFacts } from "./event_facts.ts";
import type { PortalRecord, WaitingInstaller } from "./record.ts";
import { storedText } from "./stored_text.ts";

/**
 * Returns `after`, the record after an event, with the installer that the event is. `id`: of its delivery. A later ONAPPINSTALL
 * is an update, and so is the first one if the portal was known before it and upgrades are due.
 */
export function withInstaller(
  before: PortalRecord | undefined,
  after: PortalRecord,
  event: B24Event,
  id: string,
  facts: EventFacts,
): PortalRecord {
  if (event.name !== "ONAPPINSTALL" || after.status !== "installed" || after.installer !== undefined) return after;
  if (before === undefined || before.generation !== after.generation) return { ...after, installer: { id } };
  // Any user of the portal can claim one of a version that Bitrix24 does not confirm, and later one of the present version.
  if (claimState(after, event, facts) !== "work" || isClaimedLate(before, facts)) return after;
  return { ...after, installer: after.version === after.target ? { id } : "done" };
}

/** Time (ms) after an installation within which its ONAPPINSTALL is the installer if only its application_token matches. */
const CLAIMED_MS = 60 * 60 * 1000;

function isClaimedLate({ installedTs }: PortalRecord, { receivedAt, verification }: EventFacts): boolean {
  const isClaimed = verification.claims !== undefined && verification.installedVersion === undefined;
  return isClaimed && receivedAt > installedTs * 1000 + CLAIMED_MS;
}

/** Returns the installer that upgrades have to wait for; `undefined` if they wait for none. */
export function waitingInstaller({ installer }: Pick<PortalRecord, "installer">): WaitingInstaller | undefined {
  return installer === "done" ? undefined : installer;
}

/** Returns whether this is the id of the delivery that upgrades have to wait for. */
export function isInstaller(record: Pick<PortalRecord, "installer">, id: string): boolean {
  return waitingInstaller(record)?.id === id;
}

/** Returns the record without the installer, if this is the id of its delivery. */
export function withInstallerDone(record: PortalRecord, id: string): PortalRecord {
  return isInstaller(record, id) ? { ...record, installer: "done" } : record;
}

/** Returns the record with its installer parked. */
export function withInstallerParked(record: PortalRecord, message: string, at: number): PortalRecord {
  const waiting = waitingInstaller(record);
  return waiting === undefined
    ? record
    : { ...record, installer: { id: waiting.id, failure: { message: storedText(message), at } } };
}

/** Returns the record with its installer no longer parked. */
export function withInstallerRetried(record: PortalRecord): PortalRecord {
  const waiting = waitingInstaller(record);
  return waiting?.failure === undefined ? record : { ...record, installer: { id: waiting.id } };
}
