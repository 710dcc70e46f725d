/** `credentials.call`: repeats a call with a refreshed token, as another user, or at the portal's new address. */
import { B24Error } from "../bitrix24/b24_error.ts";
import { defined } from "../defined.ts";
import { AddressError, NoCredentialsError, PortalMovedError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type {
  CredentialsOptions,
  PortalCallOptions,
  PortalCredentials,
  PortalCredentialsProvider,
} from "./contract.ts";

/** The functions by which a call recovers. */
export interface CallRecovery extends Pick<PortalCredentialsProvider, "get" | "refresh"> {
  /** Returns the credentials of a user who is not among `denied`, or `undefined` if there is none. */
  readonly otherUser: (
    memberId: string,
    denied: readonly PortalCredentials[],
    options: CredentialsOptions,
  ) => Promise<PortalCredentials | undefined>;
  /**
   * Checks and records the new address of a portal, and returns the credentials for it.
   *
   * @throws {AddressError} if the address is not confirmed to be the portal's
   */
  readonly follow: (
    memberId: string,
    credentials: PortalCredentials,
    endpoint: string,
    options: CredentialsOptions,
  ) => Promise<PortalCredentials>;
  /** Records an error on the portal, if it is about the portal as a whole, and the portal still has the token `used`. */
  readonly recordRefusal: (
    memberId: string,
    error: B24Error | NoCredentialsError,
    used: PortalCredentials,
  ) => Promise<void>;
  readonly log: Logger;
}

/** Maximum number of redirects that one call follows. */
const MAX_REDIRECTS = 2;

/** Returns the `call` of a {@linkcode PortalCredentialsProvider}. */
export function createPortalCall(recovery: CallRecovery): PortalCredentialsProvider["call"] {
  return async <T>(
    memberId: string,
    attempt: (credentials: PortalCredentials) => Promise<T>,
    options: PortalCallOptions = {},
  ): Promise<T> => {
    const { enqueue = atOnce, signal } = options;
    const call: Call = { memberId, denied: [], redirects: 0, isRefreshed: false, ...defined({ signal }) };
    while (true) {
      try {
        return await enqueue(async () => {
          const credentials = call.credentials ??= await recovery.get(memberId, call);
          try {
            return await attempt(credentials);
          } catch (error) {
            call.failure = error;
            throw error;
          }
        });
      } catch (error) {
        // Errors of `get` and of the queue are not about the credentials.
        if (error !== call.failure) throw error;
        call.credentials = await recover(recovery, call, call.credentials!, error);
      }
    }
  };
}

/** The state of one call. */
interface Call extends CredentialsOptions {
  readonly memberId: string;
  /** Credentials of the users who may not do what was asked. */
  readonly denied: PortalCredentials[];
  redirects: number;
  /** The token pair of the present user was refreshed. */
  isRefreshed: boolean;
  /** The credentials of the next attempt; absent before the first one. */
  credentials?: PortalCredentials;
  /** The error of the last attempt. */
  failure?: unknown;
}

function atOnce<T>(attempt: () => Promise<T>): Promise<T> {
  return attempt();
}

/**
 * Returns the credentials with which the call is worth repeating after `error`.
 *
 * @throws `error` if there are none
 */
async function recover(
  recovery: CallRecovery,
  call: Call,
  used: PortalCredentials,
  error: unknown,
): Promise<PortalCredentials> {
  const { memberId } = call;
  if (error instanceof PortalMovedError) {
    const endpoint = newEndpoint(memberId, used, error.location);
    if (endpoint === used.clientEndpoint) throw await recorded(recovery, memberId, licenseEnded(memberId), used);
    if (call.redirects++ === MAX_REDIRECTS) {
      throw new AddressError(`cannot follow portal ${memberId}: it redirects more than ${MAX_REDIRECTS} times`);
    }
    return await recovery.follow(memberId, used, endpoint, call);
  }
  if (!(error instanceof B24Error)) throw error;
  if (error.refusesToken) {
    if (call.isRefreshed) throw error;
    call.isRefreshed = true;
    return await recovery.refresh(memberId, used, call);
  }
  if (error.needsOtherUser) {
    call.denied.push(used);
    const other = await recovery.otherUser(memberId, call.denied, call);
    if (other === undefined) throw error;
    call.isRefreshed = false;
    const { userId, isSystemUser } = other;
    const fields = { event: "credentials.user_changed", memberId, userId, isSystemUser };
    recovery.log.debug("call repeated as another user", fields);
    return other;
  }
  throw error.blockedOn === undefined ? error : await recorded(recovery, memberId, error, used);
}

/** Returns `error` after it was recorded on the portal, or could not be. */
async function recorded<E extends B24Error | NoCredentialsError>(
  { recordRefusal, log }: CallRecovery,
  memberId: string,
  error: E,
  used: PortalCredentials,
): Promise<E> {
  await recordRefusal(memberId, error, used).catch((err) => {
    log.warn("refusal of a portal not stored", { event: "credentials.refusal_lost", memberId, err });
  });
  return error;
}

/** Returns the error for a portal that redirects to itself, as an on-premise portal does once its license has ended. */
function licenseEnded(memberId: string): NoCredentialsError {
  return new NoCredentialsError(
    memberId,
    "payment",
    "it redirects calls to a page of its own, as a portal does whose license has ended",
  );
}

/** Returns the REST address at the host that a redirect leads to. */
function newEndpoint(memberId: string, used: PortalCredentials, location: string): string {
  const url = URL.canParse(location, used.clientEndpoint) ? new URL(location, used.clientEndpoint) : undefined;
  const token = used.accessToken.reveal().toLowerCase();
  // A host with the token in its name is refused here, because errors about hosts quote them.
  if (url === undefined || url.username !== "" || url.password !== "" || url.host.includes(token)) {
    throw new AddressError(`cannot follow portal ${memberId}: it redirects to a malformed address`);
  }
  return `${url.protocol}//${url.host}/rest/`;
}
