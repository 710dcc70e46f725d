/** Operators' functions, as apps and plugins have them. `app/admin/` implements them. */
import type { CountSnapshot } from "../portal/count_snapshots.ts";
import type { PortalCount } from "../portal/totals.ts";
import type { FinishedRun, PortalHistory } from "./admin_history.ts";
import type {
  ActionNote,
  Attribution,
  AuditFilter,
  AuditPage,
  Batches,
  PortalFilter,
  PortalPage,
  SnapshotFilter,
  StuckFilter,
  StuckGroup,
  UnverifiedFilter,
  UnverifiedPage,
} from "./admin_pages.ts";
import type { AdoptionReport, AdoptOptions, PortalSource } from "./adoption.ts";
import type { Pause, RegisteredUpgrade, RollbackReport } from "./admin_reports.ts";
import type { AppHealth } from "./app_health.ts";
import type { Diagnosis } from "./diagnosis.ts";
import type { OutboxAdmin } from "./outbox.ts";
import type { RolloutAdmin } from "./rollout.ts";
import type { Silences } from "./silences.ts";

/**
 * Operators' functions. They have no authentication: protect the routes that call them.
 *
 * Those that change something require who acts and why. Both are stored before the action, with its outcome afterwards:
 * `audit` lists them.
 */
export interface Admin {
  /**
   * Retries a portal that is parked, blocked or waiting, now and with its attempts counted from zero. A portal that
   * is blocked on `installation` stays so until Bitrix24 answers that the app is installed, or the handlers of its
   * ONAPPINSTALL succeed.
   *
   * Resolves once this process has taken the portal up, or another one has; if as many portals as `concurrency` allows are
   * at work, once it is in line. `app.settled(memberId)` waits for the work. On an app that is not started, resolves once the
   * change is stored; the work follows with the next tick.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {OnAppUpdateError} with code `rollback_unfinished`, if a rollback of the portal has begun and not ended
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * // A page has 100 portals. For all that match, see `admin.batches`.
   * for (const { memberId } of (await admin.portals({ status: "parked", upgradeId: "3" })).items) {
   *   await admin.retry(memberId, { by: "ada", reason: "ticket 17: fixed in 3.0.1" });
   * }
   * await close();
   * ```
   */
  readonly retry: (memberId: string, attribution: Attribution) => Promise<void>;
  /**
   * Marks a due upgrade as done without running it, and continues with the next one. If the upgrade is running, it goes on to
   * its end, and whether it succeeds no longer matters. `"ONAPPINSTALL"`: marks the handlers of the portal's first
   * ONAPPINSTALL as done. Its upgrades wait for them.
   *
   * Resolves as `retry` does.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {OnAppUpdateError} with code `not_due`, if the portal does not need this upgrade
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   */
  readonly skip: (memberId: string, upgradeId: string, attribution: Attribution) => Promise<void>;
  /**
   * Rolls a portal back: calls the `undo` functions of the finished steps of its current run, or of its last run if there
   * is no current run, the last step first. The portal is then parked on the version from which that run started.
   *
   * To find the `undo` functions, each upgrade handler runs again, with `ctx.mode` `"rollback"`, up to its first
   * unfinished step: effects outside of steps are repeated.
   *
   * A rollback that fails, or whose process ends, is continued by another call. Until then no upgrade of the portal runs.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {OnAppUpdateError} with code `busy`, if a worker is processing the portal, or `nothing_to_roll_back`, also if the
   * app was removed from it; with code `removed`, if it is removed meanwhile
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   * @throws the error of an `undo` function; call `rollback` again to continue there
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * // A page has 100 portals. For all that match, see `admin.batches`.
   * for (const { memberId } of (await admin.portals({ status: "parked", upgradeId: "3" })).items) {
   *   const { undone, without } = await admin.rollback(memberId, { by: "ada", reason: "ticket 17: wrong prices" });
   *   console.log(memberId, undone.length, without.map(({ step }) => step)); // the steps that have no undo
   * }
   * await close();
   * ```
   */
  readonly rollback: (memberId: string, attribution: Attribution) => Promise<RollbackReport>;
  /**
   * Sets the version that a portal should be on, higher or lower than now, and continues with the upgrades that this needs.
   * For a portal whose target is wrong: no event and no check lowers a target that Bitrix24 has confirmed once.
   *
   * The target is not fixed: a later event or check that confirms a higher version raises it. A failure on the way to
   * another target no longer counts. `version` is read as `coerced()` reads versions. Resolves as `retry` does.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {VersionError} if `version` is not a version
   * @throws {OnAppUpdateError} with code `invalid_target`, if the version is below the portal's, the portal's version is not
   * known, the app was removed from it, or the app uses `deployed()`
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const app = createApp({ storage: memoryStorage() });
   * // A page has 100 portals. For all that match, see `admin.batches`.
   * for (const { memberId } of (await app.admin.portals({ version: "2.0.0" })).items) {
   *   await app.admin.setTarget(memberId, "3", { by: "ada", reason: "ticket 17: version 4 was withdrawn" });
   * }
   * await app.close();
   * ```
   */
  readonly setTarget: (memberId: string, version: string, attribution: Attribution) => Promise<void>;
  /**
   * Sets the version that the data of a portal is on, if it is not known: see `initialVersion` of `createApp`. The portal is
   * blocked on `version` until then. It continues with the upgrades from this version to its target. Resolves as `retry` does.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {VersionError} if `version` is not a version
   * @throws {OnAppUpdateError} with code `invalid_version`, if the portal's version is known, `version` is above its target, or
   * the app was removed from it
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const app = createApp({ storage: memoryStorage() });
   * // A page has 100 portals. For all that match, see `admin.batches`.
   * for (const { memberId } of (await app.admin.portals({ blockedOn: "version" })).items) {
   *   await app.admin.setInitialVersion(memberId, "1.4.0", { by: "ada", reason: "as in the old database" });
   * }
   * await app.close();
   * ```
   */
  readonly setInitialVersion: (memberId: string, version: string, attribution: Attribution) => Promise<void>;
  /**
   * Lists portals in the order of their `member_id`. Members of the filter combine. A filter selects by what was stored at
   * the end of the last work on a portal, so a portal that is being processed may show a newer state.
   *
   * The cost of a page depends on its length and on the portals that match the most selective member, not on the number of
   * portals.
   *
   * @throws {TypeError} if a member of the filter is unknown or invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * for (const { memberId, failure } of (await admin.portals({ status: "parked", upgradeId: "3" })).items) {
   *   console.log(memberId, failure?.message);
   * }
   * const { items: [portal] } = await admin.portals({ domain: "example.bitrix24.de" });
   * console.log(portal?.version);
   * await close();
   * ```
   */
  readonly portals: (filter?: PortalFilter) => Promise<PortalPage>;
  /**
   * Lists the last 20 finished runs of a portal with the times of their steps, the latest first; empty for an unknown
   * portal.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly runs: (memberId: string) => Promise<readonly FinishedRun[]>;
  /**
   * Returns what happened to a portal lately, with times: the events of the app's life cycle, runs with their steps, and
   * failed attempts. The lists are empty for an unknown portal.
   *
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * const { attempts, runs } = await admin.history("a223c6b3710f85df22e9377d6c4f7553");
   * for (const { failedAt, upgradeId, step, message } of attempts) console.log(failedAt, upgradeId, step, message);
   * for (const { upgrades } of runs) {
   *   for (const { name, startedAt, finishedAt } of upgrades.flatMap(({ steps }) => steps)) {
   *     console.log(name, startedAt, finishedAt);
   *   }
   * }
   * await close();
   * ```
   */
  readonly history: (memberId: string) => Promise<PortalHistory>;
  /**
   * Counts portals by version and state, as they were at the end of the last work on each. Reads kept totals, at most 256
   * entries, whatever the number of portals. Portals that wait for the rollout of a deployed version count as `held`.
   *
   * Other processes add their changes within about a second. A process that crashes before it does so leaves counts that
   * are wrong by these changes; `app.tick()` recounts all portals, 256 a tick and at most once an hour, and repairs that.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly counts: () => Promise<readonly PortalCount[]>;
  /**
   * Lists the causes why portals are parked, blocked or tried again, with the number of portals and an example, the most
   * frequent first. Reads kept totals as `counts` does, and one portal a group, whatever the number of portals.
   *
   * @throws {TypeError} if an option is unknown or invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * for (const { status, count, message, example } of await admin.stuck()) {
   *   console.log(`${count} ${status}: ${message}, such as ${example?.domain}`);
   * }
   * await close();
   * ```
   */
  readonly stuck: (filter?: StuckFilter) => Promise<readonly StuckGroup[]>;
  /**
   * Lists the counts of past hours or days, the oldest first. One process stores those of an hour, with its first tick; hours
   * without a tick, and those in which no portal was known, are missing.
   *
   * @throws {TypeError} if a member of the filter is unknown or invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * const monthAgo = Date.now() - 30 * 24 * 60 * 60 * 1000;
   * for (const { at, counts } of await admin.snapshots({ every: "day", from: monthAgo })) console.log(new Date(at), counts);
   * await close();
   * ```
   */
  readonly snapshots: (filter?: SnapshotFilter) => Promise<readonly CountSnapshot[]>;
  /**
   * Lists the events that wait for their verification, by `member_id` in its order, also those of unknown portals. Returns
   * neither their bodies nor tokens.
   *
   * @throws {TypeError} if a member of the filter is unknown or invalid
   * @throws {StorageError} if the storage fails
   */
  readonly unverified: (filter?: UnverifiedFilter) => Promise<UnverifiedPage>;
  /**
   * Adopts the portals of customers that another program of the vendor has: reads them as JSON lines or objects, asks
   * Bitrix24 about each by `app.info`, and stores it with its version, so that its next update runs the upgrades above it.
   * `docs/adoption.md` is the guide.
   *
   * A known portal only gets what it lacks: tokens if it has none, an application_token, or a version. Its version and target
   * are never changed. A call can be repeated, also after a process was killed: what is adopted is skipped without a request,
   * so adopt the same file again until nothing is left. A portal whose version is below its target is scheduled, so its
   * upgrades run: call `pause` before if they should wait.
   *
   * No token is refreshed without `refresh: true`. But an app with `clientSecret` refreshes the tokens that it has adopted when
   * it needs to, which ends those of the other program: leave `clientSecret` out while that program is at work.
   *
   * Resolves when all lines are done; memory does not depend on their number. Calls OAuth hosts at most 8 at a time and
   * `perMinute`, and waits while none answers. One entry in the audit log stands for the whole call.
   *
   * @throws {TypeError} if an option or the source is invalid, the app has no `clientId`, or `refresh` is true and it has no
   * `clientSecret`
   * @throws {B24Error} if Bitrix24 refuses the app's keys
   * @throws {UnreachableError} if no OAuth host answers for long, about eight lines in a row
   * @throws {StorageError} if the storage fails
   * @throws the reason of `signal`, or the error of the source or of `onLine`
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage, type PortalToAdopt } from "@b24/onappupdate";
   * import { fakeBitrix24 } from "@b24/onappupdate/testing";
   * import assert from "node:assert/strict";
   *
   * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
   * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
   * portal.install(2);
   * const rows: PortalToAdopt[] = [{ memberId: portal.memberId, version: "2", ...portal.tokens() }];
   *
   * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", fetch: bitrix24.fetch });
   * const { adopted, problems } = await app.admin.adopt(rows, { by: "ada", reason: "ticket 17: the move" });
   * assert.deepEqual([adopted, problems], [1, []]);
   * assert.equal((await app.portal(portal.memberId))?.version, "2.0.0");
   * await app.close();
   * ```
   */
  readonly adopt: (portals: PortalSource, options: AdoptOptions) => Promise<AdoptionReport>;
  /**
   * Erases a portal: deletes its tokens, events, runs, results, failed attempts and index entries, what plugins store about
   * it, and its record but for a tombstone. The tombstone has the `member_id`, the time, digests of application tokens, and the
   * ids of the last life-cycle events. They recognize late events, which are answered 200 and change nothing. Only an installation
   * makes the portal known again. No handlers run.
   *
   * Messages in the outbox that contain its `member_id` or a domain of it are deleted, or changed by their plugin.
   *
   * The audit log keeps its entries, which name the portal. What the app itself stores elsewhere is yours to delete. A
   * process that ends in the middle leaves the rest to a further call.
   *
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {OnAppUpdateError} with code `busy`, if a worker is processing the portal
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import { UnknownPortalError } from "@b24/onappupdate/errors";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * const memberId = "a223c6b3710f85df22e9377d6c4f7553";
   * await admin.forget(memberId, { by: "ada", reason: "request 5 of the customer" }).catch((error) => {
   *   if (!(error instanceof UnknownPortalError)) throw error; // nothing is stored of it
   * });
   * await close();
   * ```
   */
  readonly forget: (memberId: string, attribution: Attribution) => Promise<void>;
  /**
   * Pauses all work on portals, in all processes and also after restarts, until `resume`: no handler and no upgrade begins,
   * and a running upgrade is suspended at its next step or page. Events are received, verified and stored meanwhile. A
   * `rollback` runs all the same.
   *
   * Resolves once it is stored. Other processes notice within five seconds.
   *
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   */
  readonly pause: (attribution: Attribution) => Promise<void>;
  /**
   * Ends the pause. The work that is due begins at once in this process if the app is started, and with their next tick in
   * others. Does nothing but an entry in the audit log if the app is not paused.
   *
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   */
  readonly resume: (attribution: Attribution) => Promise<void>;
  /** Returns the pause; `undefined` if the app is not paused. At most five seconds old. */
  readonly paused: () => Promise<Pause | undefined>;
  /** Actions on all portals that match. */
  readonly batches: Batches;
  /** Rollouts of the app: see the option `rollout` of `createApp`. */
  readonly rollout: RolloutAdmin;
  /**
   * Counts all portals anew, and repairs what crashes have left wrong in lists and counts. `app.tick()` does the same, 256
   * portals at a time. Resolves when it is done, however many portals there are.
   *
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails; the next tick goes on
   */
  readonly recount: (attribution: Attribution) => Promise<void>;
  /**
   * Lists the upgrades of the code, and for how many portals each is due; last those that the code no longer has and portals
   * have begun. Its cost depends on the number of portals that are not on their target.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly upgrades: () => Promise<readonly RegisteredUpgrade[]>;
  /**
   * Lists the actions of operators of the last 400 days, the latest first, also those that were refused or failed. Members of
   * the filter combine. A page reads at most 1,000 entries.
   *
   * @throws {TypeError} if a member of the filter is unknown or invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * await admin.pause({ by: "ada", reason: "ticket 17: wrong prices after version 4" });
   * await admin.resume({ by: "ada", reason: "ticket 17: version 5 is deployed" });
   * for (const { action, by, reason, outcome } of (await admin.audit({ by: "ada" })).items) {
   *   console.log(action, by, reason, outcome);
   * }
   * await close();
   * ```
   */
  readonly audit: (filter?: AuditFilter) => Promise<AuditPage>;
  /**
   * Adds an entry to the audit log about what none of these functions records: an attempt that code in front of them has
   * refused, the export of a list, or `app.check` and `app.rehearse` for an operator. Changes nothing else.
   *
   * With `act`, the entry is stored before `act` is called and completed after it, and the promise settles as that of `act`.
   *
   * @throws {TypeError} if a member is unknown or invalid
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const { admin, close } = createApp({ storage: memoryStorage() });
   * await admin.noteAction({ by: "ada", reason: "ticket 17", action: "pause", refusal: "ada may only read" });
   * console.log((await admin.audit()).items[0]?.outcome); // refused
   * await close();
   * ```
   */
  readonly noteAction: <T = void>(note: ActionNote, act?: () => Promise<T>) => Promise<T>;
  /**
   * Looks at this process and its machine: configuration, storage, the OAuth hosts that it reaches, its clock against theirs,
   * permissions of Deno, ticks. Other processes of the app may run on other machines. It sends each OAuth host one request
   * without a token. Calls within 30 seconds return the same result, so that nobody makes the app flood hosts. Never rejects.
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * const fetch = () => Promise.reject(new Error("no route to host"));
   * const { admin, close } = createApp({ storage: memoryStorage(), fetch });
   * const { findings } = await admin.diagnose();
   * const problem = findings.find(({ level }) => level === "problem");
   * console.log(problem?.about, problem?.message); // host oauth.bitrix24.tech does not answer: no route to host
   * await close();
   * ```
   */
  readonly diagnose: () => Promise<Diagnosis>;
  /** Messages that plugins send, such as notifications: those that wait, and those that could not be delivered. */
  readonly outbox: OutboxAdmin;
  /**
   * Returns figures for monitoring: how late the work is, and what waits. Read it every minute or so: it lists what it counts.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly health: () => Promise<AppHealth>;
  /** Silences of notifications. */
  readonly silences: Silences;
}
