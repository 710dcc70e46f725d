/** The claims that events make: their changes of a portal's record, and the treatment of an event whose claim is open. */
import type { B24Event } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import { compareVersions, refines } from "../version.ts";
import { askNow, type Claims, contradicted, covers, type NewClaim, settled, withEvent } from "./claims.ts";
import { type EventFacts, sentTs } from "./event_facts.ts";
import { hasVersion, type NamedVersion, versionInEvent } from "./event_versions.ts";
import { withOrigin } from "./origin.ts";
import type { PortalRecord } from "./record.ts";
import { removed } from "./removal.ts";
import { askableUntil } from "./stored_credentials.ts";

/**
 * Returns what the event claims about the portal; `undefined` if it claims nothing, or nothing that the record does not
 * have already.
 *
 * @throws {InputError} if the version in the event is wrong for every version scheme
 */
function claimOf(record: PortalRecord, event: B24Event, facts: EventFacts): NewClaim | undefined {
  const { verification: { claims, tokens, claimTokenDigest: tokenDigest }, versions } = facts;
  if (claims === undefined) return undefined;
  const ts = sentTs(event, facts);
  if (hasVersion(event) && versions.deployed === undefined) {
    const named = versionInEvent(event, facts);
    if (named === undefined) return undefined;
    // The installation begins on the version that Bitrix24 reports.
    const isInstallation = event.name === "ONAPPINSTALL" && ts <= record.installedTs;
    if (isInstallation || isConfirmed(record, named, facts)) return undefined;
    return { kind: "version", ...named, ts, ...(tokens?.isAdmin === true ? { isByAdmin: true } : {}) };
  }
  if (event.name === "ONAPPUNINSTALL") {
    const isLate = record.status === "uninstalled" || ts < record.installedTs;
    return isLate ? undefined : { kind: "removal", clean: event.data.clean, ts, ...defined({ tokenDigest }) };
  }
  if (event.name === "ONAPPPAYMENT" && event.data.paymentExpired) {
    return record.blocked?.on === "payment" ? undefined : { kind: "payment", ts };
  }
  return undefined;
}

/**
 * Returns the record after the claim that the event makes. `record` is the one after all else that the event changes.
 * `hasNewTokens`: the event has brought some, so that claims that wait for one are asked about.
 */
export function withClaim(
  record: PortalRecord,
  event: B24Event,
  facts: EventFacts,
  hasNewTokens: boolean,
): PortalRecord {
  if (record.status === "uninstalled") return record;
  const { receivedAt, canRefresh } = facts;
  const next = withSettledByEvent(record, event, facts);
  const canBeAsked = askableUntil(next, canRefresh) > receivedAt;
  const { claims = {} } = next;
  const current = canBeAsked && hasNewTokens ? askNow(claims, receivedAt) : claims;
  const claim = claimOf(next, event, facts);
  const isKnown = claim === undefined || covers(current[claim.kind], claim, receivedAt) ||
    isBeforeTargetWasSet(next, facts);
  if (isKnown) return withClaims(next, current);
  const { kind } = claim;
  const joined = withEvent(current[kind], claim, receivedAt, canBeAsked);
  // Decided once, when the event arrives: later, the answers decide.
  const isBelieved = !canBeAsked && joined.wasContradicted !== true &&
    (kind === "removal" || (claim.version !== undefined && facts.verification.claims === "when-possible"));
  if (!isBelieved) {
    // A removal that nobody can confirm is shown as unconfirmed in the end.
    const open = kind === "removal" && !canBeAsked ? contradicted(kind, joined, receivedAt) : joined;
    return withClaims(next, { ...current, [kind]: open });
  }
  return kind === "removal"
    ? removed(next, { ts: claim.ts, believedAt: receivedAt })
    : withBelievedTarget(next, claim.version!, event, facts);
}

function withBelievedTarget(record: PortalRecord, target: string, event: B24Event, facts: EventFacts): PortalRecord {
  const located = record.version === undefined ? withOrigin(record, target, event, facts) : record;
  return { ...located, target, isTargetUnconfirmed: true };
}

