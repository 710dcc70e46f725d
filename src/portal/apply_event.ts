/**
 * Applies events to portal records. An event only raises a portal's target, so repeated, reordered and late events lead
 * to the same record, and applying an event is idempotent.
 */
import type { B24Event } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import { InputError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import { compareVersions, refines } from "../version.ts";
import { withoutRolloutBlock } from "./block.ts";
import { type Claim, firstTs } from "./claims.ts";
import { isBeforeTargetWasSet, withClaim, withConfirmedTarget } from "./event_claims.ts";
import { type EventFacts, sentTs, type StoredVerification } from "./event_facts.ts";
import { hasVersion, initialVersionOf, targetOfEvent } from "./event_versions.ts";
import { withInstaller } from "./installer.ts";
import { unknownOriginOf, withClaimedInstallation, withOrigin } from "./origin.ts";
import { PORTAL_FORMAT, type PortalRecord, withoutInstallation } from "./record.ts";
import { type ChangeRecord, writeRecord } from "./record_store.ts";
import { isUndoable, removed, undone } from "./removal.ts";
import { domainIn, withFacts } from "./verified_facts.ts";

/** The last result of {@linkcode applyEvent} for the facts of an event. */
interface Applied {
  readonly record: PortalRecord | undefined;
  readonly event: B24Event;
  readonly next: PortalRecord;
}

/** An event is applied to the same record several times, from its verification to the write of the record. */
const lastApplied = new WeakMap<EventFacts, Applied>();

/**
 * Returns the record after `event`; `record` itself if nothing changes. Has no effects.
 *
 * @throws {InputError} if a version is unreadable, or the portal is new and the event does not name its initial version
 * @throws the error of the version scheme if it does not know a version yet
 */
export function applyEvent(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  const last = lastApplied.get(facts);
  if (last !== undefined && last.record === record && last.event === event) return last.next;
  const next = appliedTo(record, event, facts);
  lastApplied.set(facts, { record, event, next });
  return next;
}

function appliedTo(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  if (record !== undefined && isOfEarlierInstallation(record, event, facts)) return record;
  // A tombstone learns nothing, not even an application_token: the ONAPPINSTALL that brings it must count as new.
  if (record?.forgottenAt !== undefined && event.name !== "ONAPPINSTALL") return record;
  const applied = {
    ...withFacts(withStatus(record, event, facts), event, facts),
    ...defined({ openedVersion: facts.verification.openedVersion }),
  };
  const next = withClaim(applied, event, facts, applied.tokens !== record?.tokens);
  return record !== undefined && isSame(next, record) ? record : next;
}

/**
 * Returns the record after `event`; `undefined` if the version scheme does not know a version yet, after passing its
 * error to `onUnknownVersion`.
 *
 * @throws {InputError} if the event is wrong for every version scheme
 */
export function tryApplyEvent(
  record: PortalRecord | undefined,
  event: B24Event,
  facts: EventFacts,
  onUnknownVersion: (error: unknown) => void = () => {},
): PortalRecord | undefined {
  try {
    return applyEvent(record, event, facts);
  } catch (error) {
    if (error instanceof InputError) throw error;
    onUnknownVersion(error);
    return undefined;
  }
}

/** Returns the record after `event`; without a target if the version scheme does not know the version yet. */
export function applyOrDefer(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  return tryApplyEvent(record, event, facts) ?? record ?? withFacts(blankRecord(event, facts), event, facts);
}

/** Applies the event of a delivery to the stored record. `id`: of the delivery. */
export async function storeEvent(
  storage: Storage,
  event: B24Event,
  facts: EventFacts,
  id: string,
): Promise<void> {
  const change: ChangeRecord = (record) => ({
    record: withInstaller(record, applyOrDefer(record, event, facts), event, id, facts),
  });
  await writeRecord(storage, event.auth.memberId, change);
}

/**
 * Returns whether an opening has started the installation or update whose event Bitrix24 sends now. The event of a
 * new installation, whose removal was missed, has another application token.
 */
export function isStartedByOpening(
  record: PortalRecord | undefined,
  event: B24Event,
  { applicationTokenDigest }: StoredVerification,
): boolean {
  if (record?.openedVersion === undefined || record.status === "uninstalled" || !hasVersion(event)) return false;
  const { openedVersion, applicationToken } = record;
  const { version } = event.data;
  const isSameInstallation = applicationTokenDigest === undefined || applicationToken === undefined ||
    applicationTokenDigest === applicationToken.current;
  return isSameInstallation && (version === openedVersion || refines(version, openedVersion));
}

/**
 * Returns whether an event was sent before the app was removed: it belongs to that installation, even if the app has been
 * installed again since. It changes nothing, and its handlers do not run.
 */
export function isOfEarlierInstallation(
  record: PortalRecord | undefined,
  event: B24Event,
  facts: Pick<EventFacts, "receivedAt" | "verification">,
): boolean {
  return record?.uninstalledTs !== undefined && sentTs(event, facts) < record.uninstalledTs;
}

/** Compares field by field: fields that did not change are the same objects. */
function isSame(a: PortalRecord, b: PortalRecord): boolean {
  const keys = Object.keys(a) as (keyof PortalRecord)[];
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/** Returns the record with the status, generation, versions and target after `event`. */
function withStatus(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  if (event.name === "ONAPPUNINSTALL") return uninstalled(record, event, facts);
  if (record === undefined) return installed(record, event, facts);
  if (isReinstalled(record, event, facts)) {
    return isSameInstallation(record, event, facts)
      ? withTarget(undone(record, sentTs(event, facts), facts), event, facts)
      : installed(record, event, facts);
  }
  if (record.status === "uninstalled") return record;
  // The event that created the record had an unknown version. The app was installed by then.
  if (record.generation === 0) {
    const first = installed(record, event, facts);
    return hasVersion(event) ? first : { ...first, installedTs: Math.min(record.installedTs, first.installedTs) };
  }
  if (endsRemovalClaim(record, event, facts)) return withRemovalClaimEnded(record, event, facts);
  const isSent = hasVersion(event) && facts.verification.claims === undefined;
  const installedTs = Math.max(record.installedTs, isSent ? sentTs(event, facts) : 0);
  return withTarget({ ...record, installedTs }, event, facts);
}

/**
 * Returns whether an OAuth host has verified an installation that is newer than a removal that waits for confirmation. Another
 * application token shows that the app was removed by the first event of the claim; later ones may have been made up.
 */
function endsRemovalClaim(record: PortalRecord, event: B24Event, facts: EventFacts): boolean {
  const { installedVersion, applicationTokenDigest } = facts.verification;
  const claim = record.claims?.removal;
  // Bitrix24 sends both for a new installation; the second one may have nothing left to prove.
  const isOfInstallation = event.name === "ONAPPINSTALL" || event.name === "ONAPPUSERREADY";
  const isVerified = isOfInstallation && installedVersion !== undefined && applicationTokenDigest !== undefined;
  if (!isVerified || claim === undefined || claim.settled !== undefined) return false;
  return (isOfRemovedApp(record, claim, facts) ? claim.ts : firstTs(claim)) <= sentTs(event, facts);
}

/** Returns whether an event has the application token of the installation that a removal ends, as it claims. */
function isOfRemovedApp(
  { applicationToken }: PortalRecord,
  { since, tokenDigest }: Claim,
  { verification: { applicationTokenDigest: digest } }: EventFacts,
): boolean {
  // It may have waited for its proof when the removal was claimed by it.
  if (tokenDigest !== undefined && digest === tokenDigest) return true;
  const { current, previous = [] } = applicationToken ?? {};
  // Another contact of the new installation may have replaced the token since the removal was claimed.
  const removedToken = previous.findLast(({ replacedAt }) => replacedAt >= since)?.digest ?? current;
  return digest === removedToken;
}

/** A new application token shows that the app was removed, and installed anew; the same one, that it was not removed. */
function withRemovalClaimEnded(record: PortalRecord, event: B24Event, facts: EventFacts): PortalRecord {
  const { removal, ...claims } = record.claims!;
  const sent = sentTs(event, facts);
  if (!isOfRemovedApp(record, removal!, facts)) {
    // The app was removed before it was installed, whatever was made up since.
    const latest = event.name === "ONAPPINSTALL" ? sent : firstTs(removal!);
    return installed(removed(record, { ts: removal!.ts <= sent ? removal!.ts : latest }), event, facts);
  }
  const installedTs = Math.max(record.installedTs, sent);
  return withTarget({ ...record, claims, installedTs }, event, facts);
}

function withTarget(record: PortalRecord, event: B24Event, facts: EventFacts): PortalRecord {
  const target = targetOfEvent(event, facts);
  if (isBeforeTargetWasSet(record, facts)) return record;
  // What an event only claims is no start either: see withInstalledVersion() in settle.ts.
  if (target === undefined) return withClaimedInstallation(record, event, facts);
  const isKnown = record.version !== undefined && record.target !== undefined;
  if (isKnown && facts.holdsBack?.(record.memberId)) return record;
  const isRaised = record.target === undefined || compareVersions(target, record.target) > 0;
  const located = record.version === undefined ? withOrigin(record, target, event, facts) : record;
  // It may have waited for the rollout of another target.
  if (isRaised) return withConfirmedTarget({ ...withoutRolloutBlock(located), target });
  return target === record.target ? withConfirmedTarget(located) : located;
}

/** Returns whether the app is installed again: by a newer installation, or because Bitrix24 reports it as installed. */
function isReinstalled(record: PortalRecord, event: B24Event, facts: EventFacts): boolean {
  if (record.status === "installed") return false;
  if (record.forgottenAt !== undefined && event.name !== "ONAPPINSTALL") return false;
  const isNewer = sentTs(event, facts) >= (record.uninstalledTs ?? 0);
  return isNewer && mayReinstall(event, facts.verification);
}

/**
 * Returns whether an event can begin an installation. One that only has the application token of the installation that is
 * over cannot.
 */
export function mayReinstall({ name }: B24Event, { installedVersion, claims }: StoredVerification): boolean {
  return installedVersion !== undefined || (name === "ONAPPINSTALL" && claims === undefined);
}

/**
 * Returns whether a contact with a portal that was believed to be removed shows that it was not: an OAuth host verified it,
 * and it has the application token of that installation.
 */
function isSameInstallation(record: PortalRecord, event: B24Event, facts: EventFacts): boolean {
  const { applicationTokenDigest: digest, claims, installedVersion } = facts.verification;
  // Only an administrator's event proves its application token.
  const isSame = digest === undefined ? event.name !== "ONAPPINSTALL" : digest === record.applicationToken?.current;
  const isVerified = claims === undefined || installedVersion !== undefined;
  return isSame && isVerified && isUndoable(record, facts.receivedAt);
}

function installed(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  const known = targetOfEvent(event, facts);
  // After a removal, a contact shows an installation whose own event is late or lost: the portal begins anew.
  const isNew = record?.status === "uninstalled" && !hasVersion(event);
  const version = initialVersionOf(event, known, facts) ?? (isNew ? known : undefined);
  const target = known ?? version;
  // An installation that is only claimed begins on the version that Bitrix24 reports.
  const isUnknown = version === undefined && event.name !== "ONAPPINSTALL";
  return {
    // Nothing of an earlier installation stays, its application tokens least of all.
    ...(record?.status === "uninstalled" ? withoutInstallation(record) : record),
    ...blankRecord(event, facts),
    // Its first event, which had an unknown version, may have verified its address.
    ...(record?.status === "installed" && { domain: record.domain }),
    // The removal is late from now on, if it is applied again.
    ...(record?.status === "uninstalled" && { installedTs: Math.max(sentTs(event, facts), record.uninstalledTs! + 1) }),
    generation: (record?.generation ?? 0) + 1,
    latestTs: record?.latestTs ?? 0,
    ...defined({ initialVersion: version, version, target }),
    ...(isUnknown ? { unknownOrigin: unknownOriginOf(event, facts) } : {}),
  };
}

function blankRecord(event: B24Event, facts: EventFacts): PortalRecord {
  return {
    format: PORTAL_FORMAT,
    memberId: event.auth.memberId,
    domain: domainIn(event) ?? "",
    status: "installed",
    generation: 0,
    applied: [],
    installedTs: sentTs(event, facts),
    latestTs: 0,
  };
}

function uninstalled(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  const ts = sentTs(event, facts);
  if (record === undefined) {
    return { ...blankRecord(event, facts), status: "uninstalled", installedTs: 0, uninstalledTs: ts };
  }
  // A late removal of an earlier installation, or one that Bitrix24 has to confirm.
  if (ts < record.installedTs || facts.verification.claims !== undefined) return record;
  return removed(record, { ts });
}
