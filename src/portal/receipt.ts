/** The receipt of events: when one counts as received, whatever the clock of the process that receives it says. */
import type { B24Event } from "../bitrix24/events.ts";
import type { EventFacts, StoredVerification } from "./event_facts.ts";
import type { PortalRecord } from "./record.ts";

/** Time (ms) by which the clocks of two processes may differ. */
const MAX_CLOCK_ERROR_MS = 60_000;

/**
 * Returns the time (ms) of a contact with a portal that is received at `now` and follows what the record has seen: the clock of
 * this process may be behind those of others and of Bitrix24.
 */
export function receivedAfter(record: PortalRecord | undefined, now: number): number {
  if (record === undefined) return now;
  const { latestTs, installedTs, uninstalledTs = 0, targetSetAt = -Infinity, inbox = [] } = record;
  // A removal that waits deletes what was received before it: see purgeTokens() in purge.ts.
  const removals = inbox.filter(({ id }) => id.startsWith("ONAPPUNINSTALL:")).map(({ receivedAt }) => receivedAt + 1);
  return Math.max(now, Math.max(latestTs, installedTs, uninstalledTs) * 1000, targetSetAt + 1, ...removals);
}

/**
 * Returns the facts about an event that is stored now, after what the record has seen; `facts` itself if it is in time. What was
 * just verified outranks `ts`: an installation with an application_token of its own is no event of the one that was removed.
 */
export function factsAfter(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): EventFacts {
  const receivedAt = receivedAfter(record, facts.receivedAt);
  const isLate = record?.uninstalledTs !== undefined && event.ts < record.uninstalledTs;
  if (isLate && isNewInstallation(record, event, facts)) {
    return { ...facts, receivedAt, verification: { ...facts.verification, notBeforeTs: record.uninstalledTs! } };
  }
  return receivedAt === facts.receivedAt ? facts : { ...facts, receivedAt };
}

function isNewInstallation(
  { status, applicationToken: known, forgottenAt = 0 }: PortalRecord,
  event: B24Event,
  { receivedAt, verification }: EventFacts,
): boolean {
  const { installedVersion, applicationTokenDigest: digest }: StoredVerification = verification;
  const isVerified = event.name === "ONAPPINSTALL" && installedVersion !== undefined;
  // What waited for its verification when the portal was forgotten belongs to what was forgotten. Clocks differ.
  if (!isVerified || status !== "uninstalled" || receivedAt + MAX_CLOCK_ERROR_MS <= forgottenAt) return false;
  // If the old token or the new one is not proved, only the clocks of processes can explain the time.
  if (known === undefined || digest === undefined) {
    return event.ts * 1000 + MAX_CLOCK_ERROR_MS > forgottenAt && forgottenAt > 0;
  }
  return digest !== known.current && !known.previous?.some((one) => one.digest === digest);
}
