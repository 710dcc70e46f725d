/**
 * Portals whose first contact was no installation: another program of the vendor had them before. Until something says on
 * which version the data of such a portal is, it is blocked on `version`, and never taken to be on its target.
 */
import type { B24Event } from "../bitrix24/events.ts";
import { compareVersions } from "../version.ts";
import type { EventFacts } from "./event_facts.ts";
import { initialVersionOf } from "./event_versions.ts";
import type { PortalRecord, UnknownOrigin } from "./record.ts";

/** Returns what the first contact with a portal says about its version, if it does not name it. */
export function unknownOriginOf({ name }: B24Event, { receivedAt }: EventFacts): UnknownOrigin {
  return { target: name === "ONAPPUPDATE" ? "updated" : "reported", since: receivedAt };
}

/**
 * Returns the record of a portal with an unknown version after an event that names a version of the app, or whose
 * verification did: with its version, if the event or the target before it says it. `target`: the version that was named.
 *
 * @throws {InputError} if a version in the event is unreadable
 */
export function withOrigin(record: PortalRecord, target: string, event: B24Event, facts: EventFacts): PortalRecord {
  if (isClaimedInstallation(event, facts)) return withClaimedInstallation(record, event, facts);
  const named = initialVersionOf(event, target, facts);
  const { unknownOrigin, target: before } = record;
  if (unknownOrigin === undefined) {
    return named === undefined
      ? { ...record, unknownOrigin: unknownOriginOf(event, facts) }
      : withInitialVersion(record, named);
  }
  const isLocal = facts.versions.deployed !== undefined;
  // A local app gets ONAPPINSTALL at its installation only; any other app may get it at an update, too.
  if (isLocal) return named === undefined ? record : withInitialVersion(record, named);
  if (unknownOrigin.target === "updated") {
    // It was updated to the target from a lower version.
    const isLower = named !== undefined && (before === undefined || compareVersions(named, before) < 0);
    return isLower && event.name === "ONAPPUPDATE" ? withInitialVersion(record, named) : record;
  }
  const initial = named === undefined ? reportedBefore(record, target) : lowest(named, before);
  if (initial !== undefined) return withInitialVersion(record, initial);
  return event.name === "ONAPPUPDATE" ? { ...record, unknownOrigin: { ...unknownOrigin, target: "updated" } } : record;
}

/** Time (ms) after the first contact of a portal within which its ONAPPINSTALL counts if only its application_token matches. */
const CLAIMED_INSTALLATION_MS = 60 * 60 * 1000;

/**
 * Returns the record of a portal with an unknown version after an ONAPPINSTALL that only the application_token verifies:
 * another contact, which verified that token, may have overtaken it. The portal starts on what Bitrix24 has reported.
 *
 * Any user of the portal knows the token, so it counts for a short time only.
 */
export function withClaimedInstallation(record: PortalRecord, event: B24Event, facts: EventFacts): PortalRecord {
  const { unknownOrigin, target } = record;
  if (unknownOrigin?.target !== "reported" || target === undefined || !isClaimedInstallation(event, facts)) {
    return record;
  }
  // The wait for it is over once the portal is blocked: from then on only an operator or the vendor's code says the version.
  const isLate = record.blocked?.on === "version" ||
    facts.receivedAt > unknownOrigin.since + CLAIMED_INSTALLATION_MS;
  return isLate ? record : withInitialVersion(record, target);
}

function isClaimedInstallation({ name }: B24Event, { verification }: EventFacts): boolean {
  return name === "ONAPPINSTALL" && verification.claims !== undefined && verification.installedVersion === undefined;
}

/** Returns the version from which a portal with an unknown version comes, if its target is about to rise to `target`. */
export function reportedBefore({ unknownOrigin, target: before }: PortalRecord, target: string): string | undefined {
  const isRaised = unknownOrigin?.target === "reported" && before !== undefined && compareVersions(target, before) > 0;
  return isRaised ? before : undefined;
}

function lowest(a: string, b: string | undefined): string {
  return b === undefined || compareVersions(a, b) <= 0 ? a : b;
}

/** Returns whether the app is installed on a portal, and only its target is known. */
export function isVersionUnknown({ status, version, target }: PortalRecord): boolean {
  return status === "installed" && version === undefined && target !== undefined;
}

/** Time (ms) that a portal waits for its ONAPPINSTALL, which another event may have overtaken. */
const INSTALLATION_WAIT_MS = 60_000;

/** Returns from when a portal with an unknown version is blocked, in milliseconds since 1970. */
export function blockedFrom({ unknownOrigin }: PortalRecord): number {
  return unknownOrigin?.target === "reported" ? unknownOrigin.since + INSTALLATION_WAIT_MS : 0;
}

/** Returns the record with its version, which was unknown. */
export function withInitialVersion(record: PortalRecord, version: string): PortalRecord {
  const { unknownOrigin: _, blocked, ...rest } = record;
  return {
    ...rest,
    ...(blocked === undefined || blocked.on === "version" ? {} : { blocked }),
    initialVersion: version,
    version,
  };
}
