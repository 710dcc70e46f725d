/** What it takes to call a portal: its address and one of its access tokens. */
import type { B24Error } from "../bitrix24/b24_error.ts";
import type { Secret } from "../secret.ts";

/** One way to call a portal, as one of its users. */
export interface PortalCredentials {
  /** Where the portal's REST is, with a slash at its end; only ever an address that was proved. */
  readonly clientEndpoint: string;
  /** Give it to nobody but `clientEndpoint`. */
  readonly accessToken: Secret;
  /** End of the access token in milliseconds since 1970. */
  readonly expiresAt: number;
  /** The app's own user on the portal, rather than a person. */
  readonly isSystemUser: boolean;
  /** Absent where Bitrix24 did not say. */
  readonly userId?: number;
  /** What the token allows. */
  readonly scope: readonly string[];
}

/** Options of {@linkcode PortalCredentialsProvider}. */
export interface CredentialsOptions {
  /** Rejects with its reason once it is aborted. */
  readonly signal?: AbortSignal;
}

/**
 * Gives out what it takes to call portals, and renews it. A pair of tokens is kept for each user of a portal that events
 * brought: the system user's is given first, then the latest of an administrator. In whatever number of processes, one
 * at a time refreshes the tokens of a portal, and the others are given what it got.
 *
 * Every function rejects with {@linkcode UnknownPortalError} for a portal that is not stored, with
 * {@linkcode StorageError} when the storage fails, and with {@linkcode B24Error} when Bitrix24 refuses: its `blockedOn`
 * says what the portal lacks.
 */
export interface PortalCredentialsProvider {
  /** The best that there is, renewed if it is about to end. */
  readonly get: (memberId: string, options?: CredentialsOptions) => Promise<PortalCredentials>;
  /** After `expired_token`, `invalid_token` or `NO_AUTH_FOUND`: the same user's next access token, or the best of another where he has none. */
  readonly refresh: (
    memberId: string,
    spent: PortalCredentials,
    options?: CredentialsOptions,
  ) => Promise<PortalCredentials>;
  /** After `ACCESS_DENIED` or `user_access_error`: another user's, or `undefined` when all of `tried` are all there are. */
  readonly another: (
    memberId: string,
    tried: readonly PortalCredentials[],
    options?: CredentialsOptions,
  ) => Promise<PortalCredentials | undefined>;
  /**
   * After a redirect to `location`: the portal was renamed. Remembers the new address, if it is one of Bitrix24's cloud
   * or an OAuth host says that it is this portal's, and gives the access there.
   *
   * @throws {AddressError} when it is neither
   */
  readonly moved: (
    memberId: string,
    access: PortalCredentials,
    location: string,
    options?: CredentialsOptions,
  ) => Promise<PortalCredentials>;
  /** The portal answered with an error that is about the portal as a whole, such as `PAYMENT_REQUIRED`: it is remembered. */
  readonly refused: (memberId: string, error: B24Error) => Promise<void>;
}
