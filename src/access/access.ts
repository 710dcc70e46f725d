/** Access to portals over their records: tokens are proved before they are used, and renewed by one process at a time. */
import { AddressError, B24Error, NoAccessError, StorageError, UnknownPortalError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { portalKey, type PortalRecord, readRecord } from "../portal/record.ts";
import { ranked, type StoredTokens, withTokens } from "../portal/tokens.ts";
import { WAIT_MS } from "../retry.ts";
import { Secret } from "../secret.ts";
import { modify } from "../storage/modify.ts";
import type { Storage } from "../storage/storage.ts";
import { isCloudHost, portalAddress } from "./address.ts";
import type { AppInfo, OAuth, RenewedTokens } from "./oauth.ts";
import type { Access, AccessOptions, PortalAccess } from "./portal_access.ts";

/** What access is given out with. */
export interface AccessSettings {
  readonly storage: Storage;
  readonly clock: () => number;
  readonly random: () => string;
  readonly log: Logger;
  readonly oauth: OAuth;
  /** Milliseconds for which who refreshes is waited for: longer than the OAuth hosts may take together. */
  readonly refreshMs: number;
  readonly clientId?: string;
  readonly clientSecret?: Secret;
  /** Hosts of portals besides those of the cloud. */
  readonly portalHosts: readonly string[];
}

/** What the core asks besides what plugins can. */
export interface CoreAccess extends PortalAccess {
  /** The access tokens of a portal that were given out last. */
  readonly given: (memberId: string) => readonly Secret[];
  /** Asks an OAuth host about a portal, and remembers what it says. */
  readonly inspect: (memberId: string, options?: AccessOptions) => Promise<AppInfo>;
}

/** Portals whose given tokens are remembered, and how many of each. */
const REMEMBERED = 1000;
const GIVEN = 4;
/** An access token that ends this soon is renewed before it is used, in milliseconds. */
const EARLY_MS = 60_000;
/** Between two looks at who refreshes. */
const LOOK_MS = 100;
/** How often a new pair is tried to be stored: it cannot be had a second time. */
const STORE_ATTEMPTS = 5;

/** Of the portals in `storage`. */
export function createAccess(settings: AccessSettings): CoreAccess {
  const { storage, clock, random, log, oauth, refreshMs, clientId, clientSecret, portalHosts } = settings;
  /** What is under way in this process, by portal and user, so that many askers are one. */
  const renewals = new Map<string, Promise<void>>();
  const proofs = new Map<string, Promise<AppInfo | undefined>>();
  const given = new Map<string, readonly Secret[]>();
  /** Pairs that the storage did not take, by the refresh token that they were got for. */
  const unstored = new Map<string, RenewedTokens>();
  /** Turns of this process that the storage still shows. */
  const over = new Set<string>();

  async function load(memberId: string): Promise<PortalRecord> {
    const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
    if (record === undefined) throw new UnknownPortalError(memberId);
    return record;
  }

  async function change(memberId: string, what: (record: PortalRecord) => PortalRecord): Promise<PortalRecord> {
    const written = await modify<PortalRecord>(storage, portalKey(memberId), (entry) => {
      const record = readRecord(entry);
      if (record === undefined) throw new UnknownPortalError(memberId);
      return what(record);
    });
    return written!.value;
  }

  /** Gives `record`'s access by `tokens`, if there is all that it takes. */
  function accessBy(record: PortalRecord, tokens: StoredTokens): Access | undefined {
    const { clientEndpoint } = record;
    if (clientEndpoint === undefined || tokens.isProved !== true) return undefined;
    const accessToken = remembered(record.memberId, new Secret(tokens.accessToken));
    return {
      clientEndpoint,
      accessToken,
      expiresAt: tokens.expiresAt,
      isSystemUser: tokens.owner === "system",
      ...(tokens.userId === undefined ? {} : { userId: tokens.userId }),
      scope: tokens.scope,
    };
  }

  function remembered(memberId: string, token: Secret): Secret {
    const known = given.get(memberId) ?? [];
    const same = known.find((one) => one.equals(token));
    if (same !== undefined) return same;
    if (given.size >= REMEMBERED) given.clear();
    given.set(memberId, [token, ...known.slice(0, GIVEN - 1)]);
    return token;
  }

  function once<T>(running: Map<string, Promise<T>>, name: string, run: () => Promise<T>): Promise<T> {
    const known = running.get(name);
    if (known !== undefined) return known;
    const started = run().finally(() => running.delete(name));
    running.set(name, started);
    return started;
  }

  /**
   * Finds out whose `tokens` are, and remembers it; those that are not this portal's are dropped. Resolves to what was
   * said of the portal, if it was.
   */
  function prove(memberId: string, tokens: StoredTokens): Promise<AppInfo | undefined> {
    return once(proofs, `${memberId} ${tokens.accessToken}`, async () => {
      if (tokens.expiresAt <= clock()) return void await renewTokens(memberId, tokens);
      try {
        return await ask(memberId, tokens);
      } catch (error) {
        if (!(error instanceof B24Error)) throw error;
        const code = error.code.toLowerCase();
        if (code === "expired_token" || code === "invalid_token" || code === "no_auth_found") {
          return void await renewTokens(memberId, tokens);
        }
        if (code === "wrong_client") return void await drop(memberId, tokens, "they are another app's");
        throw error;
      }
    });
  }

  /** `app.info` with `tokens`, and what it says into the record; `undefined`, and they are dropped, if they are others'. */
  async function ask(memberId: string, tokens: StoredTokens, signal?: AbortSignal): Promise<AppInfo | undefined> {
    let info: AppInfo;
    try {
      info = await oauth.appInfo(new Secret(tokens.accessToken), tokens.server, signal);
    } catch (error) {
      // Of a token that is not proved, this may be about another portal.
      if (error instanceof B24Error && tokens.isProved === true) await refused(memberId, error);
      throw error;
    }
    const isOurs = info.memberId === memberId && (clientId === undefined || info.clientId === clientId);
    if (!isOurs) {
      await drop(memberId, tokens, info.memberId === memberId ? "they are another app's" : "they are another portal's");
      return undefined;
    }
    await change(memberId, (record) => {
      const known = record.tokens?.find(({ accessToken }) => accessToken === tokens.accessToken);
      const { userId = tokens.userId, tokenScope } = info;
      const proved = known === undefined ? record.tokens : withTokens(record.tokens, {
        ...known,
        ...(userId === undefined ? {} : { userId }),
        ...(tokenScope.length === 0 ? {} : { scope: tokenScope }),
        isProved: true,
      });
      return withInfo({ ...record, ...(proved === undefined ? {} : { tokens: proved }) }, info, clock());
    });
    return info;
  }

  async function drop(memberId: string, tokens: StoredTokens, why: string): Promise<void> {
    log.warn(`tokens of a portal are dropped: ${why}`, { memberId, owner: tokens.owner, userId: tokens.userId });
    await change(memberId, (record) => without(record, tokens));
  }

  /** Has `tokens` renewed: by this process, or by the one that is at it. */
  function renewTokens(memberId: string, tokens: StoredTokens): Promise<void> {
    return once(renewals, `${memberId} ${tokens.accessToken}`, () => refresh(memberId, tokens));
  }

  async function refresh(memberId: string, tokens: StoredTokens): Promise<void> {
    if (clientId === undefined || clientSecret === undefined) throw none(memberId);
    const id = random();
    const held = await takeTurn(memberId, tokens, id);
    if (!held) return;
    let isDone = false;
    try {
      const { refreshToken, server } = tokens;
      if (refreshToken === undefined) return await drop(memberId, tokens, "the access token has ended");
      let renewed: RenewedTokens;
      try {
        renewed = unstored.get(refreshToken) ??
          await oauth.refresh(new Secret(refreshToken), { clientId, clientSecret }, server);
      } catch (error) {
        if (!(error instanceof B24Error)) throw error;
        if (error.code.toLowerCase() !== "invalid_grant") {
          if (tokens.isProved === true) await refused(memberId, error);
          throw error;
        }
        // Whoever was faster has stored what it got.
        if (!isCurrent(await load(memberId), tokens)) return;
        return await drop(memberId, tokens, "the OAuth host takes the refresh token no more");
      }
      if (renewed.memberId !== memberId) {
        await handOver(refreshToken, renewed);
        return await drop(memberId, tokens, "they are another portal's");
      }
      unstored.set(refreshToken, renewed);
      await stored(memberId, (record) => {
        const { refreshing: _, ...rest } = renewedIn(record, tokens, renewed, clock());
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
  async function handOver(refreshToken: string, renewed: RenewedTokens): Promise<void> {
    try {
      await change(renewed.memberId, (record) => {
        const own = record.tokens?.find((one) => one.refreshToken === refreshToken);
        return own === undefined ? record : renewedIn(record, own, renewed, clock());
      });
    } catch (error) {
      if (!(error instanceof UnknownPortalError)) throw error;
    }
  }

  /** Stores what cannot be had a second time. */
  async function stored(memberId: string, what: (record: PortalRecord) => PortalRecord): Promise<void> {
    for (let attempt = 1;; attempt++) {
      try {
        return void await change(memberId, what);
      } catch (error) {
        if (!(error instanceof StorageError) || attempt === STORE_ATTEMPTS) throw error;
        await pause(LOOK_MS * 2 ** attempt);
      }
    }
  }

  /**
   * Waits until nobody refreshes tokens of the portal, and says that this one does; `false` when `tokens` were renewed
   * meanwhile. Whoever died at it is waited for by the clock of this process: those of others may be wrong.
   */
  async function takeTurn(memberId: string, tokens: StoredTokens, id: string): Promise<boolean> {
    let seen: string | undefined;
    let since = 0;
    while (true) {
      let isOver = false;
      const record = await change(memberId, (record) => {
        isOver = !isCurrent(record, tokens);
        const other = record.refreshing;
        const isTaken = other !== undefined && !over.has(other.id) && clock() < other.until + WAIT_MS &&
          !(other.id === seen && performance.now() - since > refreshMs);
        if (isOver || isTaken) return record;
        return { ...record, refreshing: { id, until: clock() + refreshMs } };
      });
      if (isOver) return false;
      if (record.refreshing?.id === id) return true;
      if (record.refreshing?.id !== seen) [seen, since] = [record.refreshing?.id, performance.now()];
      await pause(LOOK_MS);
    }
  }

  async function giveTurnBack(memberId: string, id: string): Promise<void> {
    try {
      await change(memberId, (record) => {
        const { refreshing, ...rest } = record;
        return refreshing?.id === id ? rest : record;
      });
    } catch (error) {
      over.add(id);
      log.warn("who refreshes tokens could not be stored", { memberId, error });
    }
  }

  const canRenew = clientId !== undefined && clientSecret !== undefined;

  /** The tokens that can be used now, the best first. */
  function usable({ tokens }: PortalRecord): StoredTokens[] {
    return ranked(tokens, clock()).filter(({ expiresAt }) => canRenew || expiresAt > clock());
  }

  /** The best of those that `isMeant`; proves and renews what it must. */
  async function best(
    memberId: string,
    isMeant: (tokens: StoredTokens) => boolean,
    signal?: AbortSignal,
  ): Promise<Access | undefined> {
    const failed = new Set<string>();
    let failure: unknown;
    // Each round proves, renews or drops a pair, so there are not more than there can be pairs.
    for (let round = 0; round < ROUNDS; round++) {
      signal?.throwIfAborted();
      const record = await load(memberId);
      if (record.status === "uninstalled") {
        throw new NoAccessError(memberId, "installation", "the app was removed from it");
      }
      const [first] = usable(record).filter((tokens) => isMeant(tokens) && !failed.has(tokens.accessToken))
        .sort((a, b) => urgency(b) - urgency(a));
      if (first === undefined && failure !== undefined) throw failure;
      if (first === undefined) return undefined;
      const endsSoon = canRenew && first.refreshToken !== undefined && first.expiresAt - EARLY_MS <= clock();
      if (first.isProved !== true) {
        try {
          await abortable(prove(memberId, first), signal);
        } catch (error) {
          signal?.throwIfAborted();
          failure ??= error;
          failed.add(first.accessToken);
        }
      } else if (endsSoon) await abortable(renewTokens(memberId, first), signal);
      else {
        const access = accessBy(record, first);
        if (access !== undefined) return access;
        const info = await ask(memberId, first, signal);
        if (info !== undefined && info.clientEndpoint === undefined) {
          throw new NoAccessError(memberId, "authorisation", "no OAuth host has said where it is");
        }
      }
    }
    return undefined;
  }

  async function refused(memberId: string, error: B24Error): Promise<void> {
    const { waitsFor } = error;
    if (waitsFor !== "payment" && waitsFor !== "installation") return;
    const now = clock();
    await change(memberId, (record) => {
      if (record.status === "uninstalled") return record;
      const since = record.waits?.for === waitsFor ? record.waits.since : now;
      const message = error.description === "" ? error.code : `${error.code}: ${error.description}`;
      return { ...record, waits: { for: waitsFor, message, since, until: now + WAIT_MS } };
    });
  }

  const none = (memberId: string): NoAccessError =>
    canRenew
      ? new NoAccessError(memberId, "authorisation", "no token of it works; the next event with tokens brings one")
      : new NoAccessError(
        memberId,
        "configuration",
        "its token has ended, and without clientSecret it cannot be renewed",
      );

  return {
    get: async (memberId, { signal } = {}) => {
      const access = await best(memberId, anybody, signal);
      if (access === undefined) throw none(memberId);
      return access;
    },
    renew: async (memberId, spent, { signal } = {}) => {
      const record = await load(memberId);
      const tokens = record.tokens?.find(({ accessToken }) => spent.accessToken.equals(accessToken));
      if (tokens !== undefined) await abortable(renewTokens(memberId, tokens), signal);
      const access = await best(memberId, (tokens) => isOf(spent, tokens), signal) ??
        await best(memberId, anybody, signal);
      if (access === undefined || access.accessToken.equals(spent.accessToken)) throw none(memberId);
      return access;
    },
    another: (memberId, tried, { signal } = {}) =>
      best(memberId, (tokens) => !tried.some((access) => isOf(access, tokens)), signal),
    moved: async (memberId, access, location, { signal } = {}) => {
      // Of an address that is none, the guard says so.
      const root = URL.canParse("/rest/", location) ? new URL("/rest/", location).href : location;
      const address = portalAddress(root, { hosts: portalHosts });
      if (!isCloudHost(address.hostname) && !portalHosts.includes(address.host)) {
        const record = await load(memberId);
        const tokens = record.tokens?.find(({ accessToken }) => access.accessToken.equals(accessToken));
        const info = tokens === undefined ? undefined : await ask(memberId, tokens, signal);
        if (info?.clientEndpoint !== address.href) {
          throw new AddressError(
            `cannot follow portal ${memberId} to ${address.host}: no OAuth host says that it is there`,
          );
        }
      }
      log.info("a portal has moved", { memberId, host: address.host });
      await change(memberId, (record) => {
        // An OAuth host has said something newer, or another call was faster.
        if (record.clientEndpoint !== access.clientEndpoint) return record;
        return { ...record, clientEndpoint: address.href };
      });
      return { ...access, clientEndpoint: address.href };
    },
    refused,
    given: (memberId) => given.get(memberId) ?? [],
    inspect: async (memberId, { signal } = {}) => {
      // First what has not been proved: it is the newest, and often better than what is stored.
      for (const tokens of ranked((await load(memberId)).tokens, clock())) {
        if (tokens.isProved === true || tokens.expiresAt <= clock()) continue;
        const info = await attempt(() => prove(memberId, tokens));
        if (info !== undefined) return info;
      }
      for (let round = 0; round < 2; round++) {
        const access = await best(memberId, anybody, signal);
        const tokens = (await load(memberId)).tokens
          ?.find(({ accessToken }) => access?.accessToken.equals(accessToken));
        if (access === undefined || tokens === undefined) throw none(memberId);
        try {
          const info = await ask(memberId, tokens, signal);
          if (info !== undefined) return info;
        } catch (error) {
          const isSpent = error instanceof B24Error && error.waitsFor === "authorisation";
          if (!isSpent || round > 0) throw error;
          await abortable(renewTokens(memberId, tokens), signal);
        }
      }
      throw none(memberId);
    },
  };

  async function attempt<T>(run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof B24Error || error instanceof NoAccessError)) throw error;
      log.info("tokens of an event could not be proved", { error });
      return undefined;
    }
  }
}

const ROUNDS = 16;

/** The record with what an OAuth host said of its portal. */
function withInfo(record: PortalRecord, info: AppInfo, now: number): PortalRecord {
  const { clientEndpoint } = info;
  const { waits, ...rest } = record;
  const isOver = waits === undefined || waits.for === "payment" || waits.for === "installation" ||
    (waits.for === "scope" && info.scope.join() !== record.scope?.join());
  return {
    ...rest,
    ...(isOver ? {} : { waits }),
    ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
    scope: info.scope,
    check: { at: now },
  };
}

/** The record with `renewed` in the place of `tokens`. */
function renewedIn(
  record: PortalRecord,
  tokens: StoredTokens,
  renewed: RenewedTokens,
  now: number,
): PortalRecord {
  // Removed meanwhile: nobody may keep tokens of it.
  if (record.status === "uninstalled") return record;
  const { userId = tokens.userId, scope, clientEndpoint } = renewed;
  const next: StoredTokens = {
    owner: tokens.owner,
    ...(tokens.isAdmin === undefined ? {} : { isAdmin: tokens.isAdmin }),
    ...(userId === undefined ? {} : { userId }),
    accessToken: renewed.accessToken,
    refreshToken: renewed.refreshToken,
    expiresAt: renewed.expiresAt,
    scope: scope.length === 0 ? tokens.scope : scope,
    // Later than the event that brought the pair, whatever the clocks say.
    ts: Math.max(Math.floor(now / 1000), tokens.ts + 1),
    server: renewed.server,
    isProved: true,
  };
  const { waits, ...rest } = without(record, tokens);
  const isOver = waits?.for === "payment" || waits?.for === "authorisation";
  const all = withTokens(rest.tokens, next);
  return {
    ...rest,
    ...(waits === undefined || isOver ? {} : { waits }),
    ...(all === undefined ? {} : { tokens: all }),
    ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
  };
}

function without(record: PortalRecord, { accessToken }: StoredTokens): PortalRecord {
  const tokens = record.tokens?.filter((one) => one.accessToken !== accessToken) ?? [];
  if (tokens.length === (record.tokens?.length ?? 0)) return record;
  const { tokens: _, ...rest } = record;
  return tokens.length === 0 ? rest : { ...rest, tokens };
}

function isCurrent({ tokens }: PortalRecord, { accessToken }: StoredTokens): boolean {
  return tokens?.some((one) => one.accessToken === accessToken) ?? false;
}

/** Which pair is tried first: the system user's is worth a proof, and those of people are when there is no other. */
function urgency({ owner, isProved }: StoredTokens): number {
  if (owner === "system") return 2;
  return isProved === true ? 1 : 0;
}

function anybody(): boolean {
  return true;
}

function isOf(access: Access, { owner, userId }: StoredTokens): boolean {
  return access.isSystemUser ? owner === "system" : owner === "user" && access.userId === userId;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Many may wait for one work: whoever gives up leaves it to the others. */
async function abortable(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return void await work;
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  // When the work is over first, nobody hears of it.
  work.catch(() => {});
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop!);
  }
}
