/** Public contract of portal credentials: who to call a portal as, and calls that recover from refused tokens. */
import { option, type OptionRules } from "../check_options.ts";
import type { Secret } from "../secret.ts";

/** The address and the access token for calls to a portal as one of its users. */
export interface PortalCredentials {
  /** Address of the portal's REST API, with a slash at its end. Always an address that was verified. */
  readonly clientEndpoint: string;
  /** Send it to `clientEndpoint` only, and never log it. */
  readonly accessToken: Secret;
  /** Expiry of the access token, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** The user is the app's own user on the portal, not a person. */
  readonly isSystemUser: boolean;
  /** The user; absent if Bitrix24 did not say. */
  readonly userId?: number;
  /** Scopes of the access token. */
  readonly scope: readonly string[];
}

/** Options of {@linkcode PortalCredentialsProvider}. */
export interface CredentialsOptions {
  /** If it is aborted, the function rejects with its reason. A refresh that others wait for goes on. */
  readonly signal?: AbortSignal;
}

/** The rules of {@linkcode CredentialsOptions}. */
export const CREDENTIALS_RULES: OptionRules<CredentialsOptions> = { signal: option.signal() };

/** Options of {@linkcode PortalCredentialsProvider.call}. */
export interface PortalCallOptions extends CredentialsOptions {
  /**
   * Runs each attempt, together with the choice of its credentials. Use it to queue the calls of a portal: an attempt that
   * waited then uses the tokens that are current when it starts. It must run its argument once and return the result.
   *
   * @default runs each attempt at once
   */
  readonly enqueue?: <T>(attempt: () => Promise<T>) => Promise<T>;
}

/** The rules of {@linkcode PortalCallOptions}. */
export const CALL_RULES: OptionRules<PortalCallOptions> = { ...CREDENTIALS_RULES, enqueue: option.function() };

/**
 * Provides the credentials of portals. A token pair is kept for each user whose tokens an event brought. A pair is used
 * only after an OAuth host has verified it: the system user's first, then the newest pair of an administrator.
 *
 * A token pair is refreshed by one process at a time and stored before it is used; all other processes wait for it.
 *
 * Every function rejects with
 *
 * - {@linkcode UnknownPortalError} if the portal is not stored;
 * - {@linkcode NoCredentialsError} if no token of the portal can be used; its `blockedOn` says what is needed;
 * - {@linkcode B24Error} if an OAuth host refuses;
 * - {@linkcode UnreachableError} if no OAuth host answers;
 * - {@linkcode StorageError} if the storage fails;
 * - `TypeError` if an option is unknown or invalid.
 */
export interface PortalCredentialsProvider {
  /**
   * Returns the best credentials of a portal, refreshed if they expire within a minute. They are kept in memory: what
   * another process has changed, such as a removal, takes effect within a minute.
   */
  readonly get: (memberId: string, options?: CredentialsOptions) => Promise<PortalCredentials>;
  /**
   * Returns the next credentials of the same user after the portal refused `refused` as expired or invalid, or the best
   * credentials of another user if the token pair cannot be refreshed.
   */
  readonly refresh: (
    memberId: string,
    refused: PortalCredentials,
    options?: CredentialsOptions,
  ) => Promise<PortalCredentials>;
  /**
   * Runs `attempt` with the best credentials of a portal, and repeats it with others if that helps. It resolves to what
   * `attempt` resolves to. Whether `attempt` is repeated depends on what it throws:
   *
   * | `attempt` throws | `call` |
   * |---|---|
   * | `B24Error` with `refusesToken` | refreshes the token pair and repeats, once for each user |
   * | `B24Error` with `needsOtherUser` | repeats as every other user of the portal, then throws it |
   * | `B24Error` with `blockedOn` `"payment"` or `"installation"` | records on the portal what it is blocked on, then throws it |
   * | `PortalMovedError` to the same host | records that the portal is blocked on `"payment"`, then throws `NoCredentialsError` |
   * | `PortalMovedError` to another host | checks and records the new address, and repeats there, at most twice |
   * | anything else | throws it |
   *
   * `attempt` may run several times, one at a time, so it must throw one of these only if the portal did not do what it
   * was asked.
   *
   * @throws {AddressError} if the portal redirects to an address that is not confirmed to be its own, or more than twice
   *
   * @example
   * ```ts
   * import { B24Error, type PluginHost, readAnswer } from "@b24/onappupdate";
   * import { PortalMovedError } from "@b24/onappupdate/errors";
   *
   * export function profileOf({ credentials, portalFetch }: PluginHost, memberId: string): Promise<unknown> {
   *   return credentials.call(memberId, async ({ clientEndpoint, accessToken }) => {
   *     const body = JSON.stringify({ auth: accessToken.reveal() });
   *     const headers = { "content-type": "application/json" };
   *     const response = await portalFetch(`${clientEndpoint}profile`, { method: "POST", headers, body });
   *     const location = response.headers.get("location");
   *     if (location !== null) throw new PortalMovedError(location);
   *     const { json } = await readAnswer(response);
   *     const { result, error: code, error_description: description = "" } = Object(json);
   *     if (code === undefined) return result;
   *     throw new B24Error({ code, description, status: response.status, method: "profile" });
   *   });
   * }
   * ```
   */
  readonly call: <T>(
    memberId: string,
    attempt: (credentials: PortalCredentials) => Promise<T>,
    options?: PortalCallOptions,
  ) => Promise<T>;
}
