/** Access to portals over their records: tokens are proved before they are used, and renewed by one process at a time. */
import { abortable } from "../async/abortable.ts";
import { coalesce } from "../async/coalesce.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import { isCloudHost, portalAddress } from "../bitrix24/hosts.ts";
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import { AddressError, NoCredentialsError, UnreachableError } from "../errors.ts";
import { changePortal, loadPortal, type PortalRecord } from "../portal/record.ts";
import { ownerOf, ranked, type StoredTokens, withTokens } from "../portal/tokens.ts";
import { Secret } from "../secret.ts";
import type { CredentialsOptions, PortalCredentials, PortalCredentialsProvider } from "./contract.ts";
import { createRefresher, type RefreshSettings } from "./refresh.ts";
import { withInfo } from "./store.ts";

/** What access is given out with. */
export interface CredentialsSettings extends RefreshSettings {
  /** Hosts of portals besides those of the cloud. */
  readonly extraPortalHosts: readonly string[];
}

/** What the core asks besides what plugins can. */
export interface CoreCredentials extends PortalCredentialsProvider {
  /** The access tokens of a portal that were given out last. */
  readonly issued: (memberId: string) => readonly Secret[];
  /** Asks an OAuth host about a portal, and remembers what it says. */
  readonly inspect: (memberId: string, options?: CredentialsOptions) => Promise<AppInfo>;
}

/** Portals whose given tokens are remembered, and how many of each. */
const REMEMBERED = 1000;
const GIVEN = 4;
/** An access token that ends this soon is renewed before it is used, in milliseconds. */
const EARLY_MS = 60_000;

