/** Parameters and results of operators' functions: the operator, lists and their filters, batch operations. */
import type { BlockedReason, ErrorCode } from "../errors.ts";
import type { Portal, PortalState } from "../portal/portal.ts";

/** The operator of an action and the reason for it. `admin.audit()` shows both. */
export interface Attribution {
  /**
   * The operator, such as a user name. 1 to 100 characters, none of them a control character or one that changes the
   * direction of text, such as U+202E.
   */
  readonly by: string;
  /** The reason, such as a ticket. 1 to 500 characters; the same characters are refused. */
  readonly reason: string;
}

/** Describes portals. Members combine; members that are left out describe all. */
export interface PortalMatch {
  /** Only portals on this version, spelled as in `portal.version`. */
  readonly version?: string;
  /** Only portals in this state. */
  readonly status?: PortalState;
  /** Only portals with this domain, as in `portal.domain`, in either case. Portals that were moved may share one. */
  readonly domain?: string;
  /**
   * Only portals that had this domain before they were renamed, in either case. The last three of each portal are known, until
   * it is purged or forgotten.
   */
  readonly formerDomain?: string;
  /** Only portals that are blocked on this, as in `portal.blocked.on`. */
  readonly blockedOn?: BlockedReason;
  /** Only portals whose last failure was in the upgrade with this id, as in `portal.failure.upgradeId`. */
  readonly upgradeId?: string;
  /** Only portals whose last failure has this fingerprint, as in `portal.failure.fingerprint`. */
  readonly fingerprint?: string;
}

/** Selects portals for {@linkcode Admin.portals}; members that are left out select all. */
export interface PortalFilter extends PortalMatch {
  /** Only portals after this `member_id`; pass `next` of a page to get the next page. */
  readonly after?: string;
  /**
   * Maximum number of portals, 1 to 1000.
   *
   * @default 100
   */
  readonly limit?: number;
}

/** A page of portals. */
export interface PortalPage {
  /** The portals that match, in the order of their `member_id`. */
  readonly items: readonly Portal[];
  /**
   * The `member_id`s of portals on this page whose records this process cannot read, because newer code wrote them or their
   * encryption key is missing: it can neither show them nor tell whether they match. Absent if there are none.
   */
  readonly unreadable?: readonly string[];
  /** Pass it as `after` to get the next page; absent after the last one. A page may have no items and a `next`. */
  readonly next?: string;
}

/** Selects portals for {@linkcode Admin.unverified}. */
export interface UnverifiedFilter {
  /** Only portals after this `member_id`; pass `next` of a page to get the next page. */
  readonly after?: string;
  /**
   * Maximum number of portals, 1 to 1000.
   *
   * @default 100
   */
  readonly limit?: number;
}

/** The events that wait for verification with one `member_id`. */
export interface UnverifiedEvents {
  /** As the events say: anybody can make one up. */
  readonly memberId: string;
  /** Whether a portal with this `member_id` was stored when the latest of the events came. */
  readonly isKnown: boolean;
  /** At least one. */
  readonly events: readonly UnverifiedEvent[];
}

/** An event that waits for its verification. */
export interface UnverifiedEvent {
  /** Its name as the event says, cut after 200 characters. */
  readonly name: string;
  /** In milliseconds since 1970. The event is dropped 24 hours later. */
  readonly receivedAt: number;
  /** Length of its body in characters. */
  readonly size: number;
  /** It came from one of `trustedAddresses`. */
  readonly isTrusted: boolean;
  /** Number of questions without an answer. */
  readonly attempts: number;
  /** Message of the last error, without tokens, cut after 200 characters; absent before the first attempt has failed. */
  readonly error?: string;
  /** When Bitrix24 is asked next, in milliseconds since 1970; in the past if the event waits for its turn. */
  readonly nextTryAt: number;
}

/** A page of {@linkcode Admin.unverified}. */
export interface UnverifiedPage {
  /** The portals, in the order of their `member_id`. */
  readonly items: readonly UnverifiedEvents[];
  /** Pass it as `after` to get the next page; absent after the last one. */
  readonly next?: string;
}

/** Options of {@linkcode Admin.stuck}. */
export interface StuckFilter {
  /**
   * Maximum number of groups, 1 to 100.
   *
   * @default 20
   */
  readonly limit?: number;
}

