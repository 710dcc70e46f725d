/**
 * The OAuth tokens of a portal: a pair for each user that Bitrix24 gave us tokens of. A pair that an event brought counts
 * for nothing until an OAuth host has said whose it is: it may be another portal's, and does not push out one that works.
 */
import type { B24Event } from "../bitrix24/events.ts";

/** The access token of one user, and most times what it can be renewed by. */
export interface StoredTokens {
  /** The app's own user on the portal, or a person. */
  readonly owner: "system" | "user";
  /** Absent in events of old portals, until it is proved. */
  readonly userId?: number;
  readonly accessToken: string;
  readonly refreshToken?: string;
  /** End of the access token in milliseconds since 1970. */
  readonly expiresAt: number;
  /** What they allow. */
  readonly scope: readonly string[];
  /** Seconds since 1970: when Bitrix24 sent or renewed them. */
  readonly ts: number;
  /** The OAuth host that the event named, or that renewed them: to be asked first, if it is one of the app's. */
  readonly server?: string;
  /** An OAuth host has said that they are this app's, on this portal. */
  readonly isVerified?: true;
  /** Of who installed or updated the app, which administrators alone can. */
  readonly isAdmin?: true;
}

/** What an OAuth host said of the access token of an event. */
export interface VerifiedTokens {
  readonly userId?: number;
  readonly scope: readonly string[];
}

/** People of whom a portal keeps tokens that are proved, and that are not; beyond, those that are oldest go. */
const MAX_USERS = 4;
const MAX_UNVERIFIED_USERS = 2;

/** The tokens that `event` brings; `ts` in seconds since 1970. */
export function tokensOfEvent(event: B24Event, ts: number, proved: VerifiedTokens | undefined): StoredTokens[] {
  const { auth } = event;
  const found: StoredTokens[] = [];
  if (auth.accessToken !== undefined && auth.expiresAt !== undefined) {
    const userId = proved?.userId ?? auth.userId;
    found.push({
      owner: "user",
      ...(userId === undefined ? {} : { userId }),
      accessToken: auth.accessToken.reveal(),
      ...(auth.refreshToken === undefined ? {} : { refreshToken: auth.refreshToken.reveal() }),
      expiresAt: auth.expiresAt,
      scope: proved?.scope ?? auth.scope,
      ts,
      ...serverOf(event),
      ...(proved === undefined ? {} : { isVerified: true }),
      ...(event.name === "ONAPPINSTALL" || event.name === "ONAPPUPDATE" ? { isAdmin: true } : {}),
    });
  }
  if (event.name === "ONAPPUSERREADY") {
    const { accessToken, refreshToken, expiresAt, scope, userId } = event.data;
    found.push({
      owner: "system",
      ...(userId === undefined ? {} : { userId }),
      accessToken: accessToken.reveal(),
      ...(refreshToken === undefined ? {} : { refreshToken: refreshToken.reveal() }),
      expiresAt,
      scope,
      ts,
      ...serverOf(event),
    });
  }
  return found;
}

function serverOf({ auth: { serverEndpoint } }: B24Event): Pick<StoredTokens, "server"> {
  return serverEndpoint !== undefined && URL.canParse(serverEndpoint) ? { server: new URL(serverEndpoint).origin } : {};
}

/** `stored` with `next` taken in; `stored` itself where it is no gain. */
export function mergeTokens(
  stored: readonly StoredTokens[] | undefined,
  next: StoredTokens,
): readonly StoredTokens[] | undefined {
  const all = stored ?? [];
  const same = all.find(({ accessToken }) => accessToken === next.accessToken);
  if (same !== undefined) {
    const isNews = next.isVerified && !same.isVerified || !next.isVerified === !same.isVerified && next.ts > same.ts;
    if (!isNews) return stored;
    // What proves a pair seldom knows all of it.
    const both = { ...same, ...next };
    return kept([...all.filter((one) => one !== same), both], both);
  }
  // Half a pair never replaces a whole one, nor an older pair a newer one; a pair that is not proved replaces none that is.
  const isBetter = ({ refreshToken, ts }: StoredTokens): boolean => {
    const gain = Number(next.refreshToken !== undefined) - Number(refreshToken !== undefined);
    return gain > 0 || (gain === 0 && next.ts >= ts);
  };
  if (all.some((one) => isSameUser(one, next) && !isBetter(one))) return stored;
  return kept([...all, next], next);
}

/** Without the pairs that `next` replaces, and without those of more people than are kept. */
function kept(all: readonly StoredTokens[], next: StoredTokens): readonly StoredTokens[] {
  const isWhole = ({ refreshToken }: StoredTokens): boolean => refreshToken !== undefined;
  const left = all.filter((one) => {
    if (one === next || !isSameUser(one, next)) return true;
    if (one.isVerified === true && next.isVerified !== true) return true;
    return one.ts > next.ts && isWhole(one) === isWhole(next);
  });
  // Not all events say of an administrator that he is one.
  const isKnown = next.isVerified === true && next.userId !== undefined &&
    all.some((one) => one.isAdmin === true && one.isVerified === true && isSameUser(one, next));
  const marked = isKnown ? left.map((one) => one === next ? { ...next, isAdmin: true as const } : one) : left;
  const surplus = [...surplusOf(marked, true, MAX_USERS), ...surplusOf(marked, false, MAX_UNVERIFIED_USERS)];
  return marked.filter((one) => !surplus.includes(one));
}

/** Of the people whose tokens are proved, or are not, those beyond `most`: an administrator is worth more than others. */
function surplusOf(tokens: readonly StoredTokens[], isVerified: boolean, most: number): readonly StoredTokens[] {
  return tokens.filter((one) => one.owner === "user" && (one.isVerified ?? false) === isVerified)
    .sort((a, b) => Number(b.isAdmin ?? false) - Number(a.isAdmin ?? false) || b.ts - a.ts)
    .slice(most);
}

/**
 * Whose `tokens` are, once an OAuth host has said that they are `userId`'s. Whoever opens the app can send
 * ONAPPUSERREADY with tokens of his own: they do not take the place of the app's user that is known.
 */
export function verifiedOwner(
  stored: readonly StoredTokens[] | undefined,
  tokens: StoredTokens,
  userId: number | undefined,
): StoredTokens["owner"] {
  if (tokens.owner === "user" || tokens.isVerified === true) return tokens.owner;
  const isAsSaid = tokens.userId === undefined || tokens.userId === userId;
  const known = stored?.filter(({ owner, isVerified }) => owner === "system" && isVerified === true) ?? [];
  return isAsSaid && known.every((one) => one.userId === userId) ? "system" : "user";
}

function isSameUser(a: StoredTokens, b: StoredTokens): boolean {
  return a.owner === b.owner && (a.owner === "system" || a.userId === b.userId);
}

/** Those that can be used at `now`, or renewed, the best first: the system user's, then the latest of an administrator. */
export function rankTokens(tokens: readonly StoredTokens[] | undefined, now: number): StoredTokens[] {
  const worth = ({ owner, isAdmin }: StoredTokens): number => owner === "system" ? 2 : isAdmin ? 1 : 0;
  return (tokens ?? [])
    .filter(({ refreshToken, expiresAt }) => refreshToken !== undefined || expiresAt > now)
    .sort((a, b) => worth(b) - worth(a) || b.ts - a.ts);
}
