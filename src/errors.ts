/** The errors of this package, one class per cause. No message contains a token. */

/** The stable codes of the errors of this package, for programs that branch on them. */
export type ErrorCode =
  | "address"
  | "answer_too_large"
  | "bitrix24"
  | "busy"
  | "cannot_verify"
  | "copy"
  | "format"
  | "http"
  | "inbox_full"
  | "input"
  | "invalid_target"
  | "invalid_version"
  | "last_stage"
  | "no_credentials"
  | "non_retriable"
  | "not_authentic"
  | "not_due"
  | "not_rehearsed"
  | "nothing_to_roll_back"
  | "other_deployment"
  | "other_stage"
  | "retry_loop"
  | "rollback_unfinished"
  | "rollout_over"
  | "portal_moved"
  | "removed"
  | "retry_after"
  | "storage"
  | "unknown_batch"
  | "unknown_portal"
  | "unknown_rollout"
  | "unknown_silence"
  | "unreachable"
  | "upgrade"
  | "version";

/**
 * The base class of all errors of this package. Branch on `code`, or on the class; two copies of the package have different
 * classes, and the same codes.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage, OnAppUpdateError } from "@b24/onappupdate";
 *
 * const { admin, close } = createApp({ storage: memoryStorage() });
 * try {
 *   await admin.rollback("a223c6b3710f85df22e9377d6c4f7553", { by: "ada", reason: "ticket 17" });
 * } catch (error) {
 *   if (!(error instanceof OnAppUpdateError)) throw error; // an undo function has failed
 *   if (error.code === "busy") console.log("a worker is processing the portal: try again in a minute");
 *   else console.log(error.code, error.message); // unknown_portal no portal a223… is stored
 * }
 * await close();
 * ```
 */
export class OnAppUpdateError extends Error {
  /** The cause, for programs. It stays the same between versions; the message, for people, may change. */
  readonly code: ErrorCode;

  /** `message` must not contain a token. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** One mistake in a request. */
export interface InputIssue {
  /** Path of the field, such as `data.VERSION`; empty for the whole body. */
  readonly path: string;
  /** A description of the value that was found, without tokens. */
  readonly saw: string;
  /** A description of a valid value. */
  readonly wanted: string;
}

/** The request body is not an event of Bitrix24: it cannot be decoded, or a field is missing or malformed. */
export class InputError extends OnAppUpdateError {
  /** All mistakes, in the order of the fields. */
  readonly issues: readonly InputIssue[];

  /** `issues` has at least one element. */
  constructor(issues: readonly InputIssue[]) {
    super("input", issues.map((i) => `${i.path || "body"}: saw ${i.saw}, wanted ${i.wanted}`).join("; "));
    this.issues = issues;
  }
}

/** A string is not a version. */
export class VersionError extends OnAppUpdateError {
  /** The string that was read. */
  readonly raw: string;

  /** The message quotes the first 40 characters of `raw`. */
  constructor(raw: string, wanted = `a version such as "3", "2.1" or "2.1.0"`) {
    super("version", `cannot read version ${JSON.stringify(raw.slice(0, 40))}, wanted ${wanted}`);
    this.raw = raw;
  }
}

/**
 * The event is not from Bitrix24, or not for this app or this portal. Plugins of phase `verify` throw it; the event is
 * answered 403 and not stored.
 */
export class NotAuthenticError extends OnAppUpdateError {
  /** `reason` is logged and reported to observers, and never sent to the client. */
  constructor(reason: string, options?: ErrorOptions) {
    super("not_authentic", reason, options);
  }
}

/**
 * The event cannot be verified now: Bitrix24 must be asked, or does not answer. Plugins of phase `verify` throw it; the event
 * is stored, and verified later. It is answered 503 only if too many wait already.
 */
export class CannotVerifyError extends OnAppUpdateError {
  /** `reason` is logged and reported to observers, and never sent to the client. */
  constructor(reason: string, options?: ErrorOptions) {
    super("cannot_verify", reason, options);
  }
}

/** Too many events of a portal wait for their handlers: an ordinary event is answered 503 and not stored. */
export class InboxFullError extends OnAppUpdateError {
  /** `waiting` is the number of ordinary events that wait, parked ones included. */
  constructor(memberId: string, waiting: number) {
    super(
      "inbox_full",
      `cannot store a further event of portal ${memberId}: ${waiting} wait; repair or speed up the handlers that they ` +
        "wait for, and retry parked ones by admin.retry()",
    );
  }
}

/** The storage has failed. A failed read throws this error and never looks like an absent entry. */
export class StorageError extends OnAppUpdateError {
  /** The key of a single entry that cannot be read; others may be readable, and a listing can continue after it. */
  readonly unreadableKey?: readonly [string, ...string[]];

