/** The table of Bitrix24's error codes: what each code means for the app. `B24Error` shows it to plugins and handlers. */
import type { BlockedReason } from "../errors.ts";

/** The meaning of an error code. A code without a meaning is the caller's mistake, or unknown: the retry policy applies. */
export interface ErrorCodeMeaning {
  /** The need of the portal that keeps another attempt from succeeding. */
  readonly blockedOn?: BlockedReason;
  /** Another attempt cannot succeed, or makes it worse. */
  readonly isFinal?: true;
  /** Milliseconds after which the cause is over by itself. */
  readonly retryAfterMs?: number;
  /** The limit that was exceeded: too many requests to the portal, or too much operating time of the method. */
  readonly limit?: "requests" | "operating_time";
  /** The access token is invalid or expired: refresh the token pair, then repeat the call. */
  readonly refusesToken?: true;
  /** The refresh token is invalid, expired, or was used before. */
  readonly refusesRefreshToken?: true;
  /** The token belongs to another app. */
  readonly isOtherApp?: true;
  /** The user may not do this; another user of the portal may. */
  readonly needsOtherUser?: true;
  /** The call may have taken effect: repeat it only if it may run twice. */
  readonly mayHaveTakenEffect?: true;
  /** An OAuth host answers with this code on purpose. Any other code of an OAuth host counts as an outage. */
  readonly isOAuthAnswer?: true;
  /** The app is not installed on the portal. The answer of an OAuth host may be older than an installation. */
  readonly isNotInstalled?: true;
  /** As the answer to `app.info`: the access token is not one of this app on an installed portal. */
  readonly failsVerification?: true;
}

const REFUSED_TOKEN: ErrorCodeMeaning = {
  blockedOn: "authorization",
  refusesToken: true,
  isOAuthAnswer: true,
  failsVerification: true,
};
const V3_REFUSED_TOKEN: ErrorCodeMeaning = { blockedOn: "authorization", refusesToken: true };
const OTHER_USER: ErrorCodeMeaning = { blockedOn: "administrator", needsOtherUser: true };
const NOT_AVAILABLE: ErrorCodeMeaning = { blockedOn: "installation", isOAuthAnswer: true };
const UNCLEAR: ErrorCodeMeaning = { mayHaveTakenEffect: true };
/** Bitrix24 counts the operating time of a method in windows of ten minutes. */
const OPERATING_TIME: ErrorCodeMeaning = { limit: "operating_time", retryAfterMs: 600_000 };

/** Prefix of the codes of REST 3.0. */
const V3 = "bitrix_rest_v3_exception_";

/** By code in lower case: Bitrix24 writes codes in either case. */
const MEANINGS: ReadonlyMap<string, ErrorCodeMeaning> = new Map<string, ErrorCodeMeaning>([
  // The tokens.
  ["expired_token", REFUSED_TOKEN],
  ["invalid_token", REFUSED_TOKEN],
  ["no_auth_found", REFUSED_TOKEN],
  ["invalid_grant", {
    blockedOn: "authorization",
    refusesRefreshToken: true,
    isOAuthAnswer: true,
    failsVerification: true,
  }],
  ["wrong_client", { blockedOn: "authorization", isOtherApp: true, isOAuthAnswer: true, failsVerification: true }],

  // The app and the portal.
  ["invalid_client", { blockedOn: "configuration", isOAuthAnswer: true, failsVerification: true }],
  ["invalid_request", { isOAuthAnswer: true }],
  ["not_installed", { ...NOT_AVAILABLE, isNotInstalled: true, failsVerification: true }],
  ["application_not_found", NOT_AVAILABLE],
  ["authorization_error", NOT_AVAILABLE],
  ["error_oauth", NOT_AVAILABLE],
  // Despite its name: documented for an on-premise portal whose public part is closed for a while.
  ["portal_deleted", { blockedOn: "installation" }],
  ["payment_required", { blockedOn: "payment", isOAuthAnswer: true }],

  // The user and the scope.
  ["insufficient_scope", { blockedOn: "scope" }],
  ["invalid_scope", { blockedOn: "scope", isOAuthAnswer: true }],
  ["user_access_error", OTHER_USER],
  ["access_denied", OTHER_USER],
  ["invalid_credentials", OTHER_USER],
  ["method_confirm_waiting", { blockedOn: "confirmation" }],
  ["method_confirm_denied", { isFinal: true }],

  // Limits.
  ["query_limit_exceeded", { limit: "requests", retryAfterMs: 10_000 }],
  ["operation_time_limit", OPERATING_TIME],
  // Somebody at Bitrix24 has blocked the portal by hand.
  ["overload_limit", { isFinal: true }],

  // Failures of the portal.
  ["internal_server_error", UNCLEAR],
  ["error_unexpected_answer", UNCLEAR],

  // REST 3.0, without their common prefix.
  ...([
    ["accessdeniedexception", OTHER_USER],
    ["insufficientscopeexception", { blockedOn: "scope" }],
    ["licenseexception", { blockedOn: "payment" }],
    ["marketsubscriptionrequiredexception", { blockedOn: "payment" }],
    ["restunavailableexception", { blockedOn: "payment" }],
    // Despite its name: the method has used up its operating time.
    ["ratelimitexception", OPERATING_TIME],
    ["idempotencykeyreusedexception", { isFinal: true }],
    ["invalididempotencykeyexception", { isFinal: true }],
    ["internal_internalexception", UNCLEAR],
  ] as const).map(([code, meaning]) => [`${V3}${code}`, meaning] as const),
]);

const NO_MEANING: ErrorCodeMeaning = {};

/** Returns the meaning of an error code; `description` is Bitrix24's `error_description`, and `status` that of HTTP. */
export function meaningOf(code: string, description: string = "", status: number = 0): ErrorCodeMeaning {
  const key = code.toLowerCase();
  // REST 3.0 has one code for a refused token and for a user who may not do this.
  if (key === `${V3}accessdeniedexception` && status === 401) return V3_REFUSED_TOKEN;
  // "REST API is available only on commercial plans": no user of the portal may call it.
  if (key === "access_denied" && /commercial plan/i.test(description)) return { blockedOn: "payment" };
  return MEANINGS.get(key) ?? NO_MEANING;
}