/** Returns the record with the claims settled that this event, or the target that it raised, settles. */
function withSettledByEvent(record: PortalRecord, event: B24Event, facts: EventFacts): PortalRecord {
  const { version, payment } = record.claims ?? {};
  let claims = record.claims ?? {};
  if (version?.settled === undefined && isReached(version?.version, record.target)) {
    claims = { ...claims, version: settled(version!, "confirmed", facts.receivedAt) };
  }
  const isPaid = event.name === "ONAPPPAYMENT" && !event.data.paymentExpired;
  if (isPaid && payment !== undefined && payment.settled === undefined && sentTs(event, facts) > payment.ts) {
    claims = { ...claims, payment: settled(payment, "dropped", facts.receivedAt) };
  }
  return withClaims(record, claims);
}

function isReached(version: string | undefined, target: string | undefined): boolean {
  return version !== undefined && target !== undefined && compareVersions(version, target) <= 0;
}

/** Returns whether Bitrix24 has confirmed a version, a higher one, or the one that an event names in full. */
function isConfirmed({ target, claims }: PortalRecord, { raw, version }: NamedVersion, facts: EventFacts): boolean {
  // Beside the claim of a higher version, that of the event is not settled by itself.
  const reported = [facts.verification.installedVersion, claims?.version?.reported];
  return isReached(version, target) || reported.some((one) => one !== undefined && refines(raw, one));
}

/**
 * Returns an event as its handlers see it: the installation of a portal names the version that Bitrix24 reports, if it claims
 * another one.
 */
export function withConfirmedVersion(event: B24Event, record: PortalRecord, facts: EventFacts): B24Event {
  const { verification: { claims, installedVersion = record.target }, versions } = facts;
  const isClaim = claims !== undefined && versions.deployed === undefined && hasVersion(event);
  if (!isClaim || installedVersion === undefined) return event;
  const named = versionInEvent(event, facts);
  const isShown = named !== undefined && isConfirmed(record, named, facts);
  return isShown ? event : { ...event, data: { ...event.data, version: installedVersion } } as B24Event;
}

/** An operator has set the target since: an event that is applied again must not raise it. */
export function isBeforeTargetWasSet({ targetSetAt }: PortalRecord, { receivedAt }: EventFacts): boolean {
  return targetSetAt !== undefined && receivedAt <= targetSetAt;
}

/** Returns the record with these claims; `record` itself if they are its own. */
export function withClaims(record: PortalRecord, claims: Claims): PortalRecord {
  if (claims === record.claims || (record.claims === undefined && Object.keys(claims).length === 0)) return record;
  return { ...record, claims };
}

/** Returns the record with a target that is not only believed. */
export function withConfirmedTarget(record: PortalRecord): PortalRecord {
  if (record.isTargetUnconfirmed === undefined) return record;
  const { isTargetUnconfirmed: _, ...confirmed } = record;
  return confirmed;
}

/**
 * Returns the treatment of an event by its claim. `work`: its work is done in the ordinary way, because it claims nothing
 * or Bitrix24 has confirmed it. `wait`: Bitrix24 is asked first. `drop`: it was never confirmed, so its handlers do not run.
 */
export function claimState(record: PortalRecord, event: B24Event, facts: EventFacts): "work" | "wait" | "drop" {
  const claim = claimOf(record, event, facts);
  if (claim === undefined) return waitsForVersion(record, event, facts) ? "wait" : "work";
  const known = record.claims?.[claim.kind];
  if (!covers(known, claim, facts.receivedAt)) return isBeforeTargetWasSet(record, facts) ? "work" : "drop";
  if (known.settled === undefined) return "wait";
  return known.settled.as === "confirmed" ? "work" : "drop";
}

/**
 * Returns whether nothing says yet on which version an installation begins, because this code does not know what Bitrix24 has
 * reported: its handlers must not see the version that the event claims.
 */
function waitsForVersion({ status, target }: PortalRecord, event: B24Event, facts: EventFacts): boolean {
  const { verification: { claims, installedVersion }, versions } = facts;
  return status === "installed" && target === undefined && event.name === "ONAPPINSTALL" && claims !== undefined &&
    installedVersion === undefined && versions.deployed === undefined;
}
