/**
 * Claims: what an event says about its portal and no OAuth host has confirmed yet. Every user of a portal can read its
 * application_token, so an event that brings only that token claims a version, a removal or a payment state; Bitrix24 is
 * asked before it takes effect. Pure functions: when Bitrix24 is asked, and what its answers do to a claim.
 */
import { defined } from "../defined.ts";
import { compareRaw, compareVersions } from "../version.ts";
import type { StoredTokens } from "./tokens.ts";

/** The kinds of claims. A portal has at most one of each; later events join the one that is open. */
export type ClaimKind = "version" | "removal" | "payment";

/** A claim as an event makes it. */
export interface NewClaim {
  readonly kind: ClaimKind;
  /** The claimed version; only for a version, and absent if this code does not know it yet. */
  readonly version?: string;
  /** The version as it was sent; only for a version. */
  readonly raw?: string;
  /** The access token of an administrator verified the event, so a more exact version than Bitrix24's is believed. */
  readonly isByAdmin?: true;
  /** The event says that the administrator asked to delete the app's data; only for a removal. */
  readonly clean?: boolean;
  /** Digest of the application_token of the event, which is that of the first one of the claim; only for a removal. */
  readonly tokenDigest?: string;
  /** When the event was sent, in seconds since 1970. */
  readonly ts: number;
}

/** A claim in a portal's record. It stays there after it is settled, so that its events are recognized. */
export interface Claim extends Omit<NewClaim, "kind"> {
  /** When the first event made it, in milliseconds since 1970. */
  readonly since: number;
  /** The earliest `ts` of its events, if they differ; only for a removal. */
  readonly firstTs?: number;
  /** When Bitrix24 is asked next, in milliseconds since 1970; absent if it is settled, or there is no token to ask with. */
  readonly nextAskAt?: number;
  /** The version that Bitrix24 last reported, as it was sent; only for a version. */
  readonly reported?: string;
  /** When Bitrix24 last answered, in milliseconds since 1970. */
  readonly answeredAt?: number;
  /** When Bitrix24 first contradicted it after the newest event joined, in milliseconds since 1970. */
  readonly contradictedAt?: number;
  /** Bitrix24 has contradicted it at least once: it is not believed without a confirmation. */
  readonly wasContradicted?: true;
  /** Number of questions in a row that had no answer. */
  readonly unanswered?: number;
  /** The final outcome; absent while the claim is open. */
  readonly settled?: { readonly as: "confirmed" | "dropped"; readonly at: number };
}

/** The claims of a portal, by kind. */
export type Claims = { readonly [Kind in ClaimKind]?: Claim };

