/** Applies an answer of Bitrix24 about a portal to its record: to its target and its claims. Pure functions. */
import { defined } from "../defined.ts";
import { compareVersions, refines } from "../version.ts";
import {
  type Claim,
  type ClaimKind,
  contradicted,
  isAtMost,
  isRemembered,
  mapClaims,
  settled,
  unanswered,
  withoutTokens,
} from "./claims.ts";
import { UNPAID, withBlock, withoutRolloutBlock } from "./block.ts";
import { withClaims, withConfirmedTarget } from "./event_claims.ts";
import { reportedBefore, withInitialVersion } from "./origin.ts";
import type { PortalRecord } from "./record.ts";
import { removed } from "./removal.ts";

/** The answer to the question about a portal. */
export type Answer =
  /**
   * The app is installed. `raw`: the version as Bitrix24 reports it; `version`: as the app reads it, absent if it cannot.
   * `isPaid`: absent if the portal did not say. `isHeldBack`: only a rollout raises the target.
   */
  | {
    readonly state: "installed";
    readonly raw?: string;
    readonly version?: string;
    readonly isPaid?: boolean;
    readonly isHeldBack?: boolean;
  }
  /** An OAuth host says that the app is not installed. */
  | { readonly state: "not_installed" }
  /** The portal, or the app on it, is not paid for. */
  | { readonly state: "unpaid" }
  /** There is no token to ask with: those that there were have expired, or an OAuth host has refused them. */
  | { readonly state: "no_tokens" }
  /** There was no answer, or one that says nothing about the portal. */
  | { readonly state: "none" };

/** A claim that was dropped. */
export interface DroppedClaim {
  readonly kind: ClaimKind;
  readonly version?: string;
}

/** A record after an answer. */
export interface Settlement {
  readonly record: PortalRecord;
  /** The target has risen. */
  readonly isRaised: boolean;
  /** Deliveries that waited are due, or others have become due. */
  readonly hasWork: boolean;
  readonly dropped: readonly DroppedClaim[];
}

/** Returns the record of an installed portal after an answer; `record` itself if nothing changes. */
export function settle(record: PortalRecord, answer: Answer, now: number): Settlement {
  if (record.status === "uninstalled") return { record, isRaised: false, hasWork: false, dropped: [] };
  const claims = record.claims ?? {};
  const next = withAnswer(record, answer, now);
  const kinds = Object.keys(claims) as ClaimKind[];
  const newlySettled = next.status === "uninstalled"
    ? []
    : kinds.filter((kind) => claims[kind]!.settled === undefined && next.claims?.[kind]?.settled !== undefined);
  const dropped = newlySettled.filter((kind) => next.claims?.[kind]?.settled?.as === "dropped")
    .map((kind) => ({ kind, ...defined({ version: claims[kind]!.version ?? claims[kind]!.raw }) }));
  return {
    record: next,
    isRaised: isRaised(record, next),
    hasWork: next.target !== record.target || next.status !== record.status || newlySettled.length > 0,
    dropped,
  };
}

function isRaised(before: PortalRecord, after: PortalRecord): boolean {
  const reference = before.target ?? before.version;
  return after.target !== undefined && reference !== undefined && compareVersions(after.target, reference) > 0;
}

function withAnswer(record: PortalRecord, answer: Answer, now: number): PortalRecord {
  const { removal } = record.claims ?? {};
  if (answer.state === "not_installed" && removal !== undefined && isRemembered(removal, now)) {
    return completed(record, removal);
  }
  // As a removal that arrives now is.
  const isBelieved = answer.state === "no_tokens" && removal?.wasContradicted !== true;
  if (isBelieved && removal !== undefined && removal.settled === undefined) {
    return removed(record, { ts: removal.ts, believedAt: now });
  }
  const isUnpaid = answer.state === "unpaid" || (answer.state === "installed" && answer.isPaid === false);
  const raised = answer.state === "installed" ? withInstalledVersion(record, answer) : record;
  const after = isUnpaid ? withPaymentBlock(raised, now) : raised;
  return withClaims(after, mapClaims(record.claims ?? {}, (kind, claim) => afterAnswer(kind, claim, answer, now)));
}

