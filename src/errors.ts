/**
 * What can go wrong, one class a cause. Every class has a stable `code`; HTTP statuses are decided in
 * `http.ts` alone. No message ever holds a token.
 */

/** The stable names of all errors of this package, for programs that branch on them. */
export type ErrorCode =
  | "address"
  | "bitrix24"
  | "busy"
  | "cannot_verify"
  | "copy"
  | "format"
  | "http"
  | "input"
  | "no_credentials"
  | "non_retriable"
  | "not_authentic"
  | "not_due"
  | "nothing_to_roll_back"
  | "portal_moved"
  | "removed"
  | "retry_after"
  | "storage"
  | "unknown_portal"
  | "unreachable"
  | "upgrade"
  | "version";

/** The base class of all errors of this package. */
export class OnAppUpdateError extends Error {
  /** Stable name of the cause, for programs; the message is for people. */
  readonly code: ErrorCode;

  /** `code` never changes between versions; `message` may. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** One thing that is wrong with a request: where, what was there, what should have been. */
export interface InputIssue {
  /** Wire path of the field, such as `data.VERSION`; empty for the body as a whole. */
  readonly path: string;
  /** What was seen, described without any token's value. */
  readonly saw: string;
  /** What would have been right. */
  readonly wanted: string;
}

/** The request is not what Bitrix24 sends: garbage, a missing or a malformed field. */
export class InputError extends OnAppUpdateError {
  /** Everything that is wrong, in the order of the fields. */
  readonly issues: readonly InputIssue[];

  /** At least one issue. */
  constructor(issues: readonly InputIssue[]) {
    super("input", issues.map((i) => `${i.path || "body"}: saw ${i.saw}, wanted ${i.wanted}`).join("; "));
    this.issues = issues;
  }
}

/** A version text that is no version. */
export class VersionError extends OnAppUpdateError {
  /** The text as it came. */
  readonly raw: string;

  /** `raw` is quoted in the message, cut to 40 characters. */
  constructor(raw: string, wanted = `a version such as "3", "2.1" or "2.1.0"`) {
    super("version", `cannot read version ${JSON.stringify(raw.slice(0, 40))}, wanted ${wanted}`);
    this.raw = raw;
  }
}

/** The event does not come from Bitrix24, or not for this app or portal. Thrown by plugins of phase `verify`. */
export class NotAuthenticError extends OnAppUpdateError {
  /** `reason` reaches logs and observers, never the sender. */
  constructor(reason: string, options?: ErrorOptions) {
    super("not_authentic", reason, options);
  }
}

/** Whether the event is genuine cannot be found out now: a host or the storage is down. */
export class CannotVerifyError extends OnAppUpdateError {
  /** `reason` reaches logs and observers, never the sender. */
  constructor(reason: string, options?: ErrorOptions) {
    super("cannot_verify", reason, options);
  }
}

/** The storage failed. A failed read is this error, never "nothing stored". */
export class StorageError extends OnAppUpdateError {
  /** Set where one entry alone cannot be read: others may be, and a listing can go on after it. */
  readonly unreadableKey?: readonly [string, ...string[]];

  /** `message` says what was tried on which storage. */
  constructor(message: string, options?: ErrorOptions & { readonly unreadableKey?: readonly [string, ...string[]] }) {
    super("storage", message, options);
    if (options?.unreadableKey !== undefined) this.unreadableKey = options.unreadableKey;
  }
}

/** What is stored was written by a newer version of this library; nothing was changed. */
export class FormatError extends OnAppUpdateError {
  /** `what` is the stored thing, such as `portal a223…`. */
  constructor(what: string, found: unknown, known: number) {
    super(
      "format",
      `${what} has format ${String(found)}, this version of @b24/onappupdate knows ${known}; deploy the newer version`,
    );
  }
}

/** An entry that `copyStorage` did not bring over. */
export interface CopyProblem {
  /** Its key. */
  readonly key: readonly string[];
  /** The target has none, or another one, or takes none of this size. */
  readonly problem: "missing" | "different" | "too large";
}

/** `copyStorage` went through everything, and the target does not have all that the source has. */
export class CopyError extends OnAppUpdateError {
  /** Each entry that is not there as it should be, in the order of the keys. */
  readonly problems: readonly CopyProblem[];

