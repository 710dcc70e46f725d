/**
 * Token pairs that another program of the vendor has: verified and refreshed before their portals are adopted. A refreshed
 * pair is stored under a key of its own until then, because nobody else has it.
 */
import { createMutex } from "../async/keyed_mutex.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import { meaningOf } from "../bitrix24/error_codes.ts";
import { originOf } from "../bitrix24/hosts.ts";
import type { AppInfo, RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { MEMBER_ID } from "../bitrix24/schemas.ts";
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import { adoptedPairKey } from "../portal/keys.ts";
import type { StoredTokens } from "../portal/tokens.ts";
import { Secret } from "../secret.ts";
import { passToOwner, storePair } from "./refresh.ts";
import { type AppKeys, appKeys, type CredentialsSettings } from "./settings.ts";

/** A token pair as another program has stored it. */
export interface OfferedPair {
  readonly memberId: string;
  readonly accessToken: string;
  readonly refreshToken?: string;
  /** In milliseconds since 1970; absent if it is not known. */
  readonly expiresAt?: number;
  readonly serverEndpoint?: string;
}

/** Why a pair cannot be used. */
export type PairProblem =
  | "expired"
  | "refused"
  | "other_portal"
  | "other_app"
  | "not_installed"
  | "payment";

/** Bitrix24's answer about a pair: whose it is, or why it cannot be used. */
export type PairAnswer =
  | { readonly tokens: StoredTokens; readonly info: AppInfo }
  | { readonly problem: PairProblem; readonly message: string };

/** Options of {@linkcode AdoptedPairs.verify}. */
export interface VerifyPairOptions {
  /** Refreshes the pair if its access token has expired. */
  readonly refresh: boolean;
  readonly signal: AbortSignal;
  /** Runs each call of an OAuth host, again if no host answers. `server`: the host that the call goes to first, if it is known. */
  readonly call: <T>(server: string | undefined, run: () => Promise<T>) => Promise<T>;
}

/** Token pairs of portals that are not adopted yet. */
export interface AdoptedPairs {
  /**
   * Calls `app.info` with a pair. Uses the pair that an earlier adoption has refreshed for the portal instead, if there is one.
   *
   * @throws {B24Error} if an OAuth host refuses the keys of the app
   * @throws {UnreachableError} if no OAuth host answers
   * @throws {StorageError} if the storage fails
   */
  readonly verify: (pair: OfferedPair, options: VerifyPairOptions) => Promise<PairAnswer>;
}

/** The stored value of a refreshed pair. */
interface StoredPair {
  readonly format: typeof FORMAT;
  readonly tokens: StoredTokens;
}

/** Raised if older code would misread a pair. */
const FORMAT = 1;

/** TTL (ms) of refreshed pairs: as long as their refresh tokens are valid. */
const KEPT_MS = 180 * 24 * 60 * 60 * 1000;

/** Lifetime (ms) of an access token. */
const ACCESS_TOKEN_MS = 60 * 60 * 1000;

/** Maximum number of new pairs that are remembered because they could not be stored. */
const MAX_UNSTORED = 1000;

/** Returns the pairs of portals that are adopted into the settings' storage. */
export function createAdoptedPairs(settings: CredentialsSettings): AdoptedPairs {
  const { storage, clock, oauth, clientId } = settings;
  /** One refresh at a time: a process that ends between a refresh and its write loses one pair at most. */
  const refreshing = createMutex();
  /** New pairs that could not be stored, by the refresh token that they were requested with. */
  const unstored = new Map<string, RefreshedTokens>();

  async function load(memberId: string): Promise<StoredTokens | undefined> {
    const stored = (await storage.get<StoredPair>(adoptedPairKey(memberId)))?.value;
    if (stored === undefined) return undefined;
    if (stored.format !== FORMAT) throw new FormatError(`adopted pair of ${memberId}`, stored.format, FORMAT);
    return stored.tokens;
  }

  /** Asks whose a pair is, unless it is known to have expired. */
  async function ask(memberId: string, tokens: StoredTokens, options: VerifyPairOptions): Promise<PairAnswer> {
    const { accessToken, expiresAt, server } = tokens;
    if (expiresAt <= clock()) return EXPIRED;
    let info: AppInfo;
    try {
      info = await options.call(server, () => oauth.appInfo(new Secret(accessToken), server, options.signal));
    } catch (error) {
      if (!(error instanceof B24Error)) throw error;
      return error.refusesToken ? EXPIRED : refusalOf(error);
    }
    if (info.memberId !== memberId) return otherPortal(info.memberId);
    if (info.clientId !== clientId) return OTHER_APP;
    return { tokens: { ...tokens, expiresAt: info.expiresAt ?? expiresAt }, info };
  }

  /** Refreshes a pair, and stores the new one for the portal that owns it. */
  async function refresh(
    memberId: string,
    { refreshToken, server }: StoredTokens,
    keys: AppKeys,
    options: VerifyPairOptions,
  ): Promise<StoredTokens | Refused> {
    options.signal.throwIfAborted();
    if (refreshToken === undefined) return { ...EXPIRED, message: `${EXPIRED.message}, and it has no refresh token` };
    let refreshed: RefreshedTokens;
    try {
      refreshed = unstored.get(refreshToken) ??
        await options.call(server, () => oauth.refresh(new Secret(refreshToken), keys, server));
    } catch (error) {
      if (!(error instanceof B24Error)) throw error;
      return refusalOf(error);
    }
    if (unstored.size < MAX_UNSTORED) unstored.set(refreshToken, refreshed);
    const tokens = pairOf(refreshed, clock());
    await storePair(settings, async () => {
      const isOther = refreshed.memberId !== memberId;
      if (isOther && await passToOwner(settings, refreshToken, refreshed)) return;
      const stored: StoredPair = { format: FORMAT, tokens };
      const owner = MEMBER_ID.accepts(refreshed.memberId) ? refreshed.memberId : memberId;
      await storage.put(adoptedPairKey(owner), stored, { ttlMs: KEPT_MS });
    });
    unstored.delete(refreshToken);
    return refreshed.memberId === memberId ? tokens : otherPortal(refreshed.memberId);
  }

  /** Verifies a pair, after a refresh if it has expired and may be refreshed. */
  async function verifyOne(memberId: string, tokens: StoredTokens, options: VerifyPairOptions): Promise<PairAnswer> {
    const answer = await ask(memberId, tokens, options);
    const keys = appKeys(settings);
    const isExpired = "problem" in answer && answer.problem === "expired";
    if (!isExpired || !options.refresh || keys === undefined) return answer;
    const refreshed = await refreshing(() => refresh(memberId, tokens, keys, options));
    return "problem" in refreshed ? refreshed : await ask(memberId, refreshed, options);
  }

  return {
    verify: async (offered, options) => {
      const { memberId } = offered;
      const saved = await load(memberId);
      // Its refresh has invalidated the offered pair.
      const first = saved && await verifyOne(memberId, saved, options);
      if (first !== undefined && !("problem" in first)) return first;
      const answer = await verifyOne(memberId, tokensOf(offered, clock()), options);
      if (!("problem" in answer)) return answer;
      // Another line or process may have refreshed the offered pair meanwhile.
      const other = await load(memberId);
      const isNew = other !== undefined && other.accessToken !== saved?.accessToken;
      return isNew ? await verifyOne(memberId, other, options) : answer;
    },
  };
}

type Refused = Extract<PairAnswer, { readonly problem: unknown }>;

const OTHER_APP: Refused = { problem: "other_app", message: "its tokens belong to another app" };

const EXPIRED: Refused = {
  problem: "expired",
  message: "unverified: its access token is no longer valid",
};

/** An answer without a valid member_id may have a token in its place. */
function otherPortal(memberId: string): Refused {
  const whose = MEMBER_ID.accepts(memberId) ? `portal ${memberId}` : "another portal";
  return { problem: "other_portal", message: `its tokens belong to ${whose}` };
}

/** @throws {B24Error} if the refusal is about the keys of the app: those of all other lines would be refused, too */
function refusalOf(error: B24Error): Refused {
  const { b24Code, blockedOn, isNotInstalled } = error;
  if (blockedOn === "configuration") throw error;
  if (meaningOf(b24Code).isOtherApp === true) return OTHER_APP;
  const problem = isNotInstalled || blockedOn === "installation"
    ? "not_installed"
    : blockedOn === "payment"
    ? "payment"
    : "refused";
  return { problem, message: `unverified: Bitrix24 answered ${b24Code}` };
}

/** Returns an offered pair as it is stored once it is verified. */
function tokensOf({ accessToken, refreshToken, expiresAt, serverEndpoint }: OfferedPair, now: number): StoredTokens {
  const expiry = expiresAt ?? now + ACCESS_TOKEN_MS;
  return {
    owner: "user",
    accessToken,
    expiresAt: expiry,
    scope: [],
    // A pair of a later event is newer.
    ts: Math.floor(Math.min(now, expiry - ACCESS_TOKEN_MS) / 1000),
    ...defined({ refreshToken, server: originOf(serverEndpoint) }),
  };
}

function pairOf(
  { accessToken, refreshToken, expiresAt, scope, userId, server }: RefreshedTokens,
  now: number,
): StoredTokens {
  return {
    ...{ owner: "user", accessToken, refreshToken, expiresAt, scope, server },
    ...{ ts: Math.floor(now / 1000), isVerified: true },
    ...defined({ userId }),
  };
}
