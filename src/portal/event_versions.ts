/** The versions that an event names: the portal's target, and its initial version if the portal is new. */
import type { B24Event } from "../bitrix24/events.ts";
import { InputError, VersionError } from "../errors.ts";
import { compareVersions, refines, type VersionScheme } from "../version.ts";
import type { EventFacts } from "./event_facts.ts";

/** Events with a version of the app. */
type VersionEvent = Extract<B24Event, { name: "ONAPPUPDATE" | "ONAPPINSTALL" }>;

/** Returns whether an event names a version of the app. */
export function hasVersion(event: B24Event): event is VersionEvent {
  return event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL";
}

/**
 * Returns the version that the portal should be on according to the event and to Bitrix24, or `undefined` if neither
 * names one, or the event only claims it.
 *
 * @throws {InputError} if the version in the event is unreadable
 * @throws the error of the version scheme if it does not know the version yet
 */
export function targetOfEvent(event: B24Event, { verification, versions }: EventFacts): string | undefined {
  if (versions.deployed !== undefined) return versions.deployed;
  const { installedVersion: verified, claims, tokens } = verification;
  const named = hasVersion(event) ? event.data.version : undefined;
  if (named === undefined) return verified === undefined ? undefined : tryParse(verified, versions);
  if (verified === undefined) return claims === undefined ? parseNamed("data.VERSION", named, versions) : undefined;
  // app.info returns an integer; an administrator's event may have the same version in full.
  const isExact = refines(named, verified) && (claims === undefined || tokens?.isAdmin === true);
  return (isExact ? tryParse(named, versions) : undefined) ?? parseNamed("data.VERSION", verified, versions);
}

/** A version as an event names it. */
export interface NamedVersion {
  readonly raw: string;
  /** Absent if the version scheme does not know it yet. */
  readonly version?: string;
}

/**
 * Returns the version that an event names; `undefined` if it names none, or one that is wrong for every version scheme
 * while Bitrix24 has reported a version.
 *
 * @throws {InputError} if it is wrong for every version scheme
 */
export function versionInEvent(event: B24Event, { verification, versions }: EventFacts): NamedVersion | undefined {
  if (!hasVersion(event)) return undefined;
  const { version: raw } = event.data;
  try {
    return { raw, version: parseNamed("data.VERSION", raw, versions) };
  } catch (error) {
    if (!(error instanceof InputError)) return { raw };
    if (verification.installedVersion !== undefined) return undefined;
    throw error;
  }
}

/**
 * Returns the version that a portal starts on whose version is not known, if the event says it: the version that is
 * installed, or PREVIOUS_VERSION of an update. Only for such portals: a stored version is more reliable.
 *
 * @throws {InputError} if the version in the event is unreadable
 */
export function initialVersionOf(
  event: B24Event,
  target: string | undefined,
  { verification, versions }: EventFacts,
): string | undefined {
  if (!hasVersion(event)) return undefined;
  // Any user of a portal knows its application token.
  const isOnlyClaimed = verification.claims !== undefined && verification.installedVersion === undefined;
  const isInstallation = event.name === "ONAPPINSTALL";
  if (isInstallation && (versions.deployed !== undefined || isOnlyClaimed)) return target;
  // VERSION of a local app never changes.
  if (versions.deployed !== undefined) return undefined;
  const { path, raw } = isInstallation
    ? { path: "data.VERSION", raw: event.data.version }
    : { path: "data.PREVIOUS_VERSION", raw: event.data.previousVersion };
  if (raw === undefined) return undefined;
  // An event that waited for its verification names the version from which the updates that came meanwhile start.
  const initial = verification.installedVersion === undefined
    ? parseNamed(path, raw, versions)
    : tryParse(raw, versions) ?? (isInstallation ? target : undefined);
  return target !== undefined && initial !== undefined && compareVersions(initial, target) > 0 ? target : initial;
}

function parseNamed(path: string, raw: string, versions: VersionScheme): string {
  try {
    return versions.parse(raw);
  } catch (error) {
    if (!(error instanceof VersionError)) throw error;
    throw new InputError([{
      path,
      saw: JSON.stringify(error.raw.slice(0, 40)),
      wanted: `a version such as "3" or "2.1.0"`,
    }]);
  }
}

/** Ignores unreadable versions: an event that names none must not be refused for one that Bitrix24 reported. */
function tryParse(raw: string, versions: VersionScheme): string | undefined {
  try {
    return versions.parse(raw);
  } catch {
    return undefined;
  }
}
