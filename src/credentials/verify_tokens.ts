/** Verification of token pairs: an OAuth host says whose a pair is before it is used. */
import { coalesce } from "../async/coalesce.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import { meaningOf } from "../bitrix24/error_codes.ts";
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import { changePortal } from "../portal/record.ts";
import type { StoredTokens } from "../portal/tokens.ts";
import { Secret } from "../secret.ts";
import type { Refresh } from "./refresh.ts";
import { dropTokens, recordRefusal } from "./refusals.ts";
import type { CredentialsSettings } from "./settings.ts";
import { withVerified } from "./store.ts";

/** Calls `app.info` with the stored token pairs of portals. */
export interface TokenVerifier {
  /**
   * Verifies a token pair that an event brought, after a refresh if it has expired. A pair of another portal or app is
   * dropped. Resolves to `app.info`, or to `undefined` if it was not called, or not for the pair that is stored now.
   */
  readonly verify: (memberId: string, tokens: StoredTokens) => Promise<AppInfo | undefined>;
  /**
   * Calls `app.info` with a token pair and applies the answer to the record. Resolves to `undefined` if the pair is another
   * portal's or app's, which drops it, or if the portal no longer has it.
   */
  readonly appInfo: (memberId: string, tokens: StoredTokens, signal?: AbortSignal) => Promise<AppInfo | undefined>;
}

/** Returns the verifier of the token pairs in the settings' storage. */
export function createTokenVerifier(settings: CredentialsSettings, refresh: Refresh): TokenVerifier {
  const { storage, clock, oauth, clientId, log } = settings;
  /** Verifications of this process that are under way. */
  const running = new Map<string, Promise<AppInfo | undefined>>();

  async function appInfo(memberId: string, tokens: StoredTokens, signal?: AbortSignal): Promise<AppInfo | undefined> {
    let info: AppInfo;
    try {
      info = await oauth.appInfo(new Secret(tokens.accessToken), tokens.server, signal);
    } catch (error) {
      // An unverified token may be another portal's, and so may the refusal.
      if (error instanceof B24Error && tokens.isVerified === true) {
        await recordRefusal(settings, memberId, error, tokens);
      }
      throw error;
    }
    const isOfPortal = info.memberId === memberId;
    if (!isOfPortal || (clientId !== undefined && info.clientId !== clientId)) {
      const owner = isOfPortal ? "app" : "portal";
      await dropTokens(settings, memberId, tokens, `the pair is another ${owner}'s`);
      return undefined;
    }
    let isCurrent = false;
    await changePortal(storage, memberId, (record) => {
      const current = record.tokens?.find(({ accessToken }) => accessToken === tokens.accessToken);
      isCurrent = current !== undefined;
      return current === undefined ? record : withVerified(record, current, info, clock());
    });
    // The portal may have been installed again meanwhile; the answer is about its earlier installation then.
    if (!isCurrent) return undefined;
    log.debug("token pair verified", { event: "credentials.verified", memberId, userId: info.userId });
    return info;
  }

  async function verifyNow(memberId: string, tokens: StoredTokens): Promise<AppInfo | undefined> {
    if (tokens.expiresAt <= clock()) return void await refresh(memberId, tokens);
    try {
      return await appInfo(memberId, tokens);
    } catch (error) {
      if (!(error instanceof B24Error)) throw error;
      if (error.refusesToken) return void await refresh(memberId, tokens);
      if (meaningOf(error.b24Code).isOtherApp !== true) throw error;
      return void await dropTokens(settings, memberId, tokens, "the pair is another app's");
    }
  }

  return {
    verify: (memberId, tokens) =>
      coalesce(running, `${memberId} ${tokens.accessToken}`, () => verifyNow(memberId, tokens)),
    appInfo,
  };
}