/** Returns the record of a removal that Bitrix24 confirms. If its event was dropped before, its handlers are still owed. */
function completed(record: PortalRecord, { ts, clean = false, contradictedAt, settled }: Claim): PortalRecord {
  const next = removed(record, { ts, isCleanSure: clean && contradictedAt === undefined });
  return settled === undefined ? next : { ...next, owedRemoval: { clean, ts } };
}

function afterAnswer(kind: ClaimKind, claim: Claim, answer: Answer, now: number): Claim | undefined {
  if (claim.settled !== undefined) {
    return claim.settled.as === "confirmed" || isRemembered(claim, now) ? claim : undefined;
  }
  switch (answer.state) {
    case "none":
      return unanswered(kind, claim, now);
    case "no_tokens":
      // It is not believed, and does not wait for ever.
      return kind === "removal" ? contradicted(kind, claim, now) : withoutTokens(claim);
    case "not_installed":
      return contradicted(kind, claim, now);
    case "unpaid":
      return kind === "payment" ? settled(claim, "confirmed", now) : unanswered(kind, claim, now);
    case "installed":
      if (kind === "version") return afterVersion(claim, answer, now);
      if (kind === "removal" || answer.isPaid === true) return contradicted(kind, claim, now);
      return answer.isPaid === undefined ? unanswered(kind, claim, now) : settled(claim, "confirmed", now);
  }
}

type Installed = Extract<Answer, { readonly state: "installed" }>;

function afterVersion(claim: Claim, { raw, version }: Installed, now: number): Claim {
  // Newer code may know it, and with it the versions of all events that wait for this answer.
  if (raw === undefined || version === undefined) return unanswered("version", claim, now);
  const isConfirmed = isAtMost(claim, { raw, version }) || isExacter(claim, raw);
  const answered = { ...claim, reported: raw };
  return isConfirmed ? settled(answered, "confirmed", now) : contradicted("version", answered, now);
}

/** Bitrix24 reports an integer; an event may name the same version in full. */
function isExacter({ raw: claimed }: Claim, raw: string | undefined): boolean {
  return claimed !== undefined && raw !== undefined && refines(claimed, raw);
}

/** Returns the record with its target raised to the installed version, or lowered to it if it was only believed. */
function withInstalledVersion(
  record: PortalRecord,
  { raw, version: installed, isHeldBack = false }: Installed,
): PortalRecord {
  const { target, version, claims, run, isTargetUnconfirmed } = record;
  const reference = target ?? version;
  if (installed === undefined) return record;
  if (reference === undefined) {
    // Its installation was only claimed: it begins on the version that is installed.
    const isUnknown = record.unknownOrigin !== undefined;
    return isUnknown
      ? { ...record, target: installed }
      : { ...withInitialVersion(record, installed), target: installed };
  }
  const claim = claims?.version;
  const isExact = claim !== undefined && claim.settled === undefined && claim.isByAdmin === true &&
    isExacter(claim, raw);
  const reported = (isExact ? claim.version : undefined) ?? installed;
  const order = compareVersions(reported, reference);
  // The version of a local app's code says nothing about the portal: it comes without `raw`.
  const initial = raw === undefined ? undefined : reportedBefore(record, reported);
  const located = initial === undefined ? record : withInitialVersion(record, initial);
  if (order > 0 && isHeldBack) return record;
  if (order > 0) return withConfirmedTarget({ ...withoutRolloutBlock(located), target: reported });
  if (isTargetUnconfirmed === undefined) return record;
  if (order === 0) return withConfirmedTarget(record);
  if (run !== undefined || version === undefined) return record;
  return withConfirmedTarget({ ...record, target: compareVersions(reported, version) > 0 ? reported : version });
}

function withPaymentBlock(record: PortalRecord, now: number): PortalRecord {
  const { payment } = record.claims ?? {};
  if (payment === undefined || payment.settled !== undefined || record.blocked?.on === "payment") return record;
  return withBlock(record, "payment", UNPAID, now);
}
