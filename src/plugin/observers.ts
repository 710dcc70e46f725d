/** Observers: the functions that a plugin registers to be notified. */
import type { B24Event } from "../bitrix24/events.ts";
import { option, type OptionRules } from "../check_options.ts";
import type { BlockedReason } from "../errors.ts";
import type { ClaimKind } from "../portal/claims.ts";

/** A portal and two of its versions, in reports to observers. */
export interface VersionChange {
  /** The portal. */
  readonly memberId: string;
  /** Version at the start. */
  readonly from: string;
  /** Version that is to be reached, or was asked for. */
  readonly to: string;
}

/** A step of an upgrade, in reports to observers. */
export interface StepReport extends VersionChange {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** Name of the step. */
  readonly step: string;
  /** 1 for the first attempt. */
  readonly attempt: number;
}

/** A failed upgrade, in reports to observers. */
export interface UpgradeFailure extends VersionChange {
  /** Id of the upgrade; absent if a plugin failed before any upgrade ran. */
  readonly upgradeId?: string;
  /** Name of the step that failed; absent if the failure was outside of steps. */
  readonly step?: string;
  /** Number of failures in a row, including this one. */
  readonly attempt: number;
  /** The error, with tokens redacted. */
  readonly error: Error;
}

/** A report of a change of a portal's state: it is kept until observers have been notified, see {@linkcode Observers}. */
export interface DurableReport {
  /** Id of the report, unique in the app. An observer that is notified again gets the same one. */
  readonly id: string;
  /** When the change was stored, in milliseconds since 1970. */
  readonly changedAt: number;
  /**
   * Number of earlier reports that this one replaces, because 32 of the portal waited: of the same kind, unless none was
   * left of it. Absent if there are none.
   */
  readonly replaced?: number;
}

/**
 * The functions that a plugin can register to be notified. Tokens in reports are wrapped in `Secret` or redacted.
 *
 * **Durable reports** tell of changes of a stored portal's state: `portalUpgraded`, `portalParked`, `portalResumed`,
 * `portalBlocked`, `portalUnblocked`, `portalRemoved` and `claimDropped`, and of changes of rollouts: `rolloutPaused`,
 * `rolloutResumed` and `rolloutFinished`. If a plugin of the app has the observer, the report is
 * stored in the same write as the change, and removed once all observers have been notified, which is one more write at most.
 * So a crash loses none: each is notified at least once, with the same `id` each time, in order, by the process that works on
 * the portal. The work of the portal waits for the observer, up to 10 seconds: pass what takes longer to `host.outbox`, with
 * the `id` of the report. An observer that throws a `StorageError` is called up to three times.
 *
 * **All other reports** are made in the process in which something happens, and nothing waits for the observer. A crash loses
 * them: rely on the storage for facts, and on these reports for monitoring.
 *
 * An observer that throws or rejects, or takes too long, is logged and has been notified.
 */
