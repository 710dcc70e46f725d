/** Invariants of every record that is ever written. */
import { waitingInstaller } from "../../src/portal/installer.ts";
import { valuesOf } from "../../src/portal/portal_index.ts";
import type { PortalRecord } from "../../src/portal/record.ts";
import { hasTokens } from "../../src/portal/stored_credentials.ts";
import { MEMBER_ID } from "../support/app.ts";

/** The state of Bitrix24 at some time. */
export interface Truth {
  readonly versions: Set<string>;
  readonly applicationTokens: Set<string>;
  removals: number;
  /** Number of the last removal that came with an application_token that the app did not know, and of the last that did not. */
  refusedRemoval: number;
  acceptedRemoval: number;
  /** A removal was forged with the application_token of the portal. */
  wasRemovalForged: boolean;
  /** Number of updates that the app took for a new installation, because the application_token had changed unseen. */
  mistakenInstallations: number;
  /** Number of forged removals that the app believed, because it had no valid token to ask with. */
  believedRemovals: number;
  installations: number;
  /** An operator had the portal forgotten, and the app was not installed since. */
  isForgotten: boolean;
  /** When the portal was last forgotten, by the clock of the process, in seconds since 1970; 0 before. */
  forgottenTs: number;
  wasUnpaid: boolean;
  hasSystemUser: boolean;
  isInstalled: boolean;
  isFinished: boolean;
  isPaid: boolean;
  version: number;
  /** The domains that the portal has had. */
  readonly domains: Set<string>;
}

/** Returns what a record says and was never true; `removals` is the number of removals that took effect. */
export function violationsOf(record: PortalRecord, truth: Truth, removals: number): string[] {
  const found: string[] = [];
  const check = (holds: boolean, what: string): void => void (holds || found.push(what));
  for (const version of [record.version, record.target]) {
    check(version === undefined || truth.versions.has(version.split(".")[0]!), `version ${version}`);
  }
  const wanted = truth.removals + truth.believedRemovals;
  check(removals <= wanted, `removal ${removals} of ${wanted}`);
  const installations = truth.installations + truth.mistakenInstallations;
  check(record.generation <= installations, `installation ${record.generation} of ${installations}`);
  check(record.blocked?.on !== "payment" || truth.wasUnpaid, "blocked on payment");
  const { current } = record.applicationToken ?? {};
  check(current === undefined || truth.applicationTokens.has(current), "application_token");
  const { clientEndpoint } = record;
  check(clientEndpoint === undefined || truth.domains.has(new URL(clientEndpoint).host), "clientEndpoint");
  for (const domain of [record.domain, ...valuesOf(record.indexedAs, "former")]) {
    check(domain === "" || truth.domains.has(domain), `domain ${domain}`);
  }
  const applied = record.applied.map(({ id }) => id);
  check(new Set(applied).size === applied.length, `an upgrade is recorded twice: ${applied.join()}`);
  // A rollback opens a run again that began before a late ONAPPINSTALL.
  const hasBegun = !record.run?.isRollingBack && (applied.length > 0 || (record.run?.upgrades.length ?? 0) > 0);
  check(waitingInstaller(record) === undefined || !hasBegun, "an upgrade began before the installer had succeeded");
  check(record.status === "installed" || !hasTokens(record), "tokens of a removed portal");
  return [...found, ...pairViolationsOf(record, truth)];
}

/** Returns what token pairs, in a record or apart from it, say and was never true. */
export function pairViolationsOf({ tokens = [] }: Pick<PortalRecord, "tokens">, truth: Truth): string[] {
  const found: string[] = [];
  const check = (holds: boolean, what: string): void => void (holds || found.push(what));
  for (const { owner, userId, accessToken, isVerified, isAdmin } of tokens) {
    const isOwn = accessToken.includes(MEMBER_ID);
    check(isVerified !== true || isOwn, "verified tokens of another portal");
    check(isAdmin !== true || (isOwn && (userId === 1 || userId === SYSTEM_USER)), `administrator ${userId}`);
    check(owner !== "system" || (truth.hasSystemUser && userId === SYSTEM_USER), `system user ${userId}`);
  }
  return found;
}

/**
 * Returns whether the app takes a contact for a new installation: a removal was forged, and waits for Bitrix24 or was
 * believed, and meanwhile the portal's application_token has changed in an update that the app has not seen.
 */
export function isMistaken(before: PortalRecord, record: PortalRecord, truth: Truth): boolean {
  const { wasRemovalForged, installations, mistakenInstallations } = truth;
  // Each installation that there was is counted as it is.
  if (record.generation <= installations + mistakenInstallations) return false;
  // A late ONAPPINSTALL of a forgotten portal that Bitrix24 still has installed.
  if (before.forgottenAt !== undefined && record.status === "installed" && truth.isInstalled) return true;
  const { claims, applicationToken, removalBelievedAt } = before;
  const isOpen = claims?.removal !== undefined && claims.removal.settled === undefined;
  const isAnew = record.status === "installed" && record.generation === before.generation + 1;
  const since = claims?.removal?.since ?? removalBelievedAt ?? 0;
  const hasNewToken = record.applicationToken?.current !== applicationToken?.current ||
    (applicationToken?.previous?.some(({ replacedAt }) => replacedAt >= since) ?? false);
  return wasRemovalForged && (isOpen || removalBelievedAt !== undefined) && isAnew && hasNewToken;
}

/** Returns whether a removal is believed that may be forged, while the app has no valid token to ask Bitrix24 with. */
export function isBelieved(before: PortalRecord, record: PortalRecord, truth: Truth, now: number): boolean {
  const isRemoved = before.status === "installed" && record.status === "uninstalled";
  // Bitrix24 refuses made-up tokens, and those of the attacker's portal.
  const isOwn = (token: string): boolean => token.includes(MEMBER_ID);
  const cannotAsk = (before.tokens ?? []).every((token) => token.expiresAt <= now || !isOwn(token.accessToken));
  return truth.wasRemovalForged && truth.isInstalled && isRemoved && record.removalBelievedAt !== undefined &&
    cannotAsk;
}

/** Id of the app's own user in the fake Bitrix24. */
const SYSTEM_USER = 1000;
