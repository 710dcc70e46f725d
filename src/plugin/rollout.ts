/** Rollout control as apps and operators use it: options, status and operators' functions. `src/rollout/` implements it. */
import type { Attribution } from "./admin_pages.ts";

/**
 * Options of a rollout: how a version reaches portals. The first process that sees a target stores them with it; later
 * changes are made by `app.admin.rollout.set`.
 *
 * @example
 * ```ts
 * import { createApp, deployed, memoryStorage } from "@b24/onappupdate";
 *
 * const app = createApp({
 *   storage: memoryStorage(),
 *   versions: deployed("2.0.0"),
 *   rollout: {
 *     stages: [{ portals: 5 }, { percent: 10, forMs: 24 * 60 * 60 * 1000 }, { percent: 100 }],
 *     pauseWhen: { failed: 3, percent: 5 },
 *   },
 * });
 * await app.close();
 * ```
 */
export interface RolloutOptions {
  /**
   * The stages, each with all portals of those before it. Numbers of portals rise, then percentages do.
   *
   * @default [{ percent: 100 }]
   */
  readonly stages?: readonly RolloutStage[];
  /**
   * `member_id`s of portals that belong to every stage, such as your own. They count among the `portals` of a stage. At most
   * 150. Those that are not stored are named in a warning.
   *
   * @default []
   */
  readonly first?: readonly string[];
  /**
   * `member_id`s of portals that belong to no stage, whatever else is said. At most 150. Those that are not stored are named in
   * a warning.
   *
   * @default []
   */
  readonly hold?: readonly string[];
  /**
   * When the rollout pauses by itself. The failures of an upgrade count together, whatever target its portals are going to.
   *
   * @default { failed: 3, percent: 5 }
   */
  readonly pauseWhen?: PauseWhen;
  /** When upgrades of portals may begin. What has begun goes on. By default, at any time. */
  readonly window?: RolloutWindow;
  /**
   * Maximum number of portals, over all processes, on which an upgrade is in flight: from before its first handler until the
   * portal is on its target, parked, blocked or asleep. A whole number. Minimum: 1. Maximum: 300.
   *
   * @default 300
   */
  readonly concurrency?: number;
  /**
   * `"deployed"`: stages apply to targets of `deployed()`, and updates that customers have started are only paused by
   * failures. `"all"`: stages apply to those, too. Such a portal waits, although its customer sees the new interface:
   * `app.open()` tells the page.
   *
   * @default "deployed"
   */
  readonly appliesTo?: "deployed" | "all";
}

/** A stage of a rollout. */
export type RolloutStage =
  /**
   * The portals with the lowest hashes of target and `member_id`, those of `first` included. 1 to 100. `forMs`: as below.
   */
  | { readonly portals: number; readonly forMs?: number }
  /**
   * This part of all portals, by the hash of target and `member_id`. 0 to 100. `forMs`: milliseconds that the stage lasts
   * once its portals are done; without it, the next stage waits for `app.admin.rollout.promote`. Minimum: 0.
   */
  | { readonly percent: number; readonly forMs?: number };

/**
 * The number of failed portals at which a rollout pauses: the higher of both. A portal has failed if it is parked, or if two
 * attempts in a row have failed and none has succeeded since. No more portals are in flight than may still fail.
 */
export interface PauseWhen {
  /**
   * Number of failed portals since the last resume. A whole number. Minimum: 1.
   *
   * @default 3
   */
  readonly failed?: number;
  /**
   * Percentage of the portals that have finished since the last resume. 0 to 100.
   *
   * @default 0, and 5 without `pauseWhen`
   */
  readonly percent?: number;
}

/**
 * Times of day at which upgrades may begin. A time that does not exist on a day, because clocks are put forward, is the next
 * one that does; an hour that comes twice counts both times.
 */
export interface RolloutWindow {
  /** Begin, as `"22:00"`. */
  readonly from: string;
  /** End, as `"06:00"`; on the next day if it is before `from`. */
  readonly to: string;
  /**
   * Days of the week on which the window begins, 1 for Monday to 7 for Sunday.
   *
   * @default all days
   */
  readonly days?: readonly number[];
  /** Time zone of the times, such as `"Europe/Berlin"`. */
  readonly timeZone: string;
}

