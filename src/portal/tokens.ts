/**
 * The OAuth tokens of a portal: one token pair for each user. A pair from an event is unverified until an OAuth host
 * confirms its user and portal: it may belong to another portal, so it never replaces a verified one.
 */
import type { B24Event } from "../bitrix24/events.ts";
import { originOf } from "../bitrix24/hosts.ts";
import { defined } from "../defined.ts";
import { isSameJson } from "../storage/value.ts";
import type { StoredVerification } from "./event_facts.ts";

/** A token pair of one user: an access token, and usually the refresh token. */
export interface StoredTokens {
  /** `system`: the app's own user on the portal, as an administrator's event said. `user`: a person. */
  readonly owner: "system" | "user";
  /** Absent in events of old portals, until the pair is verified. */
  readonly userId?: number;
  readonly accessToken: string;
  readonly refreshToken?: string;
  /** Expiry of the access token, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** Scopes that the access token grants. */
  readonly scope: readonly string[];
  /** When Bitrix24 sent or refreshed the pair, in seconds since 1970. */
  readonly ts: number;
  /** OAuth host that the event named, or that refreshed the pair. It is asked first, if it is one of the app's. */
  readonly server?: string;
  /** An OAuth host confirmed that the pair belongs to this app on this portal. */
  readonly isVerified?: true;
  /** Whether the portal says that the user is an administrator; absent until it has answered. Only in verified pairs. */
  readonly isAdmin?: boolean;
  /** Takes effect once the portal says that the user is an administrator. Absent if `isAdmin` is known. */
  readonly pending?: PendingProof;
}

/** The application_token of an event. */
export interface SentApplicationToken {
  readonly digest: string;
  /** When the event was sent, in seconds since 1970. */
  readonly ts: number;
}

/** Facts of an event that count only if the user of its access token is an administrator. */
export interface PendingProof {
  readonly applicationToken?: SentApplicationToken;
  /** The pair of the app's own user, from ONAPPUSERREADY. */
  readonly systemUser?: StoredTokens;
}

/** Number of people whose verified pairs a portal keeps, and whose unverified ones. The oldest are dropped. */
const MAX_USERS = 4;
const MAX_UNVERIFIED_USERS = 2;

/** Returns the token pair in `auth` of an event; `undefined` if it has none. `ts` in seconds since 1970. */
export function tokensOfEvent(
  event: B24Event,
  ts: number,
  { tokens: verified, pendingTokenDigest }: StoredVerification,
): StoredTokens | undefined {
  const { accessToken, refreshToken, expiresAt, scope, userId } = event.auth;
  if (accessToken === undefined || expiresAt === undefined) return undefined;
  const applicationToken = pendingTokenDigest === undefined ? undefined : { digest: pendingTokenDigest, ts };
  const pending: PendingProof = defined({ applicationToken, systemUser: systemUserOf(event, ts) });
  return {
    owner: "user",
    accessToken: accessToken.reveal(),
    expiresAt,
    scope: verified?.scope ?? scope,
    ts,
    ...defined({
      userId: verified?.userId ?? userId,
      refreshToken: refreshToken?.reveal(),
      server: originOf(event.auth.serverEndpoint),
      isVerified: verified === undefined ? undefined : true as const,
      isAdmin: verified?.isAdmin,
      pending: Object.keys(pending).length === 0 ? undefined : pending,
    }),
  };
}

function systemUserOf(event: B24Event, ts: number): StoredTokens | undefined {
  if (event.name !== "ONAPPUSERREADY") return undefined;
  const { accessToken, refreshToken, expiresAt, scope, userId } = event.data;
  return {
    owner: "system",
    accessToken: accessToken.reveal(),
    expiresAt,
    scope,
    ts,
    ...defined({ userId, refreshToken: refreshToken?.reveal(), server: originOf(event.auth.serverEndpoint) }),
  };
}

/** Returns the application tokens that wait in verified pairs for an administrator's proof. */
export function pendingApplicationTokens(tokens: readonly StoredTokens[] = []): readonly SentApplicationToken[] {
  return tokens.filter(({ isVerified }) => isVerified === true).map(({ pending }) => pending?.applicationToken)
    .filter((token) => token !== undefined);
}

/** Returns whether nothing is left to ask Bitrix24 about the user of a pair. */
export function isSettled({ owner, isVerified, isAdmin }: StoredTokens): boolean {
  return isVerified === true && (owner === "system" || isAdmin !== undefined);
}

/** Returns the stored pairs with `next` added or replacing others; `stored` itself if `next` is no better. */
export function mergeTokens(
  stored: readonly StoredTokens[] | undefined,
  next: StoredTokens,
): readonly StoredTokens[] | undefined {
  const all = stored ?? [];
  const same = all.find(({ accessToken }) => accessToken === next.accessToken);
  const pair = same === undefined ? next : mergeSame(same, next);
  if (pair === same) return stored;
  const others = same === undefined ? all : all.filter((other) => other !== same);
  const better = others.find((other) => isRival(other, pair) && !isReplaceable(other, pair));
  if (better === undefined) return withoutReplaced([...others, pair], pair);
  const { isAdmin, ...unasked } = better;
  if (!pair.isVerified || pair.pending === undefined || isAdmin === false) return same === undefined ? stored : others;
  // Both are verified, so the newer pair is of the user whom the older event needs: the portal is asked about it.
  const asked = { ...unasked, pending: { ...pair.pending, ...better.pending } };
  return others.map((other) => other === better ? asked : other);
}

