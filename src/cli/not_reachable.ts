/** Tells a storage or another service that does not answer from other failures of a module. */

/** Codes of errors of sockets, name servers and clients of databases: nothing answers there, or not yet. */
const CODES: ReadonlySet<string> = new Set([
  ...["ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH"],
  ...["ENETDOWN", "ENOTFOUND", "EAI_AGAIN", "EADDRNOTAVAIL"],
  // undici, postgres, and PostgreSQL itself: connection exceptions, starting up or shutting down.
  ...["UND_ERR_CONNECT_TIMEOUT", "UND_ERR_SOCKET", "CONNECT_TIMEOUT", "CONNECTION_CLOSED", "CONNECTION_ENDED"],
  ...["CONNECTION_DESTROYED", "08000", "08001", "08003", "08004", "08006", "57P01", "57P02", "57P03"],
  // Errors of this package, maybe of another copy of it.
  ...["storage", "unreachable"],
]);

/** Names of errors of Deno, and of classes of redis and ioredis. */
const NAMES: ReadonlySet<string> = new Set([
  ...[
    "TimeoutError",
    "ConnectionRefused",
    "ConnectionReset",
    "ConnectionAborted",
    "NotConnected",
    "TimedOut",
    "HostUnreachable",
  ],
  ...["NetworkUnreachable", "ConnectionTimeoutError", "SocketTimeoutError", "SocketClosedUnexpectedlyError"],
  ...["ClientClosedError", "ClientOfflineError", "ReconnectStrategyError", "MaxRetriesPerRequestError"],
  ...["DisconnectsClientError"],
]);

/** Messages of pg, and of `fetch` of Deno, whose errors have nothing else. */
const MESSAGES =
  /^timeout expired$|^Connection terminated|^timeout exceeded when|client error \(Connect\)|^connect timed out/;

/** Maximum number of errors that are looked at: a cause may be its own cause. */
const MAX_ERRORS = 20;

/** Returns whether an error, its cause or one of its errors says that something does not answer. */
export function isNotReachable(error: unknown): boolean {
  const errors: unknown[] = [error];
  for (let i = 0; i < errors.length && i < MAX_ERRORS; i++) {
    const seen = errors[i];
    const { code, message, cause, errors: inner } = Object(seen) as Readonly<Record<string, unknown>>;
    if (CODES.has(String(code)) || MESSAGES.test(String(message))) return true;
    // Errors of redis are called "Error", and only their class says more.
    if (seen instanceof Error && (NAMES.has(seen.name) || NAMES.has(seen.constructor.name))) return true;
    if (cause !== undefined) errors.push(cause);
    if (Array.isArray(inner)) errors.push(...inner);
  }
  return false;
}

/** The hint for a storage or an app that cannot be reached. */
export const NOT_REACHABLE_HINT =
  "Is its storage running, and can it be reached from here? The app takes its address from the environment: on Node, " +
  "--env-file=.env sets it; with --url, the app itself is asked";