  /** `message` names the operation and the storage. */
  constructor(message: string, options?: ErrorOptions & { readonly unreadableKey?: readonly [string, ...string[]] }) {
    super("storage", message, options);
    if (options?.unreadableKey !== undefined) this.unreadableKey = options.unreadableKey;
  }
}

/** A stored entry was written by a newer version of this package. Nothing was changed. */
export class FormatError extends OnAppUpdateError {
  /**
   * `what` names the entry, such as `portal a223…`; `found` is its format, and `wanted` the one that this code reads. An entry
   * without a format is probably encrypted.
   */
  constructor(what: string, found: unknown, wanted: number) {
    const problem = found === undefined
      ? `no format, wanted ${wanted}; if it is encrypted, wrap the storage in encrypted() with its keys`
      : `format ${String(found)}, wanted ${wanted}; deploy the version of @b24/onappupdate that wrote it`;
    super("format", `${what} has ${problem}`);
  }
}

/** An entry that `copyStorage` could not copy. */
export interface CopyProblem {
  /** The key of the entry. */
  readonly key: readonly string[];
  /** The target has no such entry, has a different one, or does not accept one of this size. */
  readonly problem: "missing" | "different" | "too large";
}

/** `copyStorage` has read all entries, and at least one is not in the target as it is in the source. */
export class CopyError extends OnAppUpdateError {
  /** The entries that were not copied, in the order of their keys. */
  readonly problems: readonly CopyProblem[];

  /** `from` and `to` are the names of the storages. `problems` has at least one element. */
  constructor(from: string, to: string, problems: readonly CopyProblem[]) {
    const some = problems.slice(0, 3).map(({ key, problem }) => `${JSON.stringify(key)} (${problem})`).join(", ");
    const rest = problems.length > 3 ? ` and ${problems.length - 3} more` : "";
    super(
      "copy",
      `cannot copy all entries of ${from} to ${to}: ${some}${rest}; stop everything that writes to them and repeat, ` +
        `with overwrite: true to keep what ${from} has`,
    );
    this.problems = problems;
  }
}

/**
 * The need of a blocked portal: its work cannot continue before.
 *
 * From the customer: a `scope`, a `payment`, an administrator's `confirmation` of a method, the token of an
 * `administrator`, a new `authorization`, or the `installation` of the app, which needs the vendor's own
 * handlers of ONAPPINSTALL too. From the vendor: a valid `configuration`, such as `clientId`, `clientSecret` and
 * `extraPortalHosts`, or the `version` that the data of a portal is on that had the app before; or the vendor's `rollout` has not
 * come to the portal, or is paused.
 */
export type BlockedReason =
  | "scope"
  | "payment"
  | "confirmation"
  | "administrator"
  | "authorization"
  | "installation"
  | "configuration"
  | "version"
  | "rollout";

/** A host of Bitrix24 did not answer, or its answer cannot be read. The request may have taken effect all the same. */
export class UnreachableError extends OnAppUpdateError {
  /** `message` names the host and the problem, without tokens. */
  constructor(message: string, options?: ErrorOptions) {
    super("unreachable", message, options);
  }
}

/** An answer of a portal or an OAuth host exceeds a limit and was not parsed. The request may have taken effect. */
export class AnswerTooLargeError extends OnAppUpdateError {
  /** The limit that was exceeded. */
  readonly limit: "answerBytes" | "answerContainers";
  /** The value of the limit. */
  readonly max: number;