/** The portals in one state that are stuck for one cause. */
export interface StuckGroup {
  /** `"upgrading"`: an attempt has failed, and another one follows. */
  readonly status: "parked" | "blocked" | "upgrading";
  /** Number of portals. At least 1. */
  readonly count: number;
  /** The need of blocked portals; absent for others. */
  readonly blockedOn?: BlockedReason;
  /** As in `portal.failure.fingerprint`; absent if no attempt has failed, or an operator has rolled the portals back. */
  readonly fingerprint?: string;
  /** The upgrade in which the portals have failed; absent if they are blocked, or a plugin failed before an upgrade. */
  readonly upgradeId?: string;
  /** The step in which they have failed; absent if they are blocked, or have failed outside a step. */
  readonly step?: string;
  /** The message of the example; absent if there is no example. */
  readonly message?: string;
  /** One of the portals; absent if all of them have gone on meanwhile. */
  readonly example?: { readonly memberId: string; readonly domain: string };
}

/** Selects snapshots for {@linkcode Admin.snapshots}. Times are in milliseconds since 1970. */
export interface SnapshotFilter {
  /**
   * Only snapshots since the hour or the day of this time. Minimum: 0.
   *
   * @default 7 days before `to`
   */
  readonly from?: number;
  /**
   * Only snapshots up to the hour or the day of this time. Minimum: 0.
   *
   * @default now
   */
  readonly to?: number;
  /**
   * `"hour"`: one an hour; they are kept for 90 days. `"day"`: one a day; they are kept for two years.
   *
   * @default "hour"
   */
  readonly every?: "hour" | "day";
}

/** The actions that the audit log records. */
export type AuditedAction =
  | "retry"
  | "skip"
  | "rollback"
  | "setInitialVersion"
  | "setTarget"
  | "forget"
  | "pause"
  | "resume"
  | "batch"
  | "adopt"
  | "outbox.retry"
  | "recount"
  | "rollout.set"
  | "rollout.pause"
  | "rollout.resume"
  | "rollout.promote"
  | "rollout.abort"
  | "check"
  | "rehearse"
  | "silence.add"
  | "silence.remove"
  | "export";

/** An action of an operator. */
export interface AuditEntry extends Attribution {
  /** Unique. Later entries come first in the order of ids. */
  readonly id: string;
  /** When the action began, in milliseconds since 1970. */
  readonly at: number;
  /**
   * The function of `app.admin`; or `"check"` or `"rehearse"` of the app or `"export"` of a list, which
   * {@linkcode Admin.noteAction} records.
   */
  readonly action: AuditedAction;
  /** The portal; absent for actions on the app. */
  readonly memberId?: string;
  /** The other arguments of the function, such as the id of an upgrade. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Id of the batch operation that this action is a part of. */
  readonly batchId?: string;
  /**
   * `"pending"`: under way, or its process has ended. `"done"`. `"refused"`: nothing was changed. `"failed"`: it may be done
   * in part.
   */
  readonly outcome: "pending" | "done" | "refused" | "failed";
  /** When it ended, in milliseconds since 1970; absent while it is pending. */
  readonly finishedAt?: number;
  /** The error of an action that was refused or failed, without tokens. `message` is cut at 500 characters. */
  readonly error?: { readonly code?: ErrorCode; readonly message: string };
}

/** An attempt, or an action that is no function of `app.admin`, for {@linkcode Admin.noteAction}. */
export interface ActionNote extends Attribution {
  /** The function of `app.admin` that was not called, or `"check"`, `"rehearse"` or `"export"`. */
  readonly action: AuditedAction;
  /** The portal; absent for actions on the app. */
  readonly memberId?: string;
  /** Other facts, such as the filter of an export. JSON of at most 4,000 characters. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The reason why the attempt was refused, without tokens, cut at 500 characters; absent if it was done. */
  readonly refusal?: string;
}

/** Selects entries for {@linkcode Admin.audit}; members that are left out select all. */
export interface AuditFilter {
  /** Only actions on this portal. */
  readonly memberId?: string;
  /** Only actions of this operator. */
  readonly by?: string;
  /** Only these actions. */
  readonly action?: AuditedAction;
  /** Only the start, the stop and the actions of this batch operation. */
  readonly batchId?: string;
  /** Only entries after the one with this id, which are older; pass `next` of a page to get the next page. */
  readonly after?: string;
  /**
   * Maximum number of entries. Minimum: 1.
   *
   * @default 100
   */
  readonly limit?: number;
}