/** The options of a rollout that `app.admin.rollout.set` changes; those that are left out stay as they are. */
export type RolloutChanges = Pick<RolloutOptions, "stages" | "first" | "hold" | "pauseWhen"> & {
  /** `null`: at any time. */
  readonly window?: RolloutWindow | null;
};

/** A stage in the status of a rollout. */
export interface RolloutStageStatus {
  /** Number of portals, if the stage is one of `portals`. */
  readonly portals?: number;
  /** Part of the portals, if the stage is one of `percent`. */
  readonly percent?: number;
  /** Milliseconds that the stage lasts once its portals are done; absent if it waits for `promote`. */
  readonly forMs?: number;
  /** Whether the stage is over, the present one, or to come. */
  readonly state: "over" | "present" | "later";
}

/** Failures with one cause. */
export interface RolloutFailure {
  /** As in `portal.failure.fingerprint`. */
  readonly fingerprint: string;
  /** Id of the upgrade; absent if a plugin failed before it. */
  readonly upgradeId?: string;
  /** Message of one of the failures. */
  readonly message: string;
  /** Number of portals with this cause, also of those on their way to another target. At least 1. */
  readonly count: number;
  /** Up to five of the portals. */
  readonly memberIds: readonly string[];
}

/** The failures of an upgrade since the last resume, and the portals on which it is in flight. */
export interface RolloutBreaker {
  /** Id of the upgrade; `"-"` for portals that need none. */
  readonly upgradeId: string;
  /** Number of portals in flight. */
  readonly inFlight: number;
  /** Number of portals that have finished since the last resume, the parked ones included. */
  readonly finished: number;
  /** Number of portals that have failed since the last resume. */
  readonly failed: number;
  /** Number of failed portals at which the rollout pauses. It grows with `finished`. */
  readonly pausesAt: number;
  /** When it has paused the rollout, in milliseconds since 1970; absent if it has not. */
  readonly trippedAt?: number;
}

/** The condition that a rollout waits for. Times are in milliseconds since 1970. */
export type RolloutWait =
  /** An operator has paused it: `resume`. */
  | { readonly on: "resume"; readonly by: string; readonly reason: string; readonly since: number }
  /** Too many portals have failed: `resume`, or `abort`. */
  | { readonly on: "failures"; readonly upgradeIds: readonly string[]; readonly since: number }
  | { readonly on: "window"; readonly until: number }
  /** The portals of the stage are done, and it lasts until then. */
  | { readonly on: "time"; readonly until: number }
  /** The portals of the stage are done: `promote`. */
  | { readonly on: "promote" }
  /** The portals of the last stage are done, and it has not all portals: `set`. */
  | { readonly on: "set" }
  /** Portals of the stage are not done. */
  | { readonly on: "portals" };

/** The state of a rollout. `superseded`: code of a higher version has taken its portals over. */
export type RolloutState = "running" | "finished" | "aborted" | "superseded";

/** The status of a rollout. */
export interface RolloutStatus {
  /** The version that portals are to reach. */
  readonly target: string;
  /** Whether it goes on, or how it has ended. */
  readonly state: RolloutState;
  /** When it began, in milliseconds since 1970. */
  readonly startedAt: number;
  /** The stages; empty if only failures pause the rollout. */
  readonly stages: readonly RolloutStageStatus[];
  /** When the present stage began, in milliseconds since 1970. */
  readonly stageSince: number;
  /** The options that hold. */
  readonly options: Required<Omit<RolloutOptions, "window" | "appliesTo">> & Pick<RolloutOptions, "window">;
  /** The condition that it waits for; absent if it is over. A finished rollout waits only after failures, or a pause. */
  readonly waitsFor?: RolloutWait;
  /**
   * Numbers of portals: on the target, on their way to it, and below it, not reached by the rollout. From kept totals,
   * which may be a second late.
   */
  readonly counts: {
    readonly current: number;
    readonly upgrading: number;
    readonly blocked: number;
    readonly parked: number;
    readonly held: number;
  };
  /** Number of portals that reached the target in each of the last ten minutes, on average. */
  readonly perMinute: number;
  /** Milliseconds until no portal is held or upgrading, at this pace; absent if there is no pace. */
  readonly remainingMs?: number;
  /** The upgrades of the rollout that have begun. */
  readonly breakers: readonly RolloutBreaker[];
  /** The most frequent causes of failures on the way to the target, at most 50. From kept totals, as `counts`. */
  readonly failures: readonly RolloutFailure[];
}

