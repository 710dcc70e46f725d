/** Builds the credentials of an app's portals: the public provider, and what only the core uses. */
import { abortable } from "../async/abortable.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import { checkOptions } from "../check_options.ts";
import type { AppInfo, RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { defined } from "../defined.ts";
import { NoCredentialsError } from "../errors.ts";
import { type RecordAccess, storedRecord } from "../portal/record_access.ts";
import { type AdoptedPairs, createAdoptedPairs } from "./adopted_pairs.ts";
import { isSettled, rankTokens, type StoredTokens } from "../portal/tokens.ts";
import type { Secret } from "../secret.ts";
import {
  CALL_RULES,
  CREDENTIALS_RULES,
  type CredentialsOptions,
  type PortalCredentials,
  type PortalCredentialsProvider,
} from "./contract.ts";
import { createFollow } from "./follow.ts";
import { createIssuedTokens } from "./issued_tokens.ts";
import type { KnownCredentials } from "./known.ts";
import { createPortalCall } from "./portal_call.ts";
import { createRefresh, createRefreshForeign, type Refresh } from "./refresh.ts";
import { recordRefusal } from "./refusals.ts";
import { createRehearsalProvider, type RunWriting } from "./rehearsal.ts";
import { createSelect, type SelectCredentials } from "./select.ts";
import { appKeys, type CredentialsSettings, noCredentials } from "./settings.ts";
import { createTokenVerifier, type TokenVerifier } from "./verify_tokens.ts";

/** The credentials of an app's portals. */
export interface AppCredentials {
  /** The public part, for plugins and the vendor's code. */
  readonly provider: PortalCredentialsProvider;
  /** Returns the public part for one rehearsal of a portal, which stores nothing but refreshed token pairs. */
  readonly forRehearsal: (memberId: string) => PortalCredentialsProvider;
  /** Returns the access tokens of a portal that were issued last. */
  readonly issued: (memberId: string) => readonly Secret[];
  /**
   * Refreshes a token pair that is not in a record; absent without `clientSecret`.
   *
   * @throws {B24Error} if an OAuth host refuses the refresh token
   * @throws {UnreachableError} if no complete pair was received
   */
  readonly refreshForeign?: (refreshToken: Secret, serverEndpoint: string | undefined) => Promise<RefreshedTokens>;
  /** Token pairs of portals that are not adopted yet. */
  readonly adoptedPairs: AdoptedPairs;
  /** Calls `app.info` with a token of the portal, and applies the answer to its record. */
  readonly inspect: (access: RecordAccess, options?: CredentialsOptions) => Promise<AppInfo>;
}

/**
 * Returns the credentials of the portals in the settings' storage, which `known` watches. `runWriting` runs the refreshes of
 * rehearsals, which write.
 */
export function createCredentials(
  settings: CredentialsSettings,
  known: KnownCredentials,
  runWriting: RunWriting = (work) => work(),
): AppCredentials {
  const issued = createIssuedTokens();
  const refreshPair = createRefresh(settings);
  const verifier = createTokenVerifier(settings, refreshPair);
  const select = createSelect(settings, { refresh: refreshPair, verifier, issued, known });
  const accessTo = (memberId: string): RecordAccess => storedRecord(settings.storage, memberId);

  const get: PortalCredentialsProvider["get"] = async (memberId, { signal } = {}) => {
    signal?.throwIfAborted();
    const inMemory = known.get(memberId);
    if (inMemory !== undefined) {
      issued.issue(memberId, inMemory.accessToken.reveal());
      return inMemory;
    }
    const credentials = await select(accessTo(memberId), undefined, signal);
    if (credentials === undefined) throw noCredentials(settings, memberId);
    return credentials;
  };

  const refresh: PortalCredentialsProvider["refresh"] = async (memberId, refused, { signal } = {}) => {
    const access = accessTo(memberId);
    const record = await access.load();
    const isRefused = ({ accessToken }: StoredTokens): boolean => refused.accessToken.equals(accessToken);
    const tokens = record.tokens?.find(isRefused);
    if (tokens !== undefined && appKeys(settings) !== undefined) {
      await abortable(refreshPair(access, tokens), signal);
    }
    const credentials = await select(access, (tokens) => isUserOf(refused, tokens) && !isRefused(tokens), signal) ??
      await select(access, (tokens) => !isRefused(tokens), signal);
    if (credentials === undefined) throw noCredentials(settings, memberId);
    return credentials;
  };

  const call = createPortalCall({
    get,
    refresh,
    otherUser: (memberId, denied, { signal }) =>
      select(accessTo(memberId), (tokens) => !denied.some((credentials) => isUserOf(credentials, tokens)), signal),
    follow: createFollow(settings, verifier),
    recordRefusal: (memberId, error, { accessToken }) =>
      recordRefusal(settings, accessTo(memberId), error, { accessToken: accessToken.reveal() }),
    log: settings.log,
  });

  return {
    provider: withCheckedOptions({ get, refresh, call }),
    forRehearsal: (memberId) =>
      createRehearsalProvider(settings, { refresh: refreshPair, issued, known, runWriting, isUserOf }, memberId),
    issued: issued.of,
    ...defined({ refreshForeign: createRefreshForeign(settings) }),
    adoptedPairs: createAdoptedPairs(settings),
    inspect: createInspect(settings, { verifier, select, refresh: refreshPair }),
  };
}

/** Returns the provider for callers outside of the core, whose options may be wrong. */
function withCheckedOptions({ get, refresh, call }: PortalCredentialsProvider): PortalCredentialsProvider {
  return {
    get: async (memberId, options = {}) => {
      checkOptions("cannot get credentials", options, CREDENTIALS_RULES);
      return await get(memberId, options);
    },
    refresh: async (memberId, refused, options = {}) => {
      checkOptions("cannot refresh credentials", options, CREDENTIALS_RULES);
      return await refresh(memberId, refused, options);
    },
    call: async (memberId, attempt, options = {}) => {
      checkOptions("cannot call a portal", options, CALL_RULES);
      return await call(memberId, attempt, options);
    },
  };
}

/** Dependencies of {@linkcode createInspect} besides the settings. */
interface InspectOptions {
  readonly verifier: TokenVerifier;
  readonly select: SelectCredentials;
  readonly refresh: Refresh;
}

function createInspect(
  settings: CredentialsSettings,
  { verifier, select, refresh }: InspectOptions,
): AppCredentials["inspect"] {
  const { clock, log } = settings;
  const canRefresh = appKeys(settings) !== undefined;

  /** Verifies a pair, and asks about its user; a failure is not one of the inspection. */
  async function tryToVerify(access: RecordAccess, tokens: StoredTokens): Promise<AppInfo | undefined> {
    try {
      return await verifier.verify(access, tokens);
    } catch (err) {
      const isAboutPair = (err instanceof B24Error && err.blockedOn !== "configuration") ||
        err instanceof NoCredentialsError;
      if (!isAboutPair) throw err;
      log.info("token pair not verified", { event: "credentials.verification_failed", memberId: access.memberId, err });
      return undefined;
    }
  }

  /**
   * Verifies the pairs whose users are not known yet: the valid ones and those that wait for it or, if `byRefresh`, an
   * expired one, by a refresh. Returns an answer about the portal.
   */
  async function verifyOthers(access: RecordAccess, byRefresh: boolean): Promise<AppInfo | undefined> {
    let found: AppInfo | undefined;
    for (const tokens of rankTokens((await access.load()).tokens, clock())) {
      const isExpired = tokens.expiresAt <= clock();
      const waits = tokens.pending !== undefined && canRefresh;
      const isNext = byRefresh ? isExpired && tokens.isVerified !== true : !isSettled(tokens) && (!isExpired || waits);
      if (!isNext) continue;
      found = await tryToVerify(access, tokens) ?? found;
      if (byRefresh && found !== undefined) break;
    }
    return found;
  }

  /** Asks with a verified pair: only about such a pair is a refusal about this portal. */
  async function askVerified(access: RecordAccess, signal: AbortSignal | undefined): Promise<AppInfo | undefined> {
    for (const isLast of [false, true]) {
      const credentials = await select(access, ({ isVerified }) => isVerified === true, signal);
      const tokens = (await access.load()).tokens
        ?.find(({ accessToken }) => credentials?.accessToken.equals(accessToken));
      if (tokens === undefined) return undefined;
      try {
        const info = await verifier.appInfo(access, tokens, signal);
        if (info !== undefined) return info;
      } catch (error) {
        const isRefused = error instanceof B24Error && error.blockedOn === "authorization";
        if (!isRefused || isLast) throw error;
        await abortable(refresh(access, tokens), signal);
      }
    }
    return undefined;
  }

  return async (access, { signal } = {}) => {
    // Unverified pairs first: they are the newest.
    const info = await verifyOthers(access, false) ?? await askVerified(access, signal) ??
      await verifyOthers(access, true) ?? await askVerified(access, signal);
    if (info === undefined) throw noCredentials(settings, access.memberId);
    return info;
  };
}

/** Whether `tokens` belong to the user of `credentials`. */
function isUserOf(credentials: PortalCredentials, { owner, userId }: StoredTokens): boolean {
  return credentials.isSystemUser ? owner === "system" : owner === "user" && credentials.userId === userId;
}
