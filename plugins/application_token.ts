/**
 * Verifies that events come from Bitrix24, for this app and for the portal that they name.
 *
 * @module
 */
import {
  type AppInfo,
  B24Error,
  type B24Event,
  CannotVerifyError,
  type Context,
  digestToken,
  NotAuthenticError,
  type Plugin,
  type PluginHost,
  type Portal,
  Secret,
  type Verification,
} from "../mod.ts";
import { UnreachableError } from "../errors.ts";

/** Options of {@linkcode applicationToken}. */
export interface ApplicationTokenOptions {
  /**
   * Milliseconds for which the previous `application_token` of a portal is accepted after a change. Minimum: 0.
   *
   * @default 86400000 (24 hours)
   */
  readonly graceMs?: number;
  /** Limits how often forged events make the app ask Bitrix24. An event above a limit is answered 503. */
  readonly proofs?: Partial<ProofLimits>;
}

/**
 * Maximum numbers of verifications per minute, in one process. Forged events that use a limit up delay authentic events
 * that need it: new installations (`unknown`), or events of one portal with a changed token (`perPortal`). Events with
 * the stored token need no verification.
 */
export interface ProofLimits {
  /**
   * For one `member_id`. Minimum: 0.
   *
   * @default 6
   */
  readonly perPortal: number;
  /**
   * For all stored portals together. Minimum: 0.
   *
   * @default 300
   */
  readonly known: number;
  /**
   * For all other `member_id`s together; invented ones cannot use up the limit of stored portals. Minimum: 0.
   *
   * @default 120
   */
  readonly unknown: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** The maximum number of tokens whose digests are cached; each takes about 200 bytes. */
const MAX_CACHED_TOKENS = 1000;

/**
 * Returns a plugin that verifies events by their `application_token`:
 *
 * | stored token | event | decision |
 * |---|---|---|
 * | equal, or the previous one within `graceMs` | any | accepted |
 * | different | has an access token | verified, then the new token is stored |
 * | different | has none, or is ONAPPUNINSTALL, which an access token cannot verify | refused |
 * | none: the portal is unknown or was removed | has an access token | verified, then the portal is stored |
 * | none: the portal is unknown | has no access token, or is ONAPPUNINSTALL | refused |
 * | equal, but the portal was removed | ONAPPINSTALL without an access token | refused |
 *
 * Verified means: one of the OAuth hosts of `createApp` confirms that the access token belongs to this app (`clientId`) on
 * this portal (`member_id`). The portal's address is taken from that answer, never from the event. If no host answers, the
 * event is answered 503, never 403.
 *
 * Needs `clientId` in `createApp`: without it, the app does not start.
 *
 * @throws {TypeError} if a number in the options is out of range
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import assert from "node:assert/strict";
 *
 * const app = createApp({ storage: memoryStorage() }).use(applicationToken());
 * await assert.rejects(app.start(), /needs clientId/);
 * ```
 */
export function applicationToken(options: ApplicationTokenOptions = {}): Plugin {
  const { graceMs = DAY_MS, proofs = {} } = options;
  const { perPortal = 6, known = 300, unknown = 120 } = proofs;
  const limits = { perPortal, known, unknown };
  // NaN and Infinity would limit nothing.
  for (const [name, value] of Object.entries({ graceMs, ...limits })) {
    if (!(value >= 0 && value < Infinity)) {
      throw new TypeError(`cannot verify with ${name} ${value}, wanted a number from 0`);
    }
  }
  const isStored = createTokenMatcher(graceMs);
  let verify: Verify | undefined;
  return {
    name: "application-token",
    phase: "verify",
    setup: (host) => {
      verify = createVerify(host, limits);
    },
    around: async (ctx: Context, next) => {
      const { event, portal } = ctx;
      const { applicationToken, accessToken } = event.auth;
      const isKnownToken = await isStored(applicationToken, portal, ctx.receivedAt);
      // The token of an earlier installation does not suffice to reinstall a removed portal.
      const reinstalls = portal?.status !== "installed" && (accessToken !== undefined || event.name === "ONAPPINSTALL");
      if (isKnownToken && !reinstalls) return await next();
      // An access token shows that the app is installed: the opposite of a removal.
      if (accessToken === undefined || event.name === "ONAPPUNINSTALL") {
        const reason = portal === undefined
          ? "the portal is unknown"
          : isKnownToken
          ? "the portal was removed"
          : "application_token is not the stored one";
        throw new NotAuthenticError(`${reason}, and no access token can verify ${event.name}`);
      }
      const verification = await verify!(event, portal);
      ctx.log.debug("access token verified", { event: "token.verified", isKnownPortal: portal !== undefined });
      await next({ ...verification, ...(applicationToken === undefined ? {} : { applicationToken }) });
    },
  };
}

type TokenMatcher = (token: Secret | undefined, portal: Portal | undefined, now: number) => Promise<boolean>;

/** Returns whether a token is the stored one of a portal, or its previous one within the grace period. */
function createTokenMatcher(graceMs: number): TokenMatcher {
  /** Accepted tokens by digest: hashing would cost more than everything else about an event. */
  const cache = new Map<string, Secret>();

  async function matches(digest: string, token: Secret): Promise<boolean> {
    const cached = cache.get(digest);
    if (cached !== undefined) return cached.equals(token);
    if (!new Secret(digest).equals(await digestToken(token))) return false;
    if (cache.size >= MAX_CACHED_TOKENS) cache.clear();
    cache.set(digest, token);
    return true;
  }

  return async (token, portal, now) => {
    const stored = portal?.applicationToken;
    if (token === undefined || stored === undefined) return false;
    if (await matches(stored.current, token)) return true;
    const { previous } = stored;
    return previous !== undefined && now - previous.replacedAt < graceMs && await matches(previous.digest, token);
  };
}

/** Verifies an event by its access token. */
type Verify = (event: B24Event, portal: Portal | undefined) => Promise<Verification>;

function createVerify({ clientId, appInfo, clock, log }: PluginHost, limits: ProofLimits): Verify {
  if (clientId === undefined || clientId === "") {
    throw new TypeError("cannot start: applicationToken() needs clientId in createApp(), to verify access tokens");
  }
  const takeFromBudget = createBudget(limits, clock);
  const pending = new Map<string, Promise<AppInfo>>();

  /** Copies of one event share a request. */
  function ownerOf(token: Secret, serverEndpoint: string | undefined): Promise<AppInfo> {
    const key = token.reveal();
    const server = URL.canParse(serverEndpoint ?? "") ? new URL(serverEndpoint!).origin : undefined;
    const request = pending.get(key) ?? ask(token, server).finally(() => pending.delete(key));
    pending.set(key, request);
    return request;
  }

  async function ask(token: Secret, server: string | undefined): Promise<AppInfo> {
    try {
      return await appInfo(token, server);
    } catch (error) {
      if (error instanceof B24Error && error.failsVerification) {
        throw new NotAuthenticError(`the OAuth host refuses the access token: ${error.b24Code}`);
      }
      if (!(error instanceof B24Error || error instanceof UnreachableError)) throw error;
      throw new CannotVerifyError(error.message);
    }
  }

  return async (event, portal) => {
    const { memberId, accessToken, serverEndpoint } = event.auth;
    if (!pending.has(accessToken!.reveal()) && !takeFromBudget(memberId, portal !== undefined)) {
      throw new CannotVerifyError("too many verifications in this minute");
    }
    const info = await ownerOf(accessToken!, serverEndpoint);
    if (!new Secret(info.clientId).equals(clientId)) {
      throw new NotAuthenticError("the access token belongs to another app");
    }
    if (info.memberId !== memberId) throw new NotAuthenticError("the access token belongs to another portal");
    const { clientEndpoint, version, userId, tokenScope, scope } = info;
    if (clientEndpoint === undefined) {
      log.warn("OAuth host reported no portal address", { event: "oauth.address_missing", memberId });
    }
    return {
      ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
      ...(version === undefined ? {} : { installedVersion: version }),
      scope,
      tokens: { scope: tokenScope, ...(userId === undefined ? {} : { userId }) },
    };
  };
}

/** Takes one verification from the budget of the current minute. Returns `false` if it is used up. */
type Budget = (memberId: string, isKnown: boolean) => boolean;

/** Returns a budget. Its memory is bounded by the number of verifications that it grants. */
function createBudget(limits: ProofLimits, clock: () => number): Budget {
  let minute = 0;
  let counts = { known: 0, unknown: 0 };
  let perPortal = new Map<string, number>();
  return (memberId, isKnown) => {
    const now = Math.floor(clock() / 60_000);
    if (now !== minute) [minute, counts, perPortal] = [now, { known: 0, unknown: 0 }, new Map()];
    const kind = isKnown ? "known" : "unknown";
    const ofPortal = perPortal.get(memberId) ?? 0;
    if (counts[kind] >= limits[kind] || ofPortal >= limits.perPortal) return false;
    counts[kind]++;
    perPortal.set(memberId, ofPortal + 1);
    return true;
  };
}