  /** The message contains `max`, and nothing of the answer. */
  constructor(limit: "answerBytes" | "answerContainers", max: number) {
    super(
      "answer_too_large",
      `the answer has more than ${max} ${limit === "answerBytes" ? "bytes" : "arrays and objects"}`,
    );
    this.limit = limit;
    this.max = max;
  }
}

/**
 * A portal cannot be called: the app has no access token for it, or its license has ended. If a handler throws this
 * error, its portal is blocked.
 */
export class NoCredentialsError extends OnAppUpdateError {
  /** The need of the portal: it cannot be called before. */
  readonly blockedOn: BlockedReason;

  /** `why` is the end of the message. */
  constructor(memberId: string, blockedOn: BlockedReason, why: string, options?: ErrorOptions) {
    super("no_credentials", `cannot call portal ${memberId}: ${why}`, options);
    this.blockedOn = blockedOn;
  }
}

/**
 * `app.rehearse` cannot do what an upgrade or a plugin asks for, such as a request by `ctx.fetch`. The report names it as not
 * rehearsed.
 */
export class NotRehearsedError extends OnAppUpdateError {
  /** `what` is the end of the message. */
  constructor(what: string) {
    super("not_rehearsed", `cannot rehearse ${what}`);
  }
}

/**
 * An address may not be called: it is not https, not public, or not confirmed to be a portal's. If a handler throws this
 * error with a `blockedOn`, its portal is blocked.
 */
export class AddressError extends OnAppUpdateError {
  /** `"configuration"`: the option `extraPortalHosts` would allow the host; absent if it would not. */
  readonly blockedOn?: "configuration";

  /** `reason` names the host and the problem. */
  constructor(reason: string, { blockedOn, ...options }: ErrorOptions & { readonly blockedOn?: "configuration" } = {}) {
    super("address", reason, options);
    if (blockedOn !== undefined) this.blockedOn = blockedOn;
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
  /** The `member_id` that was not found. */
  readonly memberId: string;

  /** The message contains `memberId`, which is not a secret. */
  constructor(memberId: string) {
    super("unknown_portal", `no portal ${memberId} is stored`);
    this.memberId = memberId;
  }
}

/** An upgrade has failed. Its portal stays on its version until a retry succeeds. */
export class UpgradeError extends OnAppUpdateError {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** Number of attempts, including this one. */
  readonly attempt: number;

  /** `options.cause` is what the handler threw. */
  constructor(upgradeId: string, attempt: number, message: string, options?: ErrorOptions) {
    super("upgrade", `upgrade ${upgradeId} failed at attempt ${attempt}: ${message}`, options);
    this.upgradeId = upgradeId;
    this.attempt = attempt;
  }
}

/**
 * Schedules the next attempt: a handler or a step that throws it runs again after `afterMs`, and this attempt does not
 * count towards `maxAttempts`. For example for a service that answers when it can be called again.
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
  /** Milliseconds until the next attempt, which begins after a second at the earliest. Minimum: 0. */
  readonly afterMs: number;

  /**
   * `message` is stored with the portal: it must not contain a secret.
   *
   * @throws {TypeError} if `afterMs` is not a finite number from 0
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
 * Stops retrying: a handler or a step that throws it parks its portal at once, and an operator must retry, skip or roll
 * back.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage, NonRetriableError } from "@b24/onappupdate";
 *
 * createApp({ storage: memoryStorage() }).upgrade("2.0.0", ({ portal }) => {
 *   if (portal.domain.endsWith(".example")) throw new NonRetriableError("this portal has data that cannot be migrated");
 * });
 * ```
 */
export class NonRetriableError extends OnAppUpdateError {
  /** `message` is stored with the portal: it must not contain a secret. */
  constructor(message: string, options?: ErrorOptions) {
    super("non_retriable", message, options);
  }
}
