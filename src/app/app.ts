/** The app: what a vendor creates, mounts in a server and closes. */
import type { EventNamed, KnownEvent } from "../bitrix24/events.ts";
import type { PortalCredentialsProvider } from "../credentials/contract.ts";
import type { Admin } from "../plugin/admin.ts";
import type { Context, HandlerContext } from "../plugin/context.ts";
import type { Plugin } from "../plugin/plugin.ts";
import type { Portal } from "../portal/portal.ts";
import type { UpgradeContext, UpgradeOptions, UpgradeRange } from "../upgrade/definition.ts";
import type { Plan } from "../upgrade/plan.ts";
import type { RehearsalReport } from "../upgrade/rehearsal/report.ts";
import type { CheckReport } from "../worker/portal_check.ts";
import type { TickOptions, TickReport } from "../worker/tick.ts";
import type { Opening, OpeningOptions, OpeningState } from "./openings.ts";
import type { PlanQuery } from "./plan.ts";
import type { Readiness } from "./readiness.ts";
import type { HandlerOptions } from "./registry.ts";
import type { RehearsalOptions } from "./rehearse.ts";

/**
 * Checks that a plugin fits an app: earlier plugins add what it needs, and nothing adds its keys yet. A mismatch becomes
 * a required member that names the problem, so that the compiler prints it.
 */
export type Fits<Ctx extends object, Needs extends object, Adds extends object> = Ctx extends Needs
  ? [keyof Adds & (keyof Ctx | keyof Context)] extends [never] ? unknown
  : { readonly clash: `the context has "${keyof Adds & (keyof Ctx | keyof Context) & string}" already` }
  : { readonly missing: `no plugin before this one adds "${Exclude<keyof Needs, keyof Ctx> & string}"` };

/** A stored portal, with facts that are not in its record. {@linkcode App.portal} returns it. */
export interface StoredPortal extends Portal {
  /** Number of the portal's events that wait for their verification; absent if none does. `app.admin.unverified` lists them. */
  readonly unverifiedEvents?: number;
}

/**
 * An app. `Ctx` is what its plugins add to the context of handlers.
 *
 * `use`, `on` and `upgrade` change the app and return it with its type extended. They throw after the app has started.
 * All members are plain functions: they can be destructured, and `{ ...app }` works.
 */