/**
 * Operators' functions for rollouts. `target` is a version, spelled as in `portal.target`.
 *
 * Those that change something reject with an `OnAppUpdateError`, and change nothing, if there is no rollout of the target
 * (code `unknown_rollout`), or it is over (code `rollout_over`).
 *
 * @example
 * ```ts
 * import { createApp, deployed, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 *
 * const app = createApp({
 *   ...{ storage: memoryStorage(), clientId: "app.5f3a", versions: deployed("2.0.0") },
 *   rollout: { stages: [{ portals: 5 }, { percent: 100 }] },
 * }).use(applicationToken());
 * await app.tick();
 * const by = { by: "ada", reason: "ticket 17: prices are wrong" };
 * await app.admin.rollout.pause("2.0.0", by);
 * console.log((await app.admin.rollout.status())?.waitsFor?.on);
 * await app.close();
 * ```
 */
export interface RolloutAdmin {
  /**
   * Returns the status of a rollout. By default, that is the running rollout with the highest target or, if none is running,
   * the most recent one that was not aborted; `undefined` if there is none.
   *
   * @throws {VersionError} if `target` is not a version
   * @throws {StorageError} if the storage fails
   */
  readonly status: (target?: string) => Promise<RolloutStatus | undefined>;
  /**
   * Changes the options of a rollout. The present stage stays the one with its number.
   *
   * @throws {TypeError} if an option, `by` or `reason` is invalid, or there are fewer stages than have begun
   * @throws {UnknownPortalError} if a portal of `first` or `hold` is not stored
   * @throws {StorageError} if the storage fails
   */
  readonly set: (target: string, changes: RolloutChanges, attribution: Attribution) => Promise<void>;
  /**
   * Pauses a rollout: no upgrade begins and none is retried; what runs goes on to its end. `app.admin.retry` of a portal passes a
   * pause, batch operations do not.
   *
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   */
  readonly pause: (target: string, attribution: Attribution) => Promise<void>;
  /**
   * Ends a pause, whether an operator has made it or failures have. Failures are counted from zero. `retryParked`: also
   * retries the parked portals of the rollout, by a batch operation that is stored: see `app.admin.batches`.
   *
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   */
  readonly resume: (
    target: string,
    attribution: Attribution & {
      /** @default false */
      readonly retryParked?: boolean;
    },
  ) => Promise<void>;
  /**
   * Begins the next stage, whether or not the portals of the present one are done. With `stage`, two calls at once begin one.
   *
   * @throws {OnAppUpdateError} with code `last_stage`, if there is no further stage; `other_stage`, if `stage` is not the
   * present one
   * @throws {TypeError} if `by`, `reason` or `stage` is invalid
   * @throws {StorageError} if the storage fails
   */
  readonly promote: (
    target: string,
    attribution: Attribution & {
      /**
       * The number of the stage that you have seen as the present one: 1 for the first. If another one is by now, nothing is
       * done. Minimum: 1. By default, whichever is present.
       */
      readonly stage?: number;
    },
  ) => Promise<void>;
  /**
   * Ends a rollout for good: no portal goes on to the target. Portals that have not begun go back to the target they had; those
   * that have begun wait: roll them back, or deploy a higher version. A lower version that is deployed takes effect.
   *
   * Customers' updates that have not begun wait for a higher version.
   *
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   */
  readonly abort: (target: string, attribution: Attribution) => Promise<void>;
}
