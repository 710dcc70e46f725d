/** Refreshes the token pairs of portals, one process at a time for each portal. */
import { coalesce } from "../async/coalesce.ts";
import { delay } from "../async/time.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import { meaningOf } from "../bitrix24/error_codes.ts";
import type { RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { StorageError, UnknownPortalError, UnreachableError } from "../errors.ts";
import type { PortalRecord } from "../portal/record.ts";
import { type RecordAccess, storedRecord } from "../portal/record_access.ts";
import { changePortal } from "../portal/record_store.ts";
import type { StoredTokens } from "../portal/tokens.ts";
import { Secret } from "../secret.ts";
import { createRefreshLock } from "./refresh_lock.ts";
import { dropTokens, recordRefusal } from "./refusals.ts";
import { type AppKeys, appKeys, type CredentialsSettings, noCredentials } from "./settings.ts";
import { isCurrent, withRefreshed } from "./store.ts";

/**
 * Refreshes a token pair, or waits for the process that refreshes it. Afterwards the pair is replaced in the record, or
 * gone from it.
 *
 * @throws {NoCredentialsError} if the app has no `clientSecret`
 * @throws {B24Error} if an OAuth host refuses for a reason other than an invalid refresh token
 * @throws {UnreachableError} if no complete pair was received
 */
export type Refresh = (access: RecordAccess, tokens: StoredTokens) => Promise<void>;

/** Attempts to store a new pair, which cannot be requested a second time, and the delay before the second one. */
const STORE_ATTEMPTS = 5;
const STORE_DELAY_MS = 200;

/** Returns the function that refreshes token pairs of the portals in the settings' storage. */
export function createRefresh(settings: CredentialsSettings): Refresh {
  const { clock, random, log } = settings;
  const lock = createRefreshLock(settings);
  /** Refreshes of this process that are under way. */
  const running = new Map<string, Promise<void>>();
  /** Pairs that could not be stored, by the refresh token that they were requested with. */
  const unstored = new Map<string, RefreshedTokens>();

  /** Resolves to whether the new pair was stored, and the lock released, in one write. */
  async function refreshUnderLock(
    access: RecordAccess,
    tokens: StoredTokens,
    keys: AppKeys,
    lockId: string,
    generation: number,
  ): Promise<boolean> {
    const { memberId } = access;
    const { owner, userId, refreshToken } = tokens;
    if (refreshToken === undefined) {
      await dropTokens(settings, access, tokens, "the access token has expired");
      return false;
    }
    const refreshed = unstored.get(refreshToken) ??
      await requestTokens(settings, access, tokens, refreshToken, keys);
    if (refreshed === undefined) return false;
    if (refreshed.memberId !== memberId) {
      if (tokens.isVerified === true) throw wrongOwner(memberId, refreshed);
      await passToOwner(settings, refreshToken, refreshed);
      await dropTokens(settings, access, tokens, "the pair is another portal's");
      return false;
    }
    unstored.set(refreshToken, refreshed);
    const change = (record: PortalRecord): PortalRecord => {
      const { refreshing, ...rest } = withRefreshed(record, generation, tokens, refreshed, clock());
      return refreshing === undefined || refreshing.id === lockId ? rest : { ...rest, refreshing };
    };
    await storePair(settings, () => changePortal(settings.storage, memberId, change));
    unstored.delete(refreshToken);
    log.info("token pair refreshed", { event: "credentials.refreshed", memberId, owner, userId });
    return true;
  }

  async function refreshNow(access: RecordAccess, tokens: StoredTokens): Promise<void> {
    const { memberId } = access;
    const keys = appKeys(settings);
    if (keys === undefined) throw noCredentials(settings, memberId);
    const lockId = random();
    const generation = await lock.acquire(memberId, tokens, lockId);
    if (generation === undefined) return;
    let isReleased = false;
    try {
      isReleased = await refreshUnderLock(access, tokens, keys, lockId, generation);
    } finally {
      if (!isReleased) await lock.release(memberId, lockId);
    }
  }

  return (access, tokens) => {
    const { memberId, isLeased, runOnStored } = access;
    const stored = isLeased ? storedRecord(settings.storage, memberId) : access;
    return runOnStored(() => coalesce(running, `${memberId} ${tokens.accessToken}`, () => refreshNow(stored, tokens)));
  };
}

/** Requests a new pair. Resolves to `undefined` if the refresh token is invalid: then the pair is dropped, or was replaced. */
async function requestTokens(
  settings: CredentialsSettings,
  access: RecordAccess,
  tokens: StoredTokens,
  refreshToken: string,
  keys: AppKeys,
): Promise<RefreshedTokens | undefined> {
  try {
    return await settings.oauth.refresh(new Secret(refreshToken), keys, tokens.server);
  } catch (error) {
    if (!(error instanceof B24Error)) throw error;
    if (meaningOf(error.b24Code).refusesRefreshToken !== true) {
      if (tokens.isVerified === true) await recordRefusal(settings, access, error, tokens);
      throw error;
    }
    // A process without this lock may have refreshed the pair and stored the new one.
    if (isCurrent(await access.load(), tokens)) {
      await dropTokens(settings, access, tokens, "the OAuth host refuses the refresh token");
    }
    return undefined;
  }
}

/** Returns the error for a pair of another portal, although an OAuth host has said that the old one is this portal's. */
function wrongOwner(memberId: string, { server }: RefreshedTokens): UnreachableError {
  return new UnreachableError(
    `${server} answered with the tokens of another portal, wanted those of portal ${memberId}`,
  );
}

/** Returns the function that refreshes pairs of events that are not verified yet; `undefined` without the app's keys. */
export function createRefreshForeign(
  settings: CredentialsSettings,
): ((refreshToken: Secret, serverEndpoint: string | undefined) => Promise<RefreshedTokens>) | undefined {
  const keys = appKeys(settings);
  if (keys === undefined) return undefined;
  return async (refreshToken, serverEndpoint) => {
    const refreshed = await settings.oauth.refresh(refreshToken, keys, serverEndpoint);
    // The pair of the event may be a stored one, which the refresh has invalidated.
    await passToOwner(settings, refreshToken.reveal(), refreshed);
    return refreshed;
  };
}

/**
 * Stores a pair that was refreshed by mistake for the portal that owns it: the refresh has invalidated the stored pair.
 * Resolves to whether the portal had that pair.
 */
export async function passToOwner(
  { storage, clock }: CredentialsSettings,
  refreshToken: string,
  refreshed: RefreshedTokens,
): Promise<boolean> {
  let isOwned = false;
  try {
    await changePortal(storage, refreshed.memberId, (record) => {
      const own = record.tokens?.find((tokens) => tokens.refreshToken === refreshToken);
      isOwned = own !== undefined;
      return own === undefined ? record : withRefreshed(record, record.generation, own, refreshed, clock());
    });
  } catch (error) {
    if (!(error instanceof UnknownPortalError)) throw error;
  }
  return isOwned;
}

/** Runs a write of a new pair, and again if the storage is down. */
export async function storePair({ time }: CredentialsSettings, write: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1;; attempt++) {
    try {
      return void await write();
    } catch (error) {
      if (!(error instanceof StorageError) || attempt === STORE_ATTEMPTS) throw error;
      await delay(time, STORE_DELAY_MS * 2 ** (attempt - 1));
    }
  }
}