/** A page of the audit log. */
export interface AuditPage {
  /** The entries that match, the latest first. */
  readonly items: readonly AuditEntry[];
  /** Pass it as `after` to get the next page; absent after the last one. A page may have no items and a `next`. */
  readonly next?: string;
}

/** A batch operation that is to be started. */
export interface NewBatch extends Attribution {
  /** The function of `app.admin` that is called for each portal. */
  readonly action: "retry" | "skip" | "rollback" | "setTarget" | "setInitialVersion";
  /** The id of the upgrade; required for `skip`. */
  readonly upgradeId?: string;
  /** The version; required for `setTarget` and `setInitialVersion`. */
  readonly version?: string;
  /** The portals. At least one member. */
  readonly match: PortalMatch;
  /** The number of portals that the operator has seen. If more match, nothing is started. Minimum: 0. */
  readonly expect: number;
}

/** The answer to a batch operation that was to be started. */
export interface StartedBatch {
  /** The number of portals that match now. */
  readonly matched: number;
  /** The id of the batch operation; absent if more portals match than were expected: then nothing is started. */
  readonly id?: string;
}

/** A batch operation. */
export interface Batch extends NewBatch {
  /** Unique. */
  readonly id: string;
  /** `"stopped"`: an operator ended it. */
  readonly state: "running" | "finished" | "stopped";
  /** The target of a rollout: `rollout.resume()` has started it to retry only the parked portals of that rollout. */
  readonly rollout?: string;
  /** Number of portals that matched when it was started. */
  readonly matched: number;
  /** Number of portals on which the action was done. */
  readonly done: number;
  /**
   * Number of portals whose action was refused, such as `skip` of an upgrade that is not due, or failed, and of those
   * whose records cannot be read.
   */
  readonly refused: number;
  /** Number of portals that no longer matched when it was their turn. Nothing was done to them. */
  readonly changed: number;
  /**
   * Number of portals that a worker was processing: a `rollback` of them is tried again every 30 seconds, up to 20 times, and
   * then counts as refused. Absent if there are none.
   */
  readonly busy?: number;
  /** In milliseconds since 1970. */
  readonly startedAt: number;
  /** When it ended, in milliseconds since 1970; absent while it is running, or acting on its last portals after a stop. */
  readonly endedAt?: number;
}

/** Batch operations: an action on all portals that match. */
export interface Batches {
  /**
   * Counts the portals on which a batch operation would act. Its cost depends on how many match the most selective member of
   * `match`, not on the number of portals.
   *
   * @throws {TypeError} if a member of `match` is unknown or invalid, or it has none
   * @throws {StorageError} if the storage fails
   */
  readonly count: (match: PortalMatch) => Promise<number>;
  /**
   * Starts a batch operation. It resolves once that is stored. The work follows in this process if the app is started, else
   * with the next tick of any process; the action is done once for each portal, also if processes end.
   *
   * @throws {TypeError} if an option is invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * const match = { status: "parked", upgradeId: "3" } as const;
   * const { id, matched } = await admin.batches.start({
   *   ...{ action: "retry", match, expect: 40, by: "ada", reason: "ticket 17: fixed in 3.0.1" },
   * });
   * if (id === undefined) console.log(`nothing is started: ${matched} portals match, more than expected`);
   * await close();
   * ```
   */
  readonly start: (batch: NewBatch) => Promise<StartedBatch>;
  /**
   * Lists batch operations: those that are running first, then those that are over, the latest first. Those of the last 400
   * days are kept.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly list: (options?: BatchListOptions) => Promise<readonly Batch[]>;
  /**
   * Ends a batch operation after the portals that it is acting on. Does nothing if it is over.
   *
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {OnAppUpdateError} with code `unknown_batch`, if no batch operation has this id
   * @throws {StorageError} if the storage fails
   */
  readonly stop: (id: string, attribution: Attribution) => Promise<void>;
}

/** Options of {@linkcode Batches.list}. */
export interface BatchListOptions {
  /**
   * Maximum number of batch operations that are over. Minimum: 1.
   *
   * @default 20
   */
  readonly limit?: number;
}
