/**
 * The OAuth tokens of a portal: one token pair for each user. A pair from an event is unverified until an OAuth host
 * confirms its user and portal: it may belong to another portal, so it never replaces a verified one.
 */
import type { B24Event } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";

/** A token pair of one user: an access token, and usually the refresh token. */
export interface StoredTokens {
  /** `system`: the app's own user on the portal. `user`: a person. */
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
  /** The user installed or updated the app, which only administrators can do. */
  readonly isAdmin?: true;
}

/** The answer of an OAuth host about the access token of an event. */
export interface VerifiedTokens {
  readonly userId?: number;
  readonly scope: readonly string[];
  /** Whether the portal says that the user is an administrator; absent if it was not asked. */
  readonly isAdmin?: boolean;
}

/** Number of people whose verified pairs a portal keeps, and whose unverified ones. The oldest are dropped. */
const MAX_USERS = 4;
const MAX_UNVERIFIED_USERS = 2;

/** Returns the token pairs in `event`; `ts` in seconds since 1970. */
export function tokensOfEvent(event: B24Event, ts: number, verified: VerifiedTokens | undefined): StoredTokens[] {
  const { auth } = event;
  const pairs: StoredTokens[] = [];
  if (auth.accessToken !== undefined && auth.expiresAt !== undefined) {
    pairs.push({
      owner: "user",
      accessToken: auth.accessToken.reveal(),
      expiresAt: auth.expiresAt,
      scope: verified?.scope ?? auth.scope,
      ts,
      ...defined({
        userId: verified?.userId ?? auth.userId,
        refreshToken: auth.refreshToken?.reveal(),
        server: serverOf(event),
      }),
      ...(verified === undefined ? {} : { isVerified: true }),
      ...(verified?.isAdmin ?? (event.name === "ONAPPINSTALL" || event.name === "ONAPPUPDATE")
        ? { isAdmin: true }
        : {}),
    });
  }
  if (event.name === "ONAPPUSERREADY") {
    const { accessToken, refreshToken, expiresAt, scope, userId } = event.data;
    pairs.push({
      owner: "system",
      accessToken: accessToken.reveal(),
      expiresAt,
      scope,
      ts,
      ...defined({ userId, refreshToken: refreshToken?.reveal(), server: serverOf(event) }),
    });
  }
  return pairs;
}

function serverOf({ auth: { serverEndpoint } }: B24Event): string | undefined {
  return serverEndpoint !== undefined && URL.canParse(serverEndpoint) ? new URL(serverEndpoint).origin : undefined;
}

/** Returns the stored pairs with `next` added or replacing others; `stored` itself if `next` is no better. */
export function mergeTokens(
  stored: readonly StoredTokens[] | undefined,
  next: StoredTokens,
): readonly StoredTokens[] | undefined {
  const all = stored ?? [];
  const same = all.find(({ accessToken }) => accessToken === next.accessToken);
  if (same !== undefined) {
    const isNewlyVerified = next.isVerified && !same.isVerified;
    const isNewer = !next.isVerified === !same.isVerified && next.ts > same.ts;
    if (!isNewlyVerified && !isNewer) return stored;
    // A verification seldom has all fields of the pair.
    const merged = { ...same, ...next };
    return withoutReplaced([...all.filter((pair) => pair !== same), merged], merged);
  }
  // A pair without a refresh token never replaces one with it, an older pair no newer one, an unverified no verified one.
  const isReplacedByNext = ({ refreshToken, ts }: StoredTokens): boolean => {
    const gain = Number(next.refreshToken !== undefined) - Number(refreshToken !== undefined);
    return gain > 0 || (gain === 0 && next.ts >= ts);
  };
  if (all.some((pair) => isSameUser(pair, next) && !isReplacedByNext(pair))) return stored;
  return withoutReplaced([...all, next], next);
}

/** Returns the pairs without those that `next` replaces, and without those of more people than are kept. */
function withoutReplaced(all: readonly StoredTokens[], next: StoredTokens): readonly StoredTokens[] {
  const isRefreshable = ({ refreshToken }: StoredTokens): boolean => refreshToken !== undefined;
  const left = all.filter((pair) => {
    if (pair === next || !isSameUser(pair, next)) return true;
    if (pair.isVerified === true && next.isVerified !== true) return true;
    return pair.ts > next.ts && isRefreshable(pair) === isRefreshable(next);
  });
  // Not all events of an administrator show that the user is one.
  const isKnownAdmin = next.isVerified === true && next.userId !== undefined &&
    all.some((pair) => pair.isAdmin === true && pair.isVerified === true && isSameUser(pair, next));
  const marked = isKnownAdmin ? left.map((pair) => pair === next ? { ...next, isAdmin: true as const } : pair) : left;
  const surplus = [...surplusOf(marked, true, MAX_USERS), ...surplusOf(marked, false, MAX_UNVERIFIED_USERS)];
  return marked.filter((pair) => !surplus.includes(pair));
}

/** Returns the pairs of people beyond the first `max`, verified or not. Administrators come first, then the newest. */
function surplusOf(tokens: readonly StoredTokens[], isVerified: boolean, max: number): readonly StoredTokens[] {
  return tokens.filter((pair) => pair.owner === "user" && (pair.isVerified ?? false) === isVerified)
    .sort((a, b) => Number(b.isAdmin ?? false) - Number(a.isAdmin ?? false) || b.ts - a.ts)
    .slice(max);
}

/**
 * Returns the owner of a pair after an OAuth host reported that it belongs to `userId`. Any user of a portal can forge an
 * ONAPPUSERREADY with tokens of their own, so such a pair does not replace that of a known system user.
 */
export function verifiedOwner(
  stored: readonly StoredTokens[] | undefined,
  tokens: StoredTokens,
  userId: number | undefined,
): StoredTokens["owner"] {
  if (tokens.owner === "user" || tokens.isVerified === true) return tokens.owner;
  const isAsClaimed = tokens.userId === undefined || tokens.userId === userId;
  const known = stored?.filter(({ owner, isVerified }) => owner === "system" && isVerified === true) ?? [];
  return isAsClaimed && known.every((pair) => pair.userId === userId) ? "system" : "user";
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
