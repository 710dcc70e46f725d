/** The history of a portal, as operators' functions return it. */
import type { FailedAttempt } from "../portal/failed_attempts.ts";
import type { AppliedUpgrade } from "../portal/portal.ts";
import type { RecordedStep } from "../portal/run_steps.ts";

/** The history of a portal. All lists have the newest entry first. */
export interface PortalHistory {
  /** The deliveries of life-cycle events that wait, and the last 64 that are done. */
  readonly deliveries: readonly PortalDelivery[];
  /** The current run, if there is one, and the last 20 finished ones. */
  readonly runs: readonly RecordedRun[];
  /** The last 50 failed attempts at upgrades, and at the handlers of life-cycle events. */
  readonly attempts: readonly FailedAttempt[];
}

/** An event of the app's life cycle on a portal: an installation, update, removal, payment and the like. */
export interface PortalDelivery {
  /** Id of the delivery, as in logs. */
  readonly id: string;
  /** Name of the event as Bitrix24 sends it; `ONAPPUPDATE` also of an update that a check or the deployed version caused. */
  readonly name: string;
  /** When Bitrix24 sent the event, in seconds since 1970, by its clock; absent if it sent none. */
  readonly ts?: number;
  /** When the app received it, in milliseconds since 1970. */
  readonly receivedAt: number;
  /**
   * - `waiting`: its work is not done, or waits for the portal's upgrades or for Bitrix24's confirmation.
   * - `retrying`: its handlers failed, or the portal is blocked; they run again at `retryAt`.
   * - `parked`: its handlers failed permanently; it waits for `app.admin.retry`.
   * - `handled`: its handlers have run.
   * - `skipped`: a plugin did not let its handlers run, or an operator skipped them.
   * - `unconfirmed`: Bitrix24 did not confirm what it claimed, so its handlers did not run.
   * - `outdated`: the app was removed, or installed again, before its handlers could run.
   */
  readonly state: "waiting" | "retrying" | "parked" | "handled" | "skipped" | "unconfirmed" | "outdated";
  /** When its work was done, in milliseconds since 1970; absent while it is not. */
  readonly doneAt?: number;
  /** Number of failed attempts at its handlers, while it waits; absent once it is done. */
  readonly attempts?: number;
  /** Message of the last error of its handlers, without tokens; absent if they did not fail, and once it is done. */
  readonly error?: string;
  /** When its handlers run again, in milliseconds since 1970; absent if they did not fail, and once it is done. */
  readonly retryAt?: number;
}

/** A run: one portal's way from its version to its target. Times are in milliseconds since 1970. */
export interface RecordedRun {
  /** Unique among the runs of its portal. Later runs have greater ids. */
  readonly id: string;
  /** Number of the installation that it belongs to: `portal.generation` at that time. */
  readonly generation: number;
  /** Version at its start. */
  readonly from: string;
  /** Version that it reached, or is to reach. */
  readonly to: string;
  /** When it started. */
  readonly startedAt: number;
  /** When it finished; absent if it is the current run. */
  readonly finishedAt?: number;
  /** When its rollback ended; absent if it was not rolled back, or had not finished before. */
  readonly rolledBackAt?: number;
  /** The upgrades that it has applied, in order; those that were skipped are marked. */
  readonly applied: readonly AppliedUpgrade[];
  /** The upgrades that it has started, in order, with their steps in the order in which they finished. */
  readonly upgrades: readonly { readonly upgradeId: string; readonly steps: readonly RecordedStep[] }[];
  /**
   * Number of calls that its upgrades have made by REST method, or by whatever name they were counted under: see
   * {@linkcode countCall}. At most 50 names, and `"other"` for the rest. The last calls before a crash may be missing.
   */
  readonly calls: Readonly<Record<string, number>>;
}

/** A finished run. */
export interface FinishedRun extends RecordedRun {
  /** When it finished. */
  readonly finishedAt: number;
}