/** Returns whether `next` is newer and not without a refresh token that the other pair has, or has one that it has not. */
function isReplaceable({ refreshToken, ts, expiresAt }: StoredTokens, next: StoredTokens): boolean {
  const gain = Number(next.refreshToken !== undefined) - Number(refreshToken !== undefined);
  // A pair that was refreshed while its event waited has the event's `ts`, and replaces the one in the event for good.
  return gain > 0 || (gain === 0 && (next.ts > ts || (next.ts === ts && next.expiresAt >= expiresAt)));
}

/** Returns a stored pair with what `next`, which has the same access token, adds to it; `same` itself if that is nothing. */
function mergeSame(same: StoredTokens, next: StoredTokens): StoredTokens {
  if (next === same) return same;
  const isNewlyVerified = next.isVerified && !same.isVerified;
  const isNewer = !next.isVerified === !same.isVerified && next.ts > same.ts;
  // A verification seldom has all fields of the pair.
  const { pending: _, ...merged } = isNewlyVerified || isNewer ? { ...same, ...next } : same;
  const isAdmin = (next.isVerified ? next.isAdmin : undefined) ?? same.isAdmin;
  const pending = isAdmin === undefined ? { ...same.pending, ...next.pending } : {};
  const result: StoredTokens = {
    ...merged,
    ...defined({ isAdmin, pending: Object.keys(pending).length === 0 ? undefined : pending }),
  };
  return !isNewlyVerified && !isNewer && isSameJson(result, same) ? same : result;
}

/**
 * Returns whether only one of a stored and a new pair can be kept. An unverified pair only claims to be a user's: it keeps
 * no verified one out. One that waits for an administrator competes only with others that do.
 */
function isRival(stored: StoredTokens, next: StoredTokens): boolean {
  if (!isSameUser(stored, next)) return false;
  if (next.isVerified) return stored.isVerified === true;
  const waits = next.pending !== undefined;
  return stored.isVerified ? !waits : (stored.pending !== undefined) === waits;
}

/** Returns the pairs without those that `next` replaces, and without those of more people than are kept. */
function withoutReplaced(all: readonly StoredTokens[], next: StoredTokens): readonly StoredTokens[] {
  const isReplaced = (pair: StoredTokens): boolean => {
    if (pair === next || !isSameUser(pair, next) || !isReplaceable(pair, next)) return false;
    return next.isVerified === true
      ? pair.isVerified === true || pair.pending === undefined
      : !pair.isVerified && isRival(pair, next);
  };
  const replaced = all.filter((pair) => pair.isVerified && isReplaced(pair));
  const left = all.filter((pair) => !isReplaced(pair)).map((pair) => pair === next ? inherit(next, replaced) : pair);
  const isVerified = (pair: StoredTokens): boolean => pair.isVerified === true;
  const waits = ({ pending }: StoredTokens): boolean => pending !== undefined;
  const surplus = [
    ...surplusOf(left.filter(isVerified), MAX_USERS),
    ...surplusOf(left.filter((pair) => !isVerified(pair) && !waits(pair)), MAX_UNVERIFIED_USERS),
    ...surplusOf(left.filter((pair) => !isVerified(pair) && waits(pair)), MAX_UNVERIFIED_USERS),
  ];
  return left.filter((pair) => !surplus.includes(pair));
}

/** Returns a pair with what is known about its user from the pairs that it replaces. All of them are verified. */
function inherit(next: StoredTokens, replaced: readonly StoredTokens[]): StoredTokens {
  if (next.isAdmin !== undefined || next.userId === undefined) return next;
  const pending: PendingProof = Object.assign({}, ...replaced.map(({ pending }) => pending), next.pending);
  if (Object.keys(pending).length > 0) return { ...next, pending };
  return replaced.some(({ isAdmin }) => isAdmin) ? { ...next, isAdmin: true } : next;
}

/** Returns the pairs of people beyond the first `max`. Administrators come first, then who may be one, then the newest. */
function surplusOf(tokens: readonly StoredTokens[], max: number): readonly StoredTokens[] {
  const rank = ({ isAdmin }: StoredTokens): number => isAdmin === undefined ? 1 : isAdmin ? 2 : 0;
  return tokens.filter(({ owner }) => owner === "user").sort((a, b) => rank(b) - rank(a) || b.ts - a.ts).slice(max);
}

function isSameUser(a: StoredTokens, b: StoredTokens): boolean {
  return a.owner === b.owner && (a.owner === "system" || a.userId === b.userId);
}

/**
 * Returns the pairs that can be used or refreshed at `now`, the best first: the system user's, then those of
 * administrators, then others, each the newest first.
 */
export function rankTokens(tokens: readonly StoredTokens[] | undefined, now: number): StoredTokens[] {
  const rank = ({ owner, isAdmin }: StoredTokens): number => owner === "system" ? 2 : isAdmin ? 1 : 0;
  return (tokens ?? [])
    .filter(({ refreshToken, expiresAt }) => refreshToken !== undefined || expiresAt > now)
    .sort((a, b) => rank(b) - rank(a) || b.ts - a.ts);
}