/** Of the portals in `storage`. */
export function createCredentials(settings: CredentialsSettings): CoreCredentials {
  const { storage, clock, log, oauth, clientId, extraPortalHosts } = settings;
  const { canRefresh, refresh, drop, refused, none } = createRefresher(settings);
  /** What is under way in this process, so that many askers are one. */
  const proofs = new Map<string, Promise<AppInfo | undefined>>();
  const given = new Map<string, readonly Secret[]>();
  const load = (memberId: string): Promise<PortalRecord> => loadPortal(storage, memberId);

  /** Gives `record`'s access by `tokens`, if there is all that it takes. */
  function accessBy(record: PortalRecord, tokens: StoredTokens): PortalCredentials | undefined {
    const { clientEndpoint } = record;
    if (clientEndpoint === undefined || tokens.isVerified !== true) return undefined;
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

  /**
   * Finds out whose `tokens` are, and remembers it; those that are not this portal's are dropped. Resolves to what was
   * said of the portal, if it was.
   */
  function prove(memberId: string, tokens: StoredTokens): Promise<AppInfo | undefined> {
    return coalesce(proofs, `${memberId} ${tokens.accessToken}`, async () => {
      if (tokens.expiresAt <= clock()) return void await refresh(memberId, tokens);
      try {
        return await ask(memberId, tokens);
      } catch (error) {
        if (!(error instanceof B24Error)) throw error;
        const code = error.b24Code.toLowerCase();
        if (code === "expired_token" || code === "invalid_token" || code === "no_auth_found") {
          return void await refresh(memberId, tokens);
        }
        if (code === "wrong_client") return void await drop(memberId, tokens, "they are another app's");
        throw error;
      }
    });
  }

  /**
   * `app.info` with `tokens`, and what it says into the record; `undefined` if they are others', and dropped, or if the
   * portal has them no more.
   */
  async function ask(memberId: string, tokens: StoredTokens, signal?: AbortSignal): Promise<AppInfo | undefined> {
    let info: AppInfo;
    try {
      info = await oauth.appInfo(new Secret(tokens.accessToken), tokens.server, signal);
    } catch (error) {
      // Of a token that is not proved, this may be about another portal.
      if (error instanceof B24Error && tokens.isVerified === true) await refused(memberId, error, tokens);
      throw error;
    }
    const isOurs = info.memberId === memberId && (clientId === undefined || info.clientId === clientId);
    if (!isOurs) {
      await drop(memberId, tokens, info.memberId === memberId ? "they are another app's" : "they are another portal's");
      return undefined;
    }
    let isOutdated = false;
    await changePortal(storage, memberId, (record) => {
      const known = record.tokens?.find(({ accessToken }) => accessToken === tokens.accessToken);
      isOutdated = known === undefined;
      if (known === undefined) return record;
      const { userId = tokens.userId, tokenScope } = info;
      const proved = withTokens(record.tokens, {
        ...known,
        owner: ownerOf(record.tokens, known, userId),
        ...(userId === undefined ? {} : { userId }),
        ...(tokenScope.length === 0 ? {} : { scope: tokenScope }),
        isVerified: true,
      });
      return withInfo({ ...record, ...(proved === undefined ? {} : { tokens: proved }) }, info, clock());
    });
    // Of an installation that has gone since, it says nothing about the one that followed.
    return isOutdated ? undefined : info;
  }

  /** The tokens that can be used now, the best first. */
  function usable({ tokens }: PortalRecord): StoredTokens[] {
    return ranked(tokens, clock()).filter(({ expiresAt }) => canRefresh || expiresAt > clock());
  }

  /** The best of those that `isMeant`; proves and renews what it must. */
  async function best(
    memberId: string,
    isMeant: (tokens: StoredTokens) => boolean,
    signal?: AbortSignal,
  ): Promise<PortalCredentials | undefined> {
    const failed = new Set<string>();
    /** Whose pair this call has renewed: that it ends soon again is no reason to renew it once more. */
    const renewed = new Set<string>();
    let failure: unknown;
    // Each round proves, renews or drops a pair, so there are not more than there can be pairs.
    for (let round = 0; round < ROUNDS; round++) {
      signal?.throwIfAborted();
      const record = await load(memberId);
      if (record.status === "uninstalled") {
        throw new NoCredentialsError(memberId, "installation", "the app was removed from it");
      }
      const [first] = usable(record).filter((tokens) => isMeant(tokens) && !failed.has(tokens.accessToken))
        .sort((a, b) => urgency(b) - urgency(a));
      if (first === undefined && failure !== undefined) throw failure;
      if (first === undefined) return undefined;
      const who = `${first.owner} ${first.userId}`;
      const endsSoon = canRefresh && first.refreshToken !== undefined && first.expiresAt - EARLY_MS <= clock() &&
        !renewed.has(who);
      if (first.isVerified !== true) {
        try {
          await abortable(prove(memberId, first), signal);
        } catch (error) {
          signal?.throwIfAborted();
          failure ??= error;
          failed.add(first.accessToken);
        }
      } else if (endsSoon) {
        renewed.add(who);
        try {
          await abortable(refresh(memberId, first), signal);
        } catch (error) {
          if (!(error instanceof UnreachableError)) throw error;
          // It is good for some seconds yet, or that of another is.
          const access = first.expiresAt > clock() ? accessBy(record, first) : undefined;
          if (access !== undefined) return access;
          failure ??= error;
          failed.add(first.accessToken);
        }
      } else {
        const access = accessBy(record, first);
        if (access !== undefined) return access;
        const info = await ask(memberId, first, signal);
        if (info !== undefined && info.clientEndpoint === undefined) {
          throw new NoCredentialsError(memberId, "authorization", "no OAuth host has said where it is");
        }
      }
    }
    return undefined;
  }

  return {
    get: async (memberId, { signal } = {}) => {
      const access = await best(memberId, anybody, signal);
      if (access === undefined) throw none(memberId);
      return access;
    },
    refresh: async (memberId, spent, { signal } = {}) => {
      const record = await load(memberId);
      const tokens = record.tokens?.find(({ accessToken }) => spent.accessToken.equals(accessToken));
      if (tokens !== undefined && canRefresh) await abortable(refresh(memberId, tokens), signal);
      const isNew = ({ accessToken }: StoredTokens): boolean => !spent.accessToken.equals(accessToken);
      const access = await best(memberId, (tokens) => isOf(spent, tokens) && isNew(tokens), signal) ??
        await best(memberId, isNew, signal);
      if (access === undefined) throw none(memberId);
      return access;
    },
    another: (memberId, tried, { signal } = {}) =>
      best(memberId, (tokens) => !tried.some((access) => isOf(access, tokens)), signal),
    moved: async (memberId, access, location, { signal } = {}) => {
      // Of an address that is none, the guard says so.
      const root = URL.canParse("/rest/", location) ? new URL("/rest/", location).href : location;
      const address = portalAddress(root, { hosts: extraPortalHosts });
      if (!isCloudHost(address.hostname) && !extraPortalHosts.includes(address.host)) {
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
      await changePortal(storage, memberId, (record) => {
        // An OAuth host has said something newer, or another call was faster.
        if (record.clientEndpoint !== access.clientEndpoint) return record;
        return { ...record, clientEndpoint: address.href };
      });
      return { ...access, clientEndpoint: address.href };
    },
    refused,
    issued: (memberId) => given.get(memberId) ?? [],
    inspect: async (memberId, { signal } = {}) => {
      // First what has not been proved: it is the newest, and often better than what is stored.
      for (const tokens of ranked((await load(memberId)).tokens, clock())) {
        if (tokens.isVerified === true || tokens.expiresAt <= clock()) continue;
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
          const isSpent = error instanceof B24Error && error.blockedOn === "authorization";
          if (!isSpent || round > 0) throw error;
          await abortable(refresh(memberId, tokens), signal);
        }
      }
      throw none(memberId);
    },
  };

  async function attempt<T>(run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof B24Error || error instanceof NoCredentialsError)) throw error;
      log.info("tokens of an event could not be proved", { error });
      return undefined;
    }
  }
}

const ROUNDS = 16;

/** Which pair is tried first: the system user's is worth a proof, and those of people are when there is no other. */
function urgency({ owner, isVerified }: StoredTokens): number {
  if (owner === "system") return 2;
  return isVerified === true ? 1 : 0;
}

function anybody(): boolean {
  return true;
}

function isOf(access: PortalCredentials, { owner, userId }: StoredTokens): boolean {
  return access.isSystemUser ? owner === "system" : owner === "user" && access.userId === userId;
}
