/** Renewing the tokens of portals: in whatever number of processes, one at a time does it for a portal. */
import { coalesce } from "../async/coalesce.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import type { OAuth, RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { NoCredentialsError, StorageError, UnknownPortalError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { changePortal, loadPortal, type PortalRecord } from "../portal/record.ts";
import type { StoredTokens } from "../portal/tokens.ts";
import { BLOCKED_RETRY_MS } from "../retry.ts";
import { Secret } from "../secret.ts";
import type { Storage } from "../storage/storage.ts";
import { isCurrent, without, withRefreshed } from "./store.ts";

/** What tokens are renewed with. */
export interface RefreshSettings {
  readonly storage: Storage;
  readonly clock: () => number;
  readonly random: () => string;
  readonly log: Logger;
  readonly oauth: OAuth;
  /** Milliseconds for which who refreshes is waited for: longer than the OAuth hosts may take together. */
  readonly refreshMs: number;
  readonly clientId?: string;
  readonly clientSecret?: Secret;
}

/** Renews tokens, and remembers what Bitrix24 says of those that cannot be. */
export interface Refresher {
  /** Whether there is all that it takes. */
  readonly canRefresh: boolean;
  /**
   * Has `tokens` renewed: by this process, or by the one that is at it. They are replaced in the record, or gone from it.
   *
   * @throws {B24Error} when an OAuth host refuses for another reason than that they are dead
   * @throws {UnreachableError} when no whole pair came
   */
  readonly refresh: (memberId: string, tokens: StoredTokens) => Promise<void>;
  /** Takes tokens out of the record. */
  readonly drop: (memberId: string, tokens: StoredTokens, why: string) => Promise<void>;
  /** Remembers what is about the portal as a whole; what was said of `tokens` only if it has them still. */
  readonly refused: (memberId: string, error: B24Error, tokens?: StoredTokens) => Promise<void>;
  /** That there is no token to call the portal with. */
  readonly none: (memberId: string) => NoCredentialsError;
}

/** Between two looks at who refreshes. */
const LOOK_MS = 100;
/** How often a new pair is tried to be stored: it cannot be had a second time. */
const STORE_ATTEMPTS = 5;

