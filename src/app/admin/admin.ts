/** Operators' functions: what `app.admin` consists of. */
import type { AppRuntime } from "../../plugin/runtime.ts";
import type { Portal } from "../../portal/portal.ts";
import type { PortalCount, Totals } from "../../portal/totals.ts";
import type { Upgrade } from "../../upgrade/definition.ts";
import type { RollbackReport } from "../../upgrade/rollback.ts";
import { retry, rollback, setInitialVersion, setTarget, skip, type TargetChange } from "./actions.ts";
import { listPortals, type PortalFilter } from "./portals.ts";
import { type FinishedRun, listFinishedRuns } from "./runs.ts";
import { listUnverifiedEvents, type UnverifiedEvents, type UnverifiedFilter } from "./unverified.ts";

/** Operators' functions. They have no authentication: protect the routes that call them. */
export interface Admin {
  /**
   * Retries a portal that is parked, blocked or waiting, now and with its attempts counted from zero. A portal that
   * is blocked on `installation` stays so until Bitrix24 answers that the app is installed.
   *
   * Resolves once this is stored; the work follows in this process if the app is started, else with the next tick.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {StorageError} if the storage fails
   */
  readonly retry: (memberId: string) => Promise<void>;
  /**
   * Marks a due upgrade as done without running it, and continues with the next one.
   *
   * Resolves once this is stored; the work follows as after `retry`.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {OnAppUpdateError} with code `not_due`, if the portal does not need this upgrade
   * @throws {StorageError} if the storage fails
   */
  readonly skip: (memberId: string, upgradeId: string) => Promise<void>;
  /**
   * Rolls a portal back: calls the `undo` functions of the finished steps of its current run, or of its last run if there
   * is no current run, the last step first. The portal is then parked on the version from which that run started.
   *
   * To find the `undo` functions, each upgrade handler runs again, with `ctx.mode` `"rollback"`, up to its first
   * unfinished step: effects outside of steps are repeated.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {OnAppUpdateError} with code `busy`, if a worker is processing the portal, or `nothing_to_roll_back`
   * @throws the error of an `undo` function; call `rollback` again to continue there
   */
  readonly rollback: (memberId: string) => Promise<RollbackReport>;
  /**
   * Sets the version that a portal should be on, higher or lower than now, and continues with the upgrades that this needs.
   * For a portal whose target is wrong: no event and no check lowers a target that Bitrix24 has confirmed once.
   *
   * The target is not fixed: a later event or check that confirms a higher version raises it. A failure on the way to
   * another target no longer counts. `version` is read as `coerced()` reads versions. The change is logged with `by` and
   * `reason`. Resolves once it is stored; the work follows as after `retry`.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {VersionError} if `version` is not a version
   * @throws {OnAppUpdateError} with code `invalid_target`, if the version is below the portal's, the portal's version is not
   * known, the app was removed from it, or the app uses `deployed()`
   * @throws {TypeError} if `by` or `reason` is empty
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const app = createApp({ storage: memoryStorage() });
   * for (const { memberId } of await app.admin.portals({ version: "2.0.0" })) {
   *   await app.admin.setTarget(memberId, "3", { by: "ada", reason: "ticket 17: version 4 was withdrawn" });
   * }
   * await app.close();
   * ```
   */
  readonly setTarget: (memberId: string, version: string, change: TargetChange) => Promise<void>;
  /**
   * Sets the version that the data of a portal is on, if it is not known: see `initialVersion` of `createApp`. The portal is
   * blocked on `version` until then. It continues with the upgrades from this version to its target. The change is logged
   * with `by` and `reason`. Resolves once it is stored; the work follows as after `retry`.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {VersionError} if `version` is not a version
   * @throws {OnAppUpdateError} with code `invalid_version`, if the portal's version is known, `version` is above its target, or
   * the app was removed from it
   * @throws {TypeError} if `by` or `reason` is empty
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const app = createApp({ storage: memoryStorage() });
   * for (const { memberId } of await app.admin.portals({ blockedOn: "version" })) {
   *   await app.admin.setInitialVersion(memberId, "1.4.0", { by: "ada", reason: "as in the old database" });
   * }
   * await app.close();
   * ```
   */
  readonly setInitialVersion: (memberId: string, version: string, change: TargetChange) => Promise<void>;
  /**
   * Lists portals in the order of their `member_id`. Members of the filter combine. A filter selects by what was stored at
   * the end of the last work on a portal, so a portal that is being processed may show a newer state.
   *
   * The cost of a page depends on its length and on the portals that match the most selective member, not on the number of
   * portals.
   *
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * for (const { memberId, failure } of await admin.portals({ status: "parked", failedAt: "3" })) {
   *   console.log(memberId, failure?.message);
   * }
   * const [portal] = await admin.portals({ domain: "example.bitrix24.de" });
   * console.log(portal?.version);
   * await close();
   * ```
   */
  readonly portals: (filter?: PortalFilter) => Promise<readonly Portal[]>;
  /**
   * Lists the last 20 finished runs of a portal, the latest first; empty for an unknown portal.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly runs: (memberId: string) => Promise<readonly FinishedRun[]>;
  /**
   * Counts portals by version and state, as they were at the end of the last work on each. Reads kept totals, at most 256
   * entries, whatever the number of portals.
   *
   * Other processes add their changes within about a second. A process that crashes before it does so leaves counts that
   * are wrong by these changes; `app.tick()` recounts all portals, 256 a tick and at most once an hour, and repairs that.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly counts: () => Promise<readonly PortalCount[]>;
  /**
   * Lists the events that wait for their verification, by `member_id` in its order, also those of unknown portals. Returns
   * neither their bodies nor tokens.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly unverified: (filter?: UnverifiedFilter) => Promise<readonly UnverifiedEvents[]>;
}

/** Returns the admin of an app. `wake` starts the work of a portal in this process. */
export function createAdmin(
  runtime: AppRuntime,
  upgrades: readonly Upgrade[],
  totals: Pick<Totals, "counts">,
  wake: (memberId: string) => void,
): Admin {
  const parts = { runtime, upgrades, wake };
  return {
    retry: (memberId) => retry(parts, memberId),
    skip: (memberId, upgradeId) => skip(parts, memberId, upgradeId),
    rollback: (memberId) => rollback(parts, memberId),
    setInitialVersion: (memberId, version, change) => setInitialVersion(parts, memberId, version, change),
    setTarget: (memberId, version, change) => setTarget(parts, memberId, version, change),
    portals: (filter) => listPortals(runtime.storage, filter),
    runs: (memberId) => listFinishedRuns(runtime.storage, memberId),
    counts: () => totals.counts(),
    unverified: (filter) => listUnverifiedEvents(runtime.storage, filter),
  };
}
