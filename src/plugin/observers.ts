/** Observers: the functions that a plugin registers to be notified. */
import type { B24Event } from "../bitrix24/events.ts";
import type { BlockedReason } from "../errors.ts";

/** An upgrade or a portal, in reports to observers. */
export interface VersionChange {
  /** The portal. */
  readonly memberId: string;
  /** Version it comes from. */
  readonly from: string;
  /** Version it goes to. */
  readonly to: string;
}

/** A step of an upgrade, in reports to observers. */
export interface StepReport extends VersionChange {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** Name of the step. */
  readonly step: string;
  /** 1 at the first time. */
  readonly attempt: number;
}

/** An upgrade that failed, in reports to observers. */
export interface UpgradeFailure extends VersionChange {
  /** Id of the upgrade; absent when a plugin failed before it, such as one that puts registrations back. */
  readonly upgradeId?: string;
  /** Name of the step that failed, if it was in one. */
  readonly step?: string;
  /** How often it has failed in a row. */
  readonly attempt: number;
  /** Without tokens. */
  readonly error: Error;
}

/**
 * What a plugin can be told. Nothing of it holds a token in readable form. Observers run in the process where it
 * happens, and a crash may swallow a report: count on storage, not on reports.
 */
export interface Observers {
  /** A genuine event is stored. */
  readonly eventReceived: (report: { readonly event: B24Event }) => void | Promise<void>;
  /** A request was refused with `status`. `memberId` is what it claims. */
  readonly eventRejected: (
    report: {
      readonly status: number;
      readonly error: Error;
      readonly memberId?: string;
      readonly event?: string;
    },
  ) => void | Promise<void>;
  /** An event came again; nothing is run. */
  readonly duplicateReceived: (report: { readonly event: B24Event }) => void | Promise<void>;
  /** A portal begins to run upgrades, in this order. */
  readonly runPlanned: (report: VersionChange & { readonly upgradeIds: readonly string[] }) => void | Promise<void>;
  /** A step of an upgrade, or a page of one, begins. */
  readonly stepStarted: (report: StepReport) => void | Promise<void>;
  /** A step of an upgrade, or a page of one, has ended well. */
  readonly stepFinished: (report: StepReport) => void | Promise<void>;
  /** A step of an upgrade failed; `retried` or `parked` follows. */
  readonly stepFailed: (report: StepReport & { readonly error: Error }) => void | Promise<void>;
  /** An upgrade failed and is tried again at `at`, in milliseconds since 1970. */
  readonly upgradeRetryScheduled: (report: UpgradeFailure & { readonly at: number }) => void | Promise<void>;
  /** An upgrade failed for good, and waits for `app.admin.retry`, `skip` or `rollback`. */
  readonly portalParked: (report: UpgradeFailure) => void | Promise<void>;
  /** A portal waits for what nobody here can hasten; it is looked at again at `until`, in milliseconds since 1970. */
  readonly portalBlocked: (
    report: {
      readonly memberId: string;
      readonly for: BlockedReason;
      readonly message: string;
      readonly until: number;
    },
  ) => void | Promise<void>;
  /** Bitrix24 was asked about a portal of which no event told. */
  readonly portalChecked: (
    report: {
      readonly memberId: string;
      readonly isRaised: boolean;
      readonly problems: readonly { readonly code: string; readonly message: string }[];
    },
  ) => void | Promise<void>;
  /** One upgrade finished. */
  readonly upgradeApplied: (report: VersionChange & { readonly upgradeId: string }) => void | Promise<void>;
  /** A portal is on its target. */
  readonly portalUpgraded: (report: VersionChange) => void | Promise<void>;
  /** A portal was asked to go down; it stays where it is. */
  readonly downgradeIgnored: (report: VersionChange) => void | Promise<void>;
  /** The work of an event failed; it is tried again. */
  readonly eventFailed: (
    report: { readonly memberId: string; readonly event: string; readonly error: Error; readonly attempt: number },
  ) => void | Promise<void>;
  /** A tick is over. */
  readonly tickFinished: (report: { readonly handled: number; readonly failed: number }) => void | Promise<void>;
  /** The work of an event is done. */
  readonly eventHandled: (report: { readonly event: B24Event }) => void | Promise<void>;
}