  /** `from` and `to` are the names of the storages; at least one problem. */
  constructor(from: string, to: string, problems: readonly CopyProblem[]) {
    const some = problems.slice(0, 3).map(({ key, problem }) => `${JSON.stringify(key)} (${problem})`).join(", ");
    const rest = problems.length > 3 ? ` and ${problems.length - 3} more` : "";
    super(
      "copy",
      `cannot copy all of ${from} to ${to}, all else is there: ${some}${rest}; stop what writes to them and repeat, ` +
        `with overwrite: true if ${from} is right`,
    );
    this.problems = problems;
  }
}

/**
 * What a portal has to be given before work on it can go on: a `scope`, a `payment`, an administrator's `confirmation`
 * of a method, an `administrator`'s token, a new `authorization`, the `installation` of the app; or what the vendor has
 * to put right, the `configuration` of `clientId` and `clientSecret`.
 */
export type BlockedReason =
  | "scope"
  | "payment"
  | "confirmation"
  | "administrator"
  | "authorization"
  | "installation"
  | "configuration";

/** A host of Bitrix24 gave no answer, or none that can be read: what was asked may have been done all the same. */
export class UnreachableError extends OnAppUpdateError {
  /** `message` names the host and what came instead, without tokens. */
  constructor(message: string, options?: ErrorOptions) {
    super("unreachable", message, options);
  }
}

/** There is no access token to call a portal with. Thrown out of a handler, it makes its portal wait. */
export class NoCredentialsError extends OnAppUpdateError {
  /** What has to be done before. */
  readonly blockedOn: BlockedReason;

  /** `why` ends the message. */
  constructor(memberId: string, blockedOn: BlockedReason, why: string, options?: ErrorOptions) {
    super("no_credentials", `cannot call portal ${memberId}: ${why}`, options);
    this.blockedOn = blockedOn;
  }
}

/** A host that no request may go to: it is not https, not public, or nobody has proved that it is a portal's. */
export class AddressError extends OnAppUpdateError {
  /** `reason` names the host and what is wrong with it. */
  constructor(reason: string, options?: ErrorOptions) {
    super("address", reason, options);
  }
}

/**
 * A portal redirected a request instead of answering it: it was renamed. The function that `credentials.call` runs throws
 * it, and `call` follows the portal.
 */
export class PortalMovedError extends OnAppUpdateError {
  /** The `Location` header as it was sent. The portal may have put a token into it: do not log it. */
  readonly location: string;

  /** `location` is not part of the message. */
  constructor(location: string) {
    super("portal_moved", "the portal redirects to another address");
    this.location = location;
  }
}

/** No portal with this `member_id` is stored. */
export class UnknownPortalError extends OnAppUpdateError {
  /** The `member_id` that was asked for. */
  readonly memberId: string;

  /** `memberId` is no secret. */
  constructor(memberId: string) {
    super("unknown_portal", `no portal ${memberId} is stored`);
    this.memberId = memberId;
  }
}

/** An upgrade handler failed; the portal stays on its version and the handler is tried again. */
export class UpgradeError extends OnAppUpdateError {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** How often it was tried, this time included. */
  readonly attempt: number;

  /** `cause` is what the handler threw. */
  constructor(upgradeId: string, attempt: number, message: string, options?: ErrorOptions) {
    super("upgrade", `upgrade ${upgradeId} failed at attempt ${attempt}: ${message}`, options);
    this.upgradeId = upgradeId;
    this.attempt = attempt;
  }
}

/**
 * Thrown by a handler or a step: try again after this long, and do not count this attempt. For a portal that says when
 * it can be asked again.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage, RetryAfterError } from "@b24/onappupdate";
 *
 * createApp({ storage: memoryStorage() }).upgrade("2.0.0", async () => {
 *   const busy = await Promise.resolve(true);
 *   if (busy) throw new RetryAfterError(60_000, "the portal is being moved");
 * });
 * ```
 */
export class RetryAfterError extends OnAppUpdateError {
  /** Milliseconds to wait. */
  readonly afterMs: number;

  /**
   * `message` reaches the portal's record.
   *
   * @throws {TypeError} when `afterMs` is no finite number from 0
   */
  constructor(afterMs: number, message: string = "not now", options?: ErrorOptions) {
    super("retry_after", message, options);
    if (!Number.isFinite(afterMs) || afterMs < 0) {
      throw new TypeError(`cannot retry after ${afterMs} milliseconds, wanted a finite number from 0`);
    }
    this.afterMs = afterMs;
  }
}

/**
 * Thrown by a handler or a step: trying again would not help. The run is parked at once, and waits for a person.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage, NonRetriableError } from "@b24/onappupdate";
 *
 * createApp({ storage: memoryStorage() }).upgrade("2.0.0", ({ portal }) => {
 *   if (portal.domain.endsWith(".example")) throw new NonRetriableError("this portal has data that nobody can read");
 * });
 * ```
 */
export class NonRetriableError extends OnAppUpdateError {
  /** `message` reaches the portal's record. */
  constructor(message: string, options?: ErrorOptions) {
    super("non_retriable", message, options);
  }
}
