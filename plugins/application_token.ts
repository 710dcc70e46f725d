/**
 * Lets events through that come from Bitrix24, for this app and for the portal that they name.
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
  /** Milliseconds for which the token before a changed one still counts; default 24 hours. */
  readonly graceMs?: number;
  /** How often forged posts can make us ask Bitrix24. What is above is answered 503 without asking. */
  readonly proofs?: Partial<ProofLimits>;
}

/**
 * How many proofs are made in a minute. Whoever uses one up with forged posts delays what it is for: of `unknown`, new
 * installations; of `perPortal`, changed tokens of that portal. Events with the stored token need no verification.
 */
export interface ProofLimits {
  /** For one `member_id`; default 6. */
  readonly perPortal: number;
  /** For all portals that are stored; default 300. */
  readonly known: number;
  /** For all `member_id`s that are not; apart, so that made-up ones cannot use up what portals need; default 120. */
  readonly unknown: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Verifies events by their `application_token`:
 *
 * | stored token | event | decision |
 * |---|---|---|
 * | equal, or the previous one within `graceMs` | any | accepted |
 * | differs | has an access token | proved, then the new token is stored |
 * | differs | has none, or is ONAPPUNINSTALL, which a token cannot prove | refused |
 * | none: the portal is unknown or was removed | has an access token | proved, then the portal is stored |
 * | none: the portal is unknown | has no access token, or is ONAPPUNINSTALL | refused |
 * | equal, but the portal was removed | ONAPPINSTALL without an access token | refused |
 *
 * Proved means: one of the OAuth hosts of `createApp` says that the access token belongs to this app (`clientId`) on this portal
 * (`member_id`). The portal's address is taken from that answer, never from the event. A host that is down or does
 * not answer in time is "cannot check" (503), never "does not match" (403).
 *
 * Needs `clientId` in `createApp`. The limits of proofs count in one process.
 *
 * @throws {TypeError} when a limit is no number; and at start, without `clientId`
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
  // A limit that is no number would limit nothing.
  for (const [name, value] of Object.entries({ graceMs, ...limits })) {
    if (!(value >= 0 && value < Infinity)) {
      throw new TypeError(`cannot verify with ${name} ${value}, wanted a number from 0`);
    }
  }
  let prove: ((event: B24Event, portal: Portal | undefined) => Promise<Verification>) | undefined;

  /** Tokens that were accepted, by their digests: hashing costs more than all the rest of an event. */
  const accepted = new Map<string, Secret>();

  async function has(digest: string, token: Secret): Promise<boolean> {
    const known = accepted.get(digest);
    if (known !== undefined) return known.equals(token);
    if (!new Secret(digest).equals(await digestToken(token))) return false;
    if (accepted.size >= ACCEPTED_TOKENS) accepted.clear();
    accepted.set(digest, token);
    return true;
  }

  async function isStored(token: Secret | undefined, portal: Portal | undefined, now: number): Promise<boolean> {
    const stored = portal?.applicationToken;
    if (token === undefined || stored === undefined) return false;
    if (await has(stored.current, token)) return true;
    const previous = stored.previous;
    return previous !== undefined && now - previous.replacedAt < graceMs && await has(previous.digest, token);
  }

  return {
    name: "application-token",
    phase: "verify",
    setup: (host) => {
      prove = prover(host, limits);
    },
    around: async (ctx: Context, next) => {
      const { event, portal } = ctx;
      const { applicationToken, accessToken } = event.auth;
      const stored = await isStored(applicationToken, portal, ctx.receivedAt);
      // A removed portal needs more than the token of its past to be taken for installed again.
      const revives = portal?.status !== "installed" && (accessToken !== undefined || event.name === "ONAPPINSTALL");
      if (stored && !revives) return await next();
      // What would be proved is that the app is installed: of a removal, the opposite.
      if (accessToken === undefined || event.name === "ONAPPUNINSTALL") {
        const why = portal === undefined
          ? "the portal is unknown"
          : stored
          ? "the portal was removed"
          : "application_token is not the stored one";
        throw new NotAuthenticError(`${why}, and there is no access token to prove ${event.name} by`);
      }
      const verification = await prove!(event, portal);
      ctx.log.info("access token proved", { portal: portal === undefined ? "unknown" : "known" });
      await next({ ...verification, ...(applicationToken === undefined ? {} : { applicationToken }) });
    },
  };
}

/** Some 200 bytes each. */
const ACCEPTED_TOKENS = 1000;

function prover(
  { clientId, appInfo, clock, log }: PluginHost,
  limits: ProofLimits,
): (event: B24Event, portal: Portal | undefined) => Promise<Verification> {
  if (clientId === undefined || clientId === "") {
    throw new TypeError(
      "cannot start: applicationToken() needs clientId in createApp(), or there is nothing to prove against",
    );
  }
  const budget = proofBudget(limits, clock);
  const underWay = new Map<string, Promise<AppInfo>>();

  /** Who owns the token. Copies of one event share one request. */
  function lookUp(token: Secret, serverEndpoint: string | undefined): Promise<AppInfo> {
    const key = token.reveal();
    const server = URL.canParse(serverEndpoint ?? "") ? new URL(serverEndpoint!).origin : undefined;
    const running = underWay.get(key) ?? ask(token, server).finally(() => underWay.delete(key));
    underWay.set(key, running);
    return running;
  }

  /** @throws {NotAuthenticError} when it is nobody's */
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
    if (!underWay.has(accessToken!.reveal()) && !budget(memberId, portal !== undefined)) {
      throw new CannotVerifyError("too many proofs in this minute");
    }
    const info = await lookUp(accessToken!, serverEndpoint);
    if (!new Secret(info.clientId).equals(clientId)) throw new NotAuthenticError("the access token is another app's");
    if (info.memberId !== memberId) throw new NotAuthenticError("the access token is another portal's");
    const { clientEndpoint, version, userId, tokenScope, scope } = info;
    if (clientEndpoint === undefined) log.warn("the OAuth host gave no address of the portal", { memberId });
    return {
      ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
      ...(version === undefined ? {} : { installedVersion: version }),
      scope,
      tokens: { scope: tokenScope, ...(userId === undefined ? {} : { userId }) },
    };
  };
}

/** Counts proofs in windows of a minute. Its memory is bounded by what it lets through. */
function proofBudget(limits: ProofLimits, clock: () => number): (memberId: string, known: boolean) => boolean {
  let window = 0;
  let counts = { known: 0, unknown: 0 };
  let portals = new Map<string, number>();
  return (memberId, known) => {
    const now = Math.floor(clock() / 60_000);
    if (now !== window) [window, counts, portals] = [now, { known: 0, unknown: 0 }, new Map()];
    const kind = known ? "known" : "unknown";
    const ofPortal = portals.get(memberId) ?? 0;
    if (counts[kind] >= limits[kind] || ofPortal >= limits.perPortal) return false;
    counts[kind]++;
    portals.set(memberId, ofPortal + 1);
    return true;
  };
}
