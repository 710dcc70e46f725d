/** The record of a portal after its adoption. Pure functions. */
import type { AppInfo } from "../../bitrix24/oauth_client.ts";
import { withVerified } from "../../credentials/store.ts";
import { defined } from "../../defined.ts";
import type { AdoptionReason } from "../../plugin/adoption.ts";
import { withInitialVersion } from "../../portal/origin.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../portal/record.ts";
import type { StoredTokens } from "../../portal/tokens.ts";
import { compareVersions } from "../../version.ts";

/** The known facts about a portal that is to be adopted. */
export interface Adoption {
  readonly memberId: string;
  /** Version of the portal's data; absent if nothing says it. */
  readonly version?: string;
  /** Version that the portal should be on; present with `version`. */
  readonly target?: string;
  readonly applicationTokenDigest?: string;
  /** A pair that an OAuth host has verified, and what the host said. */
  readonly pair?: { readonly tokens: StoredTokens; readonly info: AppInfo };
}

/** A reason, and its explanation for people. */
export interface Refusal {
  readonly reason: AdoptionReason;
  readonly message: string;
}

/** Returns why a stored portal cannot be adopted; `undefined` if it can. */
export function refusalOf(record: PortalRecord | undefined): Refusal | undefined {
  if (record?.status !== "uninstalled") return undefined;
  return record.forgottenAt === undefined
    ? {
      reason: "removed",
      message: "the app was removed from it; its next installation or opening makes it known again",
    }
    : { reason: "forgotten", message: "an operator had it forgotten; only an installation makes it known again" };
}

/** Returns whether the app can call a portal, or could with its `clientSecret`. `now` in milliseconds since 1970. */
export function hasPair({ tokens = [] }: PortalRecord, now: number): boolean {
  return tokens.some(({ isVerified, refreshToken, expiresAt }) =>
    isVerified === true && (refreshToken !== undefined || expiresAt > now)
  );
}

/** Returns the record of a portal that was unknown. `adoption` has a version and a pair. `now` in milliseconds since 1970. */
export function adoptedRecord(
  { memberId, version, target, applicationTokenDigest, pair }:
    & Required<Omit<Adoption, "applicationTokenDigest">>
    & Adoption,
  now: number,
): PortalRecord {
  const record: PortalRecord = {
    ...{ format: PORTAL_FORMAT, memberId, domain: "", status: "installed", generation: 1, applied: [] },
    ...{ initialVersion: version, version, target },
    // Its ONAPPINSTALL was handled elsewhere: the next one is an update.
    installer: "done",
    // When it was installed is not known: no event is late.
    ...{ installedTs: 0, latestTs: 0 },
    ...defined({
      applicationToken: applicationTokenDigest === undefined ? undefined : { current: applicationTokenDigest },
    }),
  };
  return withVerified(record, pair.tokens, { info: pair.info, isAdmin: undefined }, now);
}

/** Returns the record of an installed portal with what it lacks; `record` itself if that is nothing. */
export function filledIn(record: PortalRecord, adoption: Adoption, now: number): PortalRecord {
  const { version, target, applicationTokenDigest, pair } = adoption;
  let next = record;
  if (record.version === undefined && version !== undefined) {
    const { generation } = record;
    // The event that created it had a version that the code does not know. The app was installed by then.
    next = {
      ...withInitialVersion(record, version),
      generation: Math.max(1, generation),
      target: record.target ?? target!,
    };
  }
  if (record.applicationToken === undefined && applicationTokenDigest !== undefined) {
    next = { ...next, applicationToken: { current: applicationTokenDigest } };
  }
  if (pair === undefined || hasPair(record, now)) return next;
  return withVerified(next, pair.tokens, { info: pair.info, isAdmin: undefined }, now);
}

/** Returns the note that a known portal is on another version than the line says; `undefined` if it is not. */
export function versionConflict({ version: known }: PortalRecord, version: string | undefined): Refusal | undefined {
  if (known === undefined || version === undefined || known === version) return undefined;
  const place = compareVersions(known, version) > 0 ? "above" : "below";
  return {
    reason: "known_version",
    message: `it is known, and stays on ${known}, which is ${place} the version ${version} of the line`,
  };
}