/** Over the records in `storage`. */
export function createRefresher(settings: RefreshSettings): Refresher {
  const { storage, clock, random, log, oauth, refreshMs, clientId, clientSecret } = settings;
  const canRefresh = clientId !== undefined && clientSecret !== undefined;
  /** What is under way in this process, so that many askers are one. */
  const renewals = new Map<string, Promise<void>>();
  /** Pairs that the storage did not take, by the refresh token that they were got for. */
  const unstored = new Map<string, RefreshedTokens>();
  /** Turns of this process that the storage still shows. */
  const over = new Set<string>();

  async function drop(memberId: string, tokens: StoredTokens, why: string): Promise<void> {
    log.warn(`tokens of a portal are dropped: ${why}`, { memberId, owner: tokens.owner, userId: tokens.userId });
    await changePortal(storage, memberId, (record) => without(record, tokens));
  }

  async function refused(memberId: string, error: B24Error, tokens?: StoredTokens): Promise<void> {
    const { blockedOn } = error;
    if (blockedOn !== "payment" && blockedOn !== "installation") return;
    const now = clock();
    await changePortal(storage, memberId, (record) => {
      if (record.status === "uninstalled" || (tokens !== undefined && !isCurrent(record, tokens))) return record;
      const since = record.blocked?.on === blockedOn ? record.blocked.since : now;
      const message = error.description === "" ? error.b24Code : `${error.b24Code}: ${error.description}`;
      return { ...record, blocked: { on: blockedOn, message, since, nextTryAt: now + BLOCKED_RETRY_MS } };
    });
  }

  const none = (memberId: string): NoCredentialsError =>
    canRefresh
      ? new NoCredentialsError(memberId, "authorization", "no token of it works; the next event with tokens brings one")
      : new NoCredentialsError(
        memberId,
        "configuration",
        "its token has ended, and without clientSecret it cannot be renewed",
      );

  /** Has `tokens` renewed: by this process, or by the one that is at it. */
  function refresh(memberId: string, tokens: StoredTokens): Promise<void> {
    return coalesce(renewals, `${memberId} ${tokens.accessToken}`, () => refreshNow(memberId, tokens));
  }

  async function refreshNow(memberId: string, tokens: StoredTokens): Promise<void> {
    if (clientId === undefined || clientSecret === undefined) throw none(memberId);
    const id = random();
    const generation = await takeTurn(memberId, tokens, id);
    if (generation === undefined) return;
    let isDone = false;
    try {
      const { refreshToken, server } = tokens;
      if (refreshToken === undefined) return await drop(memberId, tokens, "the access token has ended");
      let renewed: RefreshedTokens;
      try {
        renewed = unstored.get(refreshToken) ??
          await oauth.refresh(new Secret(refreshToken), { clientId, clientSecret }, server);
      } catch (error) {
        if (!(error instanceof B24Error)) throw error;
        if (error.b24Code.toLowerCase() !== "invalid_grant") {
          if (tokens.isVerified === true) await refused(memberId, error, tokens);
          throw error;
        }
        // Whoever was faster has stored what it got.
        if (!isCurrent(await loadPortal(storage, memberId), tokens)) return;
        return await drop(memberId, tokens, "the OAuth host takes the refresh token no more");
      }
      if (renewed.memberId !== memberId) {
        await handOver(refreshToken, renewed);
        return await drop(memberId, tokens, "they are another portal's");
      }
      unstored.set(refreshToken, renewed);
      await stored(memberId, (record) => {
        const { refreshing: _, ...rest } = withRefreshed(record, generation, tokens, renewed, clock());
        return record.refreshing === undefined || record.refreshing.id === id
          ? rest
          : { ...rest, refreshing: record.refreshing };
      });
      unstored.delete(refreshToken);
      isDone = true;
      log.info("tokens of a portal are renewed", { memberId, owner: tokens.owner, userId: tokens.userId });
    } finally {
      if (!isDone) await giveTurnBack(memberId, id);
    }
  }

  /** Gives what was renewed by mistake to whom it belongs: his own pair is dead since. */
  async function handOver(refreshToken: string, renewed: RefreshedTokens): Promise<void> {
    try {
      await changePortal(storage, renewed.memberId, (record) => {
        const own = record.tokens?.find((one) => one.refreshToken === refreshToken);
        return own === undefined ? record : withRefreshed(record, record.generation, own, renewed, clock());
      });
    } catch (error) {
      if (!(error instanceof UnknownPortalError)) throw error;
    }
  }

  /** Stores what cannot be had a second time. */
  async function stored(memberId: string, what: (record: PortalRecord) => PortalRecord): Promise<void> {
    for (let attempt = 1;; attempt++) {
      try {
        return void await changePortal(storage, memberId, what);
      } catch (error) {
        if (!(error instanceof StorageError) || attempt === STORE_ATTEMPTS) throw error;
        await pause(LOOK_MS * 2 ** attempt);
      }
    }
  }

  /**
   * Waits until nobody refreshes tokens of the portal, and says that this one does. Resolves to the generation of the
   * installation that has `tokens`; to `undefined` when they were renewed meanwhile. Whoever died at it is waited for by the
   * clock of this process: those of others may be wrong.
   */
  async function takeTurn(memberId: string, tokens: StoredTokens, id: string): Promise<number | undefined> {
    let seen: string | undefined;
    let since = 0;
    while (true) {
      let isOver = false;
      const record = await changePortal(storage, memberId, (record) => {
        isOver = !isCurrent(record, tokens);
        const other = record.refreshing;
        const isTaken = other !== undefined && !over.has(other.id) && clock() < other.until + BLOCKED_RETRY_MS &&
          !(other.id === seen && performance.now() - since > refreshMs);
        if (isOver || isTaken) return record;
        return { ...record, refreshing: { id, until: clock() + refreshMs } };
      });
      if (isOver) return undefined;
      if (record.refreshing?.id === id) return record.generation;
      if (record.refreshing?.id !== seen) [seen, since] = [record.refreshing?.id, performance.now()];
      await pause(LOOK_MS);
    }
  }

  async function giveTurnBack(memberId: string, id: string): Promise<void> {
    try {
      await changePortal(storage, memberId, (record) => {
        const { refreshing, ...rest } = record;
        return refreshing?.id === id ? rest : record;
      });
    } catch (error) {
      over.add(id);
      log.warn("who refreshes tokens could not be stored", { memberId, error });
    }
  }

  return { canRefresh, refresh, drop, refused, none };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