export interface App<Ctx extends object = object> {
  /**
   * Adds a plugin. Plugins form a middleware chain in the order of these calls: the first is the outermost.
   *
   * @throws {TypeError} if a member of the plugin is invalid or misspelled, see {@linkcode Plugin}, or after the app has started
   */
  readonly use: <Needs extends object = object, Adds extends object = object>(
    plugin: Plugin<Needs, Adds> & Fits<Ctx, Needs, Adds>,
  ) => App<Ctx & Adds>;
  /**
   * Registers a handler for events by name, such as `"ONAPPINSTALL"`. It runs after the upgrades that the event causes.
   * Upgrades wait until the handlers of the first ONAPPINSTALL of an installation have succeeded.
   *
   * Handlers run at least once per event: after a crash, or a failure of any handler of the event, all of them run
   * again. Handlers of ONAPPUNINSTALL do not run for the late removal of an earlier installation.
   *
   * A portal has hundreds of events, so any name is accepted, unless it looks like a misspelled event of the app itself, such as
   * `"ONAPPUDPATE"`.
   *
   * @throws {TypeError} if there is no name, one is not in upper case, begins with `ONAPP` and is unknown, or is a misspelled one
   * of the app itself, an option is unknown or out of range, or after the app has started
   */
  readonly on: <Name extends KnownEvent["name"] | (string & Record<never, never>)>(
    events: Name | readonly Name[],
    handler: (ctx: HandlerContext<EventNamed<Name>> & Ctx) => void | Promise<void>,
    options?: HandlerOptions,
  ) => App<Ctx>;
  /**
   * Registers an upgrade. `range` selects its portals, see {@linkcode UpgradeRange}.
   *
   * An upgrade runs at least once per portal: a crash after the handler has returned and before that is recorded
   * repeats it. Once recorded, it never runs again for that portal.
   *
   * @throws {TypeError} if the range, the handler or an option is invalid, another upgrade has its id or, without an id, a range
   * that means the same, or the app has started
   */
  readonly upgrade: (
    range: UpgradeRange,
    handler: (ctx: UpgradeContext & Ctx) => void | Promise<void>,
    options?: UpgradeOptions,
  ) => App<Ctx>;
  /**
   * Answers one request. Pass it to a server, `Deno.serve(app.fetch)`, or mount it in any router. Rejects only if it is not
   * called with a `Request`.
   *
   * `platform` is what the host passes besides the request. If one of these values has a `waitUntil` function, it
   * receives the work that continues after the answer.
   *
   * Answers 503 while the app cannot start, for example because no plugin of phase `verify` was added; the log has the
   * reason.
   */
  readonly fetch: (request: Request, ...platform: unknown[]) => Promise<Response>;
  /**
   * Verifies the POST by which a user's browser opens the app's page in a portal, and resolves to what the page can rely on.
   * `openingPage()` of `./opening-page` is a ready-made handler for it.
   *
   * Makes a new portal known, stores the tokens of administrators, and raises the target of the portal to the version that
   * Bitrix24 confirms. If an administrator opens an app whose installation is not finished, the installation or update
   * begins: Bitrix24 sends no event before the page calls `BX24.installFinish()`. `platform` is as for `fetch`.
   *
   * @throws {InputError} if the request is not such a POST; it names each wrong field
   * @throws {NotAuthenticError} if the user's access token is invalid, or another app's or another portal's
   * @throws {CannotVerifyError} if that cannot be decided now; the message says why
   * @throws {StorageError} if the storage fails
   * @throws {TypeError} if the request is not a `Request`, the app has no `clientId`, and as `start` does
   */
  readonly open: (request: Request, ...platform: unknown[]) => Promise<Opening>;
  /**
   * Returns the present state of a page that `open` gave a ticket; `undefined` if the ticket is unknown or has expired.
   *
   * @throws {TypeError} if the ticket is not a string, or an option is unknown or invalid
   * @throws {StorageError} if the storage fails
   */
  readonly opening: (ticket: string, options?: OpeningOptions) => Promise<OpeningState | undefined>;
  /**
   * Sets the plugins up, and does nothing by itself: for command lines and scripts, whose `admin`, `check` and `plan` then
   * work with plugins. Every call returns the same promise, and `start` may follow.
   *
   * An app that is only set up works on no portal, and does not notify observers of its changes: started apps on the same storage
   * do.
   *
   * @throws {TypeError} if two plugins conflict, or no plugin verifies events
   * @throws the error of a plugin's `setup`
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import { applicationToken } from "@b24/onappupdate/application-token";
   *
   * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" }).use(applicationToken());
   * await app.setUp();
   * // A page has 100 portals: pass its `next` as `after` to get the others.
   * for (const { memberId } of (await app.admin.portals({ status: "parked" })).items) {
   *   await app.admin.retry(memberId, { by: "ada", reason: "ticket 17" });
   * }
   * await app.close();
   * ```
   */
  readonly setUp: () => Promise<void>;
  /**
   * Sets the plugins up and starts the ticker. Every call returns the same promise.
   *
   * The first `fetch` or `tick` starts the app too. Await `start` before you listen, so that a mistake stops the program
   * instead of being answered 503. `check` and `admin` work on an app that is not started, but then plugins are not set
   * up unless `setUp` was called, and `admin.retry` and `admin.skip` only store their change.
   *
   * @throws {TypeError} if two plugins conflict, or no plugin verifies events
   * @throws the error of a plugin's `setup`
   */
  readonly start: () => Promise<void>;
  /**
   * Does the work that is due: events whose work failed or was interrupted, sleeping upgrades, and checks.
   *
   * The app ticks by itself every `tickEveryMs`. Any number of processes may tick at the same time.
   *
   * @throws {TypeError} if an option is out of range, and as `start` does
   * @throws {StorageError} if the schedule cannot be read
   */
  readonly tick: (options?: TickOptions) => Promise<TickReport>;
  /**
   * Does the work that is due now, and resolves when no more is due or running: of one portal, or of all. For tests and
   * scripts; it starts the app.
   *
   * Due now are events, retries, the ends of a `sleep` and checks whose time has come by the app's `clock`. What is planned
   * for later is not: a retry in 30 seconds, a sleep, a parked or blocked portal. Nor is an event whose verification waits
   * for the budget or for an OAuth host that does not answer, what newer code has written, or a portal that another process
   * is working on. While the storage fails or new events keep coming, it goes on; pass a `memberId` to wait for one portal.
   *
   * @throws {TypeError} if the app is closed, and as `start` does
   * @throws {StorageError} if the storage cannot be read
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import { applicationToken } from "@b24/onappupdate/application-token";
   * import { fakeBitrix24 } from "@b24/onappupdate/testing";
   * import assert from "node:assert/strict";
   *
   * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a", handler: (request) => app.fetch(request) });
   * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
   * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", fetch: bitrix24.fetch })
   *   .use(applicationToken());
   *
   * await portal.sends.install(2); // answered before the work is done
   * await portal.sends.update(3);
   * await app.settled();
   * assert.equal((await app.portal(portal.memberId))?.version, "3.0.0");
   * await app.close();
   * ```
   */
  readonly settled: (memberId?: string) => Promise<void>;
  /**
   * Returns the upgrades that would run for a stored portal, or between any two versions, without running them. A removed
   * portal has none. For a portal that a rollout holds, these are those that run once it has reached it: see `held`. `from` and
   * `to` are read as `coerced()` reads versions.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {VersionError} if `from` or `to` is not a version
   * @throws {TypeError} if the query is neither a portal nor two versions
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import assert from "node:assert/strict";
   *
   * const app = createApp({ storage: memoryStorage() }).upgrade("2", () => {}).upgrade("3", () => {}, { id: "reports" });
   * const { direction, upgrades } = await app.plan({ from: "2", to: "3.1" }); // or { memberId }
   * assert.deepEqual([direction, upgrades], ["up", [{ id: "reports", range: "3" }]]);
   * await app.close();
   * ```
   */
  readonly plan: (query: PlanQuery) => Promise<Plan>;
  /**
   * Runs the upgrades that are due for a portal, and changes nothing: it reports what a run would do. Sets the plugins up, and
   * does not start the app.
   *
   * - Only handlers and plugins with `rehearsal: true` run; the report names the others. Observers are not called.
   * - What the handlers read by `b24` comes from the portal, or from `recording`. What they write is recorded, and answered with
   *   `true` or a negative id. Reads do not show it.
   * - `ctx.fetch` rejects with `NotRehearsedError`. Steps are kept in memory, and sleeps are over at once.
   * - After 200 requests to the portal or 60 seconds, the rest is reported as not reached.
   * - Nothing is stored but a token pair that had to be refreshed.
   *
   * A portal that is blocked, parked or waiting is rehearsed all the same; `obstacle` of the report says why no run would begin. One
   * that is on its target, or was removed, has an empty report.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {OnAppUpdateError} with code `busy`, if a worker is processing the portal, `rollback_unfinished`, if a rollback of it
   * has begun and not ended, or `invalid_target`, if `target` is below the portal's version
   * @throws {VersionError} if `target` is not a version
   * @throws {FormatError} if newer code has made the recording
   * @throws {TypeError} if an option is unknown or invalid, the recording is one of another portal, the app is closed or cannot be
   * set up, and on a host without `node:async_hooks`
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import { applicationToken } from "@b24/onappupdate/application-token";
   * import { rest } from "@b24/onappupdate/rest";
   * import { fakeBitrix24 } from "@b24/onappupdate/testing";
   * import assert from "node:assert/strict";
   *
   * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a", handler: (request) => app.fetch(request) });
   * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
   * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", fetch: bitrix24.fetch })
   *   .use(applicationToken())
   *   .use(rest())
   *   .upgrade("3", async ({ b24, step }) => {
   *     await step("deal", () => b24.call("crm.deal.add", { fields: { TITLE: "Try version 3" } }));
   *   }, { rehearsal: true });
   *
   * await portal.sends.install(2);
   * await app.settled();
   * const { writes, text } = await app.rehearse(portal.memberId, { target: "3" });
   * assert.deepEqual(writes.map(({ method }) => method), ["crm.deal.add"]);
   * console.log(text);
   * await app.close();
   * ```
   */
  readonly rehearse: (memberId: string, options?: RehearsalOptions) => Promise<RehearsalReport>;
  /**
   * Asks Bitrix24 which version of the app a portal has, and raises the portal's target to it, as an event would. The
   * report also says why a portal receives no events, and `findings` of the portal keeps its problems. See the option
   * `checks` for the checks that the app makes itself.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {UnreachableError} if no OAuth host answers
   * @throws {StorageError} if the storage fails
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import { applicationToken } from "@b24/onappupdate/application-token";
   * import { fakeBitrix24 } from "@b24/onappupdate/testing";
   * import assert from "node:assert/strict";
   *
   * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a", handler: (request) => app.fetch(request) });
   * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
   * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", fetch: bitrix24.fetch })
   *   .use(applicationToken());
   * await portal.sends.install(2);
   * await app.settled();
   *
   * portal.update(3); // the portal is updated, and no event comes
   * const { isRaised, installed, problems } = await app.check(portal.memberId);
   * assert.deepEqual([isRaised, installed, problems], [true, "3.0.0", []]);
   * await app.close();
   * ```
   */
  readonly check: (memberId: string) => Promise<CheckReport>;
  /** Access tokens and addresses of portals, for calls that `rest()` does not cover. */
  readonly credentials: PortalCredentialsProvider;
  /** Operators' functions: find stuck portals, retry, skip, roll back. */
  readonly admin: Admin;
  /**
   * Returns a stored portal, or `undefined`.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly portal: (memberId: string) => Promise<StoredPortal | undefined>;
  /**
   * Resolves to whether the app takes events now. `health()` of `./health` serves it to load balancers; never rejects.
   *
   * Reads one entry of the storage, at most once in 5 seconds, and fails after 2 seconds. So it does not notice a storage that is
   * full. It does not start the app.
   */
  readonly readiness: () => Promise<Readiness>;
  /**
   * Closes the app, its plugins and its storage. Every call returns the same promise.
   *
   * New events are answered 503. Work in progress has `limits.closeMs` to finish, then it is aborted; a later `tick`, or
   * another process, resumes it.
   */
  readonly close: () => Promise<void>;
}
