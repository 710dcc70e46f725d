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
  checkOptions,
  type ConfirmMode,
  type Context,
  digestToken,
  NotAuthenticError,
  option,
  type Plugin,
  type PluginHost,
  type Portal,
  Secret,
  type Verification,
  type VerificationPolicy,
  verificationRules,
} from "../mod.ts";
import { UnreachableError } from "../errors.ts";

/**
 * Options of {@linkcode applicationToken}. Those of {@linkcode VerificationPolicy} are about events that do not bring the
 * stored token.
 */
export interface ApplicationTokenOptions extends VerificationPolicy {
  /**
   * Milliseconds that an earlier `application_token` of an installation is accepted after it was replaced. The last
   * four are remembered. Minimum: 0.
   *
   * @default 86400000 (24 hours)
   */
  readonly graceMs?: number;
  /**
   * When a version that an event claims is believed. `"always"`: once Bitrix24 has confirmed it; if the app has no token of
   * the portal to ask with, the version waits for an event or an opening that brings one. `"when-possible"`: at once if
   * there is no such token, for portals whose events never bring one; `ctx.confirmed` is false then.
   *
   * @default "always"
   */
  readonly confirm?: ConfirmMode;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** Maximum number of accepted tokens that are remembered; each takes about 200 bytes. */
const MAX_ACCEPTED = 100_000;

/**
 * Returns a plugin that verifies events by their `application_token` or, if that is not the portal's, by their access token.
 *
 * An event with the portal's `application_token`, or with an earlier one within `graceMs`, is accepted. Any other event is
 * verified by its access token, and refused without one. ONAPPUNINSTALL needs the portal's current `application_token`: an
 * access token cannot verify it. `docs/verification.md` has all decisions in one table.
 *
 * Every user of a portal knows its `application_token`, so an accepted event is the portal's, and its content is a claim: a
 * version, a removal or the end of a paid period takes effect once Bitrix24 has confirmed it.
 *
 * Receiving an event calls no other host: an event that must be verified is stored, answered 200, and verified by the app
 * afterwards, within `budget`, until an OAuth host answers, for at most 24 hours.
 *
 * Verified means: one of the OAuth hosts of `createApp` confirms that the access token belongs to this app (`clientId`) on
 * this portal (`member_id`). The portal's address is taken from that answer, never from the event. Whether the user is an
 * administrator is what the portal's REST method `profile` returns.
 *
 * Needs `clientId` in `createApp`: without it, the app does not start.
 *
 * @throws {TypeError} if an option is unknown or invalid
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
  checkOptions("cannot verify", options, {
    ...verificationRules,
    graceMs: option.number({ min: 0 }),
    confirm: option.oneOf("always", "when-possible"),
  });
  const { graceMs = DAY_MS, confirm = "always", ...verificationPolicy } = options;
  const isStored = createTokenMatcher();
  let verify: Verify | undefined;
  return {
    name: "application-token",
    phase: "verify",
    verificationPolicy,
    setup: (host) => {
      verify = createVerify(host);
    },
    around: async (ctx: Context, next) => {
      const { event, portal } = ctx;
      const { applicationToken, accessToken } = event.auth;
      // A removal is final: an earlier token does not suffice for it.
      const grace = event.name === "ONAPPUNINSTALL" ? 0 : graceMs;
      const isKnownToken = await isStored(applicationToken, portal, ctx.receivedAt, grace);
      // The token of an earlier installation does not suffice to reinstall a removed portal.
      const reinstalls = portal?.status !== "installed" && (accessToken !== undefined || event.name === "ONAPPINSTALL");
      // It may be of a new installation whose token another contact has proved before.
      const endsRemoval = event.name === "ONAPPINSTALL" && accessToken !== undefined && isRemovalClaimed(portal);
      if (isKnownToken && !reinstalls && !endsRemoval) return await next({ claims: confirm });
      // An access token shows that the app is installed: the opposite of a removal.
      if (accessToken === undefined || event.name === "ONAPPUNINSTALL") {
        const isClaim = event.name === "ONAPPUNINSTALL" && await isPending(applicationToken, portal);
        if (isClaim) return await next({ claims: confirm });
        const reason = portal === undefined
          ? "the portal is unknown"
          : isKnownToken
          ? "the portal was removed"
          : "application_token is not the stored one";
        throw new NotAuthenticError(`${reason}, and no access token can verify ${event.name}`);
      }
      if (ctx.stage === "received") {
        throw new CannotVerifyError("Bitrix24 must be asked to whom the access token belongs");
      }
      const verification = await verify!(event);
      ctx.log.debug("access token verified", { event: "token.verified", isKnownPortal: portal !== undefined });
      // Every user of a portal has an access token: only an administrator's may change the application_token.
      const changesToken = applicationToken !== undefined && verification.tokens?.isAdmin === true;
      await next({ ...verification, claims: confirm, ...(changesToken ? { applicationToken } : {}) });
    },
  };
}

function isRemovalClaimed(portal: Portal | undefined): boolean {
  return portal?.claims?.some(({ kind, state }) => kind === "removal" && state === "open") ?? false;
}

/**
 * Returns whether a verified user of the portal has brought the token, and the portal has not said yet whether that is an
 * administrator. Any user of a portal can claim its removal, and no other token comes with it.
 */
async function isPending(token: Secret | undefined, portal: Portal | undefined): Promise<boolean> {
  const { pendingApplicationTokens: pending = [] } = portal ?? {};
  if (token === undefined || pending.length === 0) return false;
  const digest = await digestToken(token);
  return pending.some((one) => new Secret(one).equals(digest));
}

/** Returns whether a token is the stored one of a portal, or one that was replaced less than `graceMs` ago. */
type TokenMatcher = (
  token: Secret | undefined,
  portal: Portal | undefined,
  now: number,
  graceMs: number,
) => Promise<boolean>;

function createTokenMatcher(): TokenMatcher {
  /** Accepted tokens by digest, the least recently used first: hashing is the most expensive part of a verification. */
  const accepted = new Map<string, Secret>();

  async function matches(digest: string, token: Secret): Promise<boolean> {
    const known = accepted.get(digest);
    const isMatch = known?.equals(token) ?? new Secret(digest).equals(await digestToken(token));
    if (!isMatch) return false;
    accepted.delete(digest);
    accepted.set(digest, token);
    if (accepted.size > MAX_ACCEPTED) accepted.delete(accepted.keys().next().value!);
    return true;
  }

  return async (token, portal, now, graceMs) => {
    const stored = portal?.applicationToken;
    if (token === undefined || stored === undefined) return false;
    if (await matches(stored.current, token)) return true;
    for (const { digest, replacedAt } of stored.previous ?? []) {
      if (now - replacedAt < graceMs && await matches(digest, token)) return true;
    }
    return false;
  };
}

/** Verifies an event by its access token. */
type Verify = (event: B24Event) => Promise<Verification>;

function createVerify(host: PluginHost): Verify {
  const { clientId, log } = host;
  if (clientId === undefined) {
    throw new TypeError("cannot start: applicationToken() needs clientId in createApp(), to verify access tokens");
  }
  return async (event) => {
    const { memberId, accessToken, serverEndpoint } = event.auth;
    const info = await ownerOf(host, accessToken!, serverEndpoint);
    if (!new Secret(info.clientId).equals(clientId)) {
      throw new NotAuthenticError("the access token belongs to another app");
    }
    if (info.memberId !== memberId) throw new NotAuthenticError("the access token belongs to another portal");
    const { clientEndpoint, version, userId, tokenScope, scope } = info;
    if (clientEndpoint === undefined) {
      log.warn("OAuth host reported no portal address", { event: "oauth.address_missing", memberId });
    }
    const isAdmin = clientEndpoint === undefined ? undefined : await host.isAdministrator(clientEndpoint, accessToken!);
    return {
      ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
      ...(version === undefined ? {} : { installedVersion: version }),
      scope,
      tokens: {
        scope: tokenScope,
        ...(userId === undefined ? {} : { userId }),
        ...(isAdmin === undefined ? {} : { isAdmin }),
      },
    };
  };
}

async function ownerOf(host: PluginHost, token: Secret, serverEndpoint: string | undefined): Promise<AppInfo> {
  try {
    return await host.appInfo(token, serverEndpoint);
  } catch (error) {
    // An installation may be younger than the OAuth host's answer: it is asked again.
    if (error instanceof B24Error && error.failsVerification && !error.isNotInstalled) {
      throw new NotAuthenticError(`the OAuth host refuses the access token: ${error.b24Code}`, { cause: error });
    }
    if (!(error instanceof B24Error || error instanceof UnreachableError)) throw error;
    throw new CannotVerifyError(error.message);
  }
}
