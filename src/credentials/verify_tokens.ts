/** Verification of token pairs: an OAuth host says whose a pair is before it is used. */
import { coalesce } from "../async/coalesce.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import { meaningOf } from "../bitrix24/error_codes.ts";
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import type { RecordAccess } from "../portal/record_access.ts";
import { isSettled, type StoredTokens } from "../portal/tokens.ts";
import { Secret } from "../secret.ts";
import type { Refresh } from "./refresh.ts";
import { dropTokens, recordRefusal } from "./refusals.ts";
import type { CredentialsSettings } from "./settings.ts";
import { withVerified } from "./store.ts";

/** Calls `app.info` with the stored token pairs of portals. */
export interface TokenVerifier {
  /**
   * Verifies a token pair that an event brought, after a refresh if it has expired, and asks the portal whether its user is
   * an administrator. A pair of another portal or app is dropped. Resolves to `app.info`, or to `undefined` if it was not
   * called, or not for the pair that is stored now.
   */
  readonly verify: (access: RecordAccess, tokens: StoredTokens) => Promise<AppInfo | undefined>;
  /**
   * Calls `app.info` with a token pair, and the portal's `profile` if nobody knows yet whether the user is an
   * administrator, and applies the answers to the record. Resolves to `undefined` if the pair is another
   * portal's or app's, which drops it, or if the portal no longer has it.
   */
  readonly appInfo: (access: RecordAccess, tokens: StoredTokens, signal?: AbortSignal) => Promise<AppInfo | undefined>;
}

/** Milliseconds that a portal that did not answer `profile` is not asked again, and the maximum number of these. */
const UNANSWERED_MS = 60_000;
const MAX_UNANSWERED = 1000;

/** Returns the verifier of the token pairs in the settings' storage. */
export function createTokenVerifier(settings: CredentialsSettings, refresh: Refresh): TokenVerifier {
  const { clock, oauth, isAdministrator, clientId, log } = settings;
  /** Times until which portals are not asked again, by `member_id`. */
  const unanswered = new Map<string, number>();
  /** Verifications of this process that are under way. */
  const running = new Map<string, Promise<AppInfo | undefined>>();

  async function appInfo(
    access: RecordAccess,
    tokens: StoredTokens,
    signal?: AbortSignal,
  ): Promise<AppInfo | undefined> {
    const { memberId } = access;
    let info: AppInfo;
    try {
      info = await oauth.appInfo(new Secret(tokens.accessToken), tokens.server, signal);
    } catch (error) {
      // An unverified token may be another portal's, and so may the refusal.
      if (error instanceof B24Error && tokens.isVerified === true) {
        await recordRefusal(settings, access, error, tokens);
      }
      throw error;
    }
    const isOfPortal = info.memberId === memberId;
    if (!isOfPortal || (clientId !== undefined && info.clientId !== clientId)) {
      const owner = isOfPortal ? "app" : "portal";
      await dropTokens(settings, access, tokens, `the pair is another ${owner}'s`);
      return undefined;
    }
    const isAdmin = isSettled({ ...tokens, isVerified: true }) ? undefined : await isAdminOf(tokens, info);
    let isCurrent = false;
    await access.change((record) => {
      const current = record.tokens?.find(({ accessToken }) => accessToken === tokens.accessToken);
      isCurrent = current !== undefined;
      return { record: current === undefined ? record : withVerified(record, current, { info, isAdmin }, clock()) };
    });
    // The portal may have been installed again meanwhile; the answer is about its earlier installation then.
    if (!isCurrent) return undefined;
    log.debug("token pair verified", { event: "credentials.verified", memberId, userId: info.userId });
    return info;
  }

  /** Asks the portal; not again for a while if it did not answer: each of its users would be waited for. */
  async function isAdminOf(tokens: StoredTokens, { memberId, clientEndpoint }: AppInfo): Promise<boolean | undefined> {
    if (clientEndpoint === undefined || (unanswered.get(memberId) ?? -Infinity) > clock()) return undefined;
    const isAdmin = await isAdministrator(clientEndpoint, new Secret(tokens.accessToken));
    if (isAdmin !== undefined) return isAdmin;
    if (unanswered.size >= MAX_UNANSWERED) unanswered.clear();
    unanswered.set(memberId, clock() + UNANSWERED_MS);
    return undefined;
  }

  /** Refreshes a pair, and asks about the user of the new one if that is not known. */
  async function renew(access: RecordAccess, tokens: StoredTokens): Promise<AppInfo | undefined> {
    const before = (await access.load()).tokens ?? [];
    await refresh(access, tokens);
    const fresh = (await access.load()).tokens?.find(({ accessToken }) =>
      !before.some((pair) => pair.accessToken === accessToken)
    );
    return fresh === undefined || isSettled(fresh) ? undefined : await appInfo(access, fresh);
  }

  async function verifyNow(access: RecordAccess, tokens: StoredTokens): Promise<AppInfo | undefined> {
    if (tokens.expiresAt <= clock()) return await renew(access, tokens);
    try {
      return await appInfo(access, tokens);
    } catch (error) {
      if (!(error instanceof B24Error)) throw error;
      if (error.refusesToken) return await renew(access, tokens);
      if (meaningOf(error.b24Code).isOtherApp !== true) throw error;
      return void await dropTokens(settings, access, tokens, "the pair is another app's");
    }
  }

  return {
    verify: (access, tokens) => {
      // Others would not find the outcome in the storage.
      if (access.isLeased) return verifyNow(access, tokens);
      return coalesce(running, `${access.memberId} ${tokens.accessToken}`, () => verifyNow(access, tokens));
    },
    appInfo,
  };
}