export interface Observers {
  /**
   * An authentic event was accepted. If it causes work, it is stored. Each event that is received ends in exactly one of
   * `eventReceived`, `duplicateReceived`, `eventRejected` and `eventsDropped`, unless a crash loses or repeats it.
   */
  readonly eventReceived: (
    report: {
      readonly event: B24Event;
      /** When its request arrived, in milliseconds since 1970: before its verification, which may have waited. */
      readonly receivedAt: number;
    },
  ) => void | Promise<void>;
  /**
   * An event is stored until Bitrix24 has been asked about it. `eventReceived`, `eventRejected`, `duplicateReceived` or
   * `eventsDropped` follows.
   */
  readonly eventPostponed: (report: { readonly event: B24Event }) => void | Promise<void>;
  /**
   * Events that waited for their verification are gone without one. `"expired"`: Bitrix24 did not answer for 24 hours;
   * `"replaced"`: too many events of the portal waited, and a check makes up for lost updates of a stored portal;
   * `"removed"`: the app was removed from the portal since.
   */
  readonly eventsDropped: (
    report: {
      readonly memberId: string;
      readonly count: number;
      readonly reason: "expired" | "replaced" | "removed";
    },
  ) => void | Promise<void>;
  /**
   * A request was refused with `status`, or an event that waited for its verification was: its request was answered 200, and
   * `status` is what it would have been answered. `memberId` and `event` are what the request claims, unverified.
   */
  readonly eventRejected: (
    report: {
      readonly status: number;
      readonly error: Error;
      readonly memberId?: string;
      readonly event?: string;
    },
  ) => void | Promise<void>;
  /** An event was received again, or waits for its verification already. Nothing runs. */
  readonly duplicateReceived: (report: { readonly event: B24Event }) => void | Promise<void>;
  /** A portal starts to run upgrades, in this order. */
  readonly runPlanned: (report: VersionChange & { readonly upgradeIds: readonly string[] }) => void | Promise<void>;
  /**
   * A handler of an upgrade or of an event has been running for `runningMs` milliseconds, ten minutes, and goes on. Once an
   * attempt.
   */
  readonly slowHandlerDetected: (
    report: {
      readonly memberId: string;
      /** Id of the upgrade; absent for a handler of `app.on`. */
      readonly upgradeId?: string;
      /** Name of the event; absent for an upgrade. */
      readonly event?: string;
      readonly runningMs: number;
    },
  ) => void | Promise<void>;
  /** A step of an upgrade, or a page of one, starts. */
  readonly stepStarted: (report: StepReport) => void | Promise<void>;
  /** A step of an upgrade, or a page of one, has succeeded. */
  readonly stepFinished: (report: StepReport) => void | Promise<void>;
  /**
   * A step of an upgrade has failed. Exactly one of `upgradeRetryScheduled`, `portalBlocked` and `portalParked` follows, or
   * none if the portal was blocked on the same thing before.
   */
  readonly stepFailed: (report: StepReport & { readonly error: Error }) => void | Promise<void>;
  /**
   * An upgrade has failed and runs again at `at`, in milliseconds since 1970. Each failure of an upgrade, or of a plugin that
   * keeps a portal below its target, ends in exactly one of this, `portalBlocked` and `portalParked`, or in none if the portal
   * was blocked on the same thing before; `eventFailed` does not report it.
   */
  readonly upgradeRetryScheduled: (report: UpgradeFailure & { readonly at: number }) => void | Promise<void>;
  /**
   * Durable. An upgrade has failed permanently. Its portal waits for `app.admin.retry`, `skip` or `rollback`. `error` has the
   * name, message and codes of what was thrown, and is no instance of its class. A rollback is not reported.
   */
  readonly portalParked: (
    report: UpgradeFailure & DurableReport & {
      /** As in `portal.failure.fingerprint`. */
      readonly fingerprint?: string;
    },
  ) => void | Promise<void>;
  /** Durable. A parked portal goes on: an operator has acted, or its target has changed. */
  readonly portalResumed: (report: VersionChange & DurableReport) => void | Promise<void>;
  /**
   * Durable. A portal waits for something that the customer or the vendor must do. It is tried again at `nextTryAt`, in
   * milliseconds since 1970; absent if it waits for `app.admin.retry` or `skip`. Reported when the block begins, however often
   * it is tried. If an event or an answer of Bitrix24 ends a block and the next attempt shows that it is not over, the same
   * `since` is reported again.
   */
  readonly portalBlocked: (
    report: DurableReport & {
      readonly memberId: string;
      readonly on: BlockedReason;
      readonly message: string;
      /** When the block began, in milliseconds since 1970. */
      readonly since: number;
      readonly nextTryAt?: number;
    },
  ) => void | Promise<void>;
  /** Durable. A portal no longer waits for this. `portalBlocked` alone is reported if it waits for something else now. */
  readonly portalUnblocked: (
    report: DurableReport & { readonly memberId: string; readonly on: BlockedReason; readonly since: number },
  ) => void | Promise<void>;
  /**
   * Durable. The app was removed from a portal, also if it is installed again already. `version`: that of the portal, if it is
   * known. `confirmed`: false if the removal is believed because Bitrix24 could not be asked.
   */
  readonly portalRemoved: (
    report: DurableReport & { readonly memberId: string; readonly version?: string; readonly confirmed: boolean },
  ) => void | Promise<void>;
  /** The app has asked Bitrix24 for the version of a portal. `isRaised`: this has raised the portal's target. */
  readonly portalChecked: (
    report: {
      readonly memberId: string;
      readonly isRaised: boolean;
      readonly problems: readonly { readonly code: string; readonly message: string }[];
    },
  ) => void | Promise<void>;
  /**
   * Durable. An event claimed a version, a removal or an unpaid period, and Bitrix24 has not confirmed it in time: it has had no
   * effect, and its handlers do not run.
   */
  readonly claimDropped: (
    report: DurableReport & { readonly memberId: string; readonly kind: ClaimKind; readonly version?: string },
  ) => void | Promise<void>;
  /** An upgrade has succeeded. */
  readonly upgradeApplied: (report: VersionChange & { readonly upgradeId: string }) => void | Promise<void>;
  /** Durable. A portal has reached its target. */
  readonly portalUpgraded: (report: VersionChange & DurableReport) => void | Promise<void>;
  /** An event announced a version below the portal's own. Nothing runs. */
  readonly downgradeIgnored: (report: VersionChange) => void | Promise<void>;
  /**
   * The handlers of an event have failed. They run again at `at`, in milliseconds since 1970; without `at`, the event is
   * parked: it has used up its attempts. The only report of this failure.
   */
  readonly eventFailed: (
    report: {
      readonly memberId: string;
      readonly event: string;
      readonly error: Error;
      readonly attempt: number;
      readonly at?: number;
    },
  ) => void | Promise<void>;
  /**
   * Durable. A rollout has paused. `by` and `reason`: an operator has paused it. `upgradeId`, `failed` and `finished`: so many
   * portals have failed in this upgrade (`"-"`: before one), and so many have finished.
   */
  readonly rolloutPaused: (
    report: DurableReport & {
      /** The version that portals are to reach. */
      readonly target: string;
      readonly by?: string;
      readonly reason?: string;
      readonly upgradeId?: string;
      readonly failed?: number;
      readonly finished?: number;
    },
  ) => void | Promise<void>;
  /** Durable. An operator has resumed a rollout. */
  readonly rolloutResumed: (
    report: DurableReport & { readonly target: string; readonly by: string; readonly reason: string },
  ) => void | Promise<void>;
  /** Durable. The portals of the last stage of a rollout, which has all portals, are done. */
  readonly rolloutFinished: (report: DurableReport & { readonly target: string }) => void | Promise<void>;
  /**
   * Messages in the outbox were dropped since the last report. `"full"`: as many wait as the share of the plugin in 10,000
   * messages; `"expired"`: they were not delivered within 7 days; `"dead"`: more than 1,000 dead letters, the oldest of the
   * plugin that has the most are dropped.
   */
  readonly outboxDropped: (
    report: {
      readonly plugin: string;
      readonly count: number;
      readonly reason: "full" | "expired" | "dead";
    },
  ) => void | Promise<void>;
  /** A tick has finished. */
  readonly tickFinished: (
    report: {
      readonly handled: number;
      readonly failed: number;
      /** Delay of the work that was due first when the tick began it, in milliseconds; 0 if no work was due. */
      readonly lagMs: number;
      /** Number of questions about unverified events that this process may still ask in the current minute. */
      readonly verificationsLeft: number;
    },
  ) => void | Promise<void>;
  /** The work of an event is done. */
  readonly eventHandled: (report: { readonly event: B24Event }) => void | Promise<void>;
}

/** The rules of {@linkcode Observers}. */
export const OBSERVER_RULES: OptionRules<Partial<Observers>> = {
  eventReceived: option.function(),
  eventPostponed: option.function(),
  eventsDropped: option.function(),
  eventRejected: option.function(),
  duplicateReceived: option.function(),
  runPlanned: option.function(),
  slowHandlerDetected: option.function(),
  stepStarted: option.function(),
  stepFinished: option.function(),
  stepFailed: option.function(),
  upgradeRetryScheduled: option.function(),
  portalParked: option.function(),
  portalResumed: option.function(),
  portalBlocked: option.function(),
  portalUnblocked: option.function(),
  portalRemoved: option.function(),
  portalChecked: option.function(),
  claimDropped: option.function(),
  upgradeApplied: option.function(),
  portalUpgraded: option.function(),
  downgradeIgnored: option.function(),
  eventFailed: option.function(),
  rolloutPaused: option.function(),
  rolloutResumed: option.function(),
  rolloutFinished: option.function(),
  outboxDropped: option.function(),
  tickFinished: option.function(),
  eventHandled: option.function(),
};