/** A claim as `app.portal` shows it. */
export interface PortalClaim {
  /** `version`: the portal has this version. `removal`: the app was removed. `payment`: the paid period is over. */
  readonly kind: ClaimKind;
  /** The claimed version; only for a version. As it was sent if the app's version scheme did not know it. */
  readonly version?: string;
  /** When the first event made the claim, in milliseconds since 1970. */
  readonly since: number;
  /** `open`: Bitrix24 is asked until it confirms the claim. `unconfirmed`: it never did, and the claim had no effect. */
  readonly state: "open" | "unconfirmed";
  /** Bitrix24 has contradicted the claim at least once. */
  readonly isContradicted: boolean;
  /**
   * When Bitrix24 is asked next, in milliseconds since 1970; absent if the claim is unconfirmed, or waits for an event or
   * an opening that brings a token.
   */
  readonly nextAskAt?: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Milliseconds after the first contradiction at which Bitrix24 is asked again. After the last one the claim is dropped. */
const ASK_AGAIN_MS: Readonly<Record<ClaimKind, readonly number[]>> = {
  // app.info may be behind the event for a while.
  version: [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS],
  removal: [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, DAY_MS],
  payment: [],
};

/** Minimum time (ms) between an answer and the question for a later event of the same kind: there may be a flood of them. */
const JOIN_INTERVAL_MS = MINUTE_MS;

/** Milliseconds until a question that had no answer is repeated: the first time, and at most. */
const UNANSWERED_FIRST_MS = 30_000;
const UNANSWERED_MAX_MS = 10 * MINUTE_MS;

/** Milliseconds after which a payment claim is dropped if there is no answer. A portal in a private network has none. */
const PAYMENT_MS = DAY_MS;

/** Milliseconds that a dropped claim is remembered, and a dropped removal can still be confirmed. */
const DROPPED_MS = 90 * DAY_MS;

/** Returns the claim after the event that makes it, or joins it. `canAsk`: there is a token to ask with. */
export function withEvent(claim: Claim | undefined, event: NewClaim, now: number, canAsk: boolean): Claim {
  const { kind: _, ...said } = event;
  const soonest = soonestAskAt(claim, now);
  if (claim === undefined || claim.settled !== undefined) {
    const { answeredAt } = claim ?? {};
    return { ...said, since: now, ...defined({ answeredAt, nextAskAt: canAsk ? soonest : undefined }) };
  }
  const { contradictedAt: _c, nextAskAt: _n, version, ...joined } = claim;
  const { tokenDigest: _t, ...later } = said;
  // The version of the claim, unless that of the event is higher or has become known.
  const isKept = event.kind === "version" && isAtMost(event, claim) && !becomesKnown(claim, event);
  return {
    ...joined,
    ...(isKept ? defined({ version }) : later),
    ...defined({ clean: joinedClean(claim, event) }),
    ts: Math.max(claim.ts, said.ts),
    ...defined({ firstTs: event.kind === "removal" && claim.ts !== said.ts ? firstTs(claim, said.ts) : claim.firstTs }),
    ...defined({ nextAskAt: canAsk ? Math.min(claim.nextAskAt ?? Infinity, soonest) : undefined }),
  };
}

/** Returns the earliest `ts` of the events of a claim, and of one that joins it. */
export function firstTs(claim: Claim, ts: number = Infinity): number {
  return Math.min(claim.firstTs ?? claim.ts, ts);
}

/**
 * Returns whether all events of a removal that Bitrix24 has not contradicted want the app's data deleted: nobody can confirm
 * that.
 */
function joinedClean({ clean, contradictedAt }: Claim, event: NewClaim): boolean | undefined {
  return contradictedAt === undefined && clean === false ? false : event.clean;
}

/** Returns when Bitrix24 may be asked again about a claim that an event makes or joins, in milliseconds since 1970. */
function soonestAskAt(claim: Claim | undefined, now: number): number {
  const { answeredAt, unanswered, nextAskAt } = claim ?? {};
  // The question is repeated with back-off already.
  if (unanswered !== undefined && nextAskAt !== undefined) return Math.min(nextAskAt, now + JOIN_INTERVAL_MS);
  return answeredAt === undefined ? now : Math.max(now, answeredAt + JOIN_INTERVAL_MS);
}

/**
 * Returns whether the claim contains what the event says, so that the event's outcome is that of the claim. `receivedAt`: when
 * the event was received, in milliseconds since 1970.
 */
export function covers(claim: Claim | undefined, event: NewClaim, receivedAt: number): claim is Claim {
  // A payment claim is dropped at once: its answer says nothing about an event that comes later, whatever its `ts`.
  const isOver = event.kind === "payment" && (claim?.settled?.at ?? Infinity) < receivedAt;
  return !isOver && claim !== undefined && claim.ts >= event.ts && isAtMost(event, claim) &&
    !becomesKnown(claim, event);
}

/** A version as Bitrix24 sends it and as the app reads it: `version` is absent if this code does not know it yet. */
type SentVersion = Pick<NewClaim, "version" | "raw">;

/** Returns whether `a` is not above `b`. */
export function isAtMost(a: SentVersion, b: SentVersion): boolean {
  if (a.version !== undefined && b.version !== undefined) return compareVersions(a.version, b.version) <= 0;
  return a.raw === b.raw || (a.raw !== undefined && b.raw !== undefined && compareRaw(a.raw, b.raw) <= 0);
}

/** Returns whether this code knows the version of a claim that code before it did not. */
function becomesKnown(claim: SentVersion, event: SentVersion): boolean {
  return claim.version === undefined && event.version !== undefined && claim.raw === event.raw;
}

/** Returns the claim after an answer that contradicts it: it is asked about again, or dropped after the last time. */
export function contradicted(kind: ClaimKind, claim: Claim, now: number): Claim {
  const contradictedAt = claim.contradictedAt ?? now;
  const next = ASK_AGAIN_MS[kind].map((ms) => contradictedAt + ms).find((at) => at > now);
  const asked: Claim = { ...answered(claim, now), contradictedAt, wasContradicted: true };
  return next === undefined ? settled(asked, "dropped", now) : { ...asked, nextAskAt: next };
}

/**
 * Returns the claim after a question that had no answer: it is repeated, with back-off, until there is one. The times of
 * contradictions count from the first answer.
 */
export function unanswered(kind: ClaimKind, claim: Claim, now: number): Claim {
  if (kind === "payment" && now - claim.since >= PAYMENT_MS) return settled(claim, "dropped", now);
  // A check at another time than the claim's changes nothing.
  if (claim.nextAskAt === undefined || claim.nextAskAt > now) return claim;
  const { unanswered: count = 0 } = claim;
  const delay = Math.min(UNANSWERED_MAX_MS, UNANSWERED_FIRST_MS * 2 ** Math.min(count, 10));
  return { ...claim, unanswered: count + 1, nextAskAt: now + delay };
}

/** Returns the claim after all tokens were refused: it waits for an event or an opening that brings another one. */
export function withoutTokens({ nextAskAt: _n, unanswered: _u, ...claim }: Claim): Claim {
  return claim;
}

/** Returns the claim with its final outcome. */
export function settled(claim: Claim, as: "confirmed" | "dropped", now: number): Claim {
  return { ...withoutTokens(claim), settled: { as, at: now } };
}

function answered({ unanswered: _, ...claim }: Claim, now: number): Claim {
  return { ...claim, answeredAt: now };
}

/** Returns whether Bitrix24 is asked about a claim, and has not answered the last question, or any. */
export function isUnanswered(claims: Claims = {}): boolean {
  return Object.values(claims).some(({ nextAskAt, unanswered, answeredAt }) =>
    nextAskAt !== undefined && (unanswered !== undefined || answeredAt === undefined)
  );
}

/** Returns whether there is a claim that was made at `since` or later, and Bitrix24 has not been asked about it yet. */
export function hasComeSince(claims: Claims = {}, since: number): boolean {
  return Object.values(claims).some((claim) =>
    claim.nextAskAt !== undefined && claim.since >= since && (claim.answeredAt ?? 0) < claim.since &&
    claim.unanswered === undefined
  );
}

/** Returns whether a claim is open. */
export function hasOpenClaim(claims: Claims = {}): boolean {
  return Object.values(claims).some(({ settled }) => settled === undefined);
}

/** Returns the claims with the open ones asked about now, if they wait for a token or, with `all`, for another time. */
export function askNow(claims: Claims, now: number, { all = false } = {}): Claims {
  return mapClaims(claims, (_, claim) => {
    const waits = claim.settled === undefined && (claim.nextAskAt === undefined || (all && claim.nextAskAt > now));
    return waits ? { ...claim, nextAskAt: now } : claim;
  });
}

/** Returns the claims after `change`; `claims` itself if none changes. If it returns `undefined`, the claim is removed. */
export function mapClaims(claims: Claims, change: (kind: ClaimKind, claim: Claim) => Claim | undefined): Claims {
  let next = claims;
  for (const [kind, claim] of Object.entries(claims) as [ClaimKind, Claim][]) {
    const changed = change(kind, claim);
    if (changed === claim) continue;
    const { [kind]: _, ...others } = next;
    next = changed === undefined ? others : { ...others, [kind]: changed };
  }
  return next;
}

/** Returns when Bitrix24 is asked next, in milliseconds since 1970; `undefined` if nothing is to be asked. */
export function nextAskAt(claims: Claims | undefined): number | undefined {
  const times = Object.values(claims ?? {}).map(({ nextAskAt }) => nextAskAt).filter((at) => at !== undefined);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** Returns whether a claim is open, or was dropped so recently that it is remembered. */
export function isRemembered({ settled }: Claim, now: number): boolean {
  return settled === undefined || (settled.as === "dropped" && now - settled.at < DROPPED_MS);
}

/** Returns the claims that are open, or were dropped. */
export function describeClaims(claims: Claims): PortalClaim[] {
  return (Object.entries(claims) as [ClaimKind, Claim][]).filter(([, { settled }]) => settled?.as !== "confirmed")
    .map(([kind, { version, raw, since, nextAskAt, settled, wasContradicted = false }]) => ({
      ...{ kind, since, isContradicted: wasContradicted },
      state: settled === undefined ? "open" : "unconfirmed",
      ...defined({ version: version ?? raw, nextAskAt }),
    }));
}

/** Returns whether Bitrix24 can be asked with one of these token pairs. `canRefresh`: the app has a client secret. */
export function canAsk(tokens: readonly StoredTokens[] | undefined, now: number, canRefresh: boolean): boolean {
  return tokens?.some(({ expiresAt, refreshToken }) => expiresAt > now || (canRefresh && refreshToken !== undefined)) ??
    false;
}
