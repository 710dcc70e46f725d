/** The app: what a vendor builds, mounts and closes. */
import { createCredentials } from "../credentials/provider.ts";
import { guardedFetch } from "../net/guarded_fetch.ts";
import { portalEndpoint } from "../bitrix24/hosts.ts";
import { createOAuthClient } from "../bitrix24/oauth_client.ts";
import type { PortalCredentialsProvider } from "../credentials/contract.ts";
import { type Admin, createAdmin } from "./admin/admin.ts";
import { type AppOptions, settingsOf } from "./options.ts";
import { type CheckReport, createChecks } from "../worker/checks.ts";
import { type AnyHandler, type AppRuntime, notify, safeError } from "../plugin/runtime.ts";
import { createDeadline } from "../async/deadline.ts";
import { CannotVerifyError, InputError, UnknownPortalError } from "../errors.ts";
import { type Dispatcher, isOutage, isUnexpected, refuse, respond } from "../intake/http.ts";
import { withFields } from "../logger.ts";
import type { Context, HandlerContext } from "../plugin/context.ts";
import { assertPlugins } from "../plugin/pipeline.ts";
import type { Plugin } from "../plugin/plugin.ts";
import { type Portal, type PortalRecord, readRecord, snapshot } from "../portal/record.ts";
import { portalKey } from "../portal/keys.ts";
import { acceptEvent } from "../intake/accept.ts";
import { startWarnings } from "./startup_warnings.ts";
import type { Storage } from "../storage/storage.ts";
import { createTicker, tickEvery, type TickOptions, type TickReport } from "../worker/tick.ts";
import {
  defineUpgrade,
  type Upgrade,
  type UpgradeContext,
  type UpgradeOptions,
  type UpgradeRange,
} from "../upgrade/definition.ts";
import { makePlan, type Plan } from "../upgrade/plan.ts";
import { parseVersion } from "../version.ts";
import { type EventNamed, wireName } from "../bitrix24/events.ts";
import { createWorker } from "../worker/worker.ts";

/** What `app.plan` is asked for: a stored portal, or any two versions. */
export type PlanQuery = { readonly memberId: string } | { readonly from: string; readonly to: string };

/** What must hold of a plugin's types: its needs are met, and its keys are new. Names what is wrong. */
export type Fits<Ctx extends object, Needs extends object, Adds extends object> = Ctx extends Needs
  ? [keyof Adds & (keyof Ctx | keyof Context)] extends [never] ? unknown
  : { readonly clash: `the context has "${keyof Adds & (keyof Ctx | keyof Context) & string}" already` }
  : { readonly missing: `no plugin before this one adds "${Exclude<keyof Needs, keyof Ctx> & string}"` };

/**
 * An app. `Ctx` is what its plugins add to the context.
 *
 * `use`, `on` and `upgrade` change the app and return it, with its type grown; after the app has started they throw.
 */
export interface App<Ctx extends object = object> {
  /**
   * Adds a plugin. Their order is that of the onion: the first is the outermost.
   *
   * @throws {TypeError} after the app has started
   */
  readonly use: <Needs extends object = object, Adds extends object = object>(
    plugin: Plugin<Needs, Adds> & Fits<Ctx, Needs, Adds>,
  ) => App<Ctx & Adds>;
  /**
   * Registers a handler for events, by their names on the wire. It runs after the upgrades that the event causes, at
   * least once: a crash or a failure of any handler of the event repeats it. Handlers of ONAPPUNINSTALL do not run for
   * a late removal of an earlier installation.
   *
   * @throws {TypeError} when a name is not in upper case, or after the app has started
   */
  readonly on: <Name extends string>(
    events: Name | readonly Name[],
    handler: (ctx: HandlerContext<EventNamed<Name>> & Ctx) => void | Promise<void>,
  ) => App<Ctx>;
  /**
   * Registers an upgrade; see `UpgradeRange` for which portals. It runs at least once for a portal: a crash between
   * its end and the record of it repeats it. Once recorded, it is not run again.
   *
   * @throws {TypeError} when the range is none, when another upgrade has its id, or after the app has started
   */
  readonly upgrade: (
    range: UpgradeRange,
    handler: (ctx: UpgradeContext & Ctx) => void | Promise<void>,
    options?: UpgradeOptions,
  ) => App<Ctx>;
  /**
   * Answers one request: `Deno.serve(app.fetch)`, or mounted in any router. `platform` is what the host gives besides
   * the request; a `waitUntil` in it is told of the work after the answer.
   *
   * Answers 503 while the app cannot start, for example because no plugin of phase `verify` was added.
   */
  readonly fetch: (request: Request, ...platform: unknown[]) => Promise<Response>;
  /**
   * Sets the plugins up. The first `fetch` or `tick` does it too, but answers 503 where this one rejects: await it
   * before you listen, and a mistake stops the program. A program that only calls `check` or `admin` works on no portal
   * before it; plugins that `check` and `admin.rollback` run may need it.
   *
   * @throws {TypeError} when the plugins do not fit together, or none verifies
   */
  readonly start: () => Promise<void>;
  /** Does the work of stored events that is not done: after failures, crashes and restarts. */
  readonly tick: (options?: TickOptions) => Promise<TickReport>;
  /**
   * What would run, without running it: nothing for a removed portal. `from` and `to` are read as `coerced()` does.
   *
   * @throws {UnknownPortalError} when the portal is not stored
   * @throws {VersionError} when `from` or `to` is no version
   */
  readonly plan: (query: PlanQuery) => Promise<Plan>;
  /**
   * Asks Bitrix24 which version of the app a portal has, and raises its target to it, as an event would have. Says also
   * why a portal gets no events. Portals are checked after contacts and now and then by themselves (`checks`).
   *
   * @throws {UnknownPortalError} when the portal is not stored
   * @throws {UnreachableError} when no OAuth host answers
   */
  readonly check: (memberId: string) => Promise<CheckReport>;
  /** Access tokens of portals, and where to use them: for what `rest()` does not do. */
  readonly credentials: PortalCredentialsProvider;
  /** For people: what stands still, and what to do about it. */
  readonly admin: Admin;
  /** A stored portal, or `undefined`. */
  readonly portal: (memberId: string) => Promise<Portal | undefined>;
  /**
   * Refuses new events with 503, waits for what is under way, aborts what takes longer (it is done by a later `tick`),
   * and closes plugins and storage.
   */
  readonly close: () => Promise<void>;
}

/** How long `close()` waits for aborted work. */
const ABORT_MS = 1000;

/**
 * Makes an app. It does nothing until a plugin of phase `verify` is added and it is given requests.
 *
 * @throws {TypeError} when an option is none
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import assert from "node:assert/strict";
 *
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" })
 *   .use(applicationToken())
 *   .upgrade("2.0.0", ({ memberId, log }) => log.info("moving settings", { memberId }));
 *
 * assert.deepEqual((await app.plan({ from: "1", to: "3" })).upgrades, [{ id: "2.0.0", range: "2.0.0" }]);
 * assert.equal((await app.fetch(new Request("http://localhost/"))).status, 405);
 * await app.close();
 * ```
 */
export function createApp(options: AppOptions): App {
  const settings = settingsOf(options);
  const {
    storage,
    versions,
    clock,
    random,
    time,
    digest,
    log,
    fetch,
    limits,
    retry,
    oauthHosts,
    extraPortalHosts,
    keys,
  } = settings;
  const stopping = new AbortController();
  const plugins: Plugin[] = [];
  const upgrades: Upgrade[] = [];
  const handlers = new Map<string, AnyHandler[]>();
  const { leaseMs, retentionMs } = limits;
  const core: AppRuntime = {
    ...{ storage, versions, clock, random, time, digest, log, plugins, handlers, signal: stopping.signal },
    ...{ retry, leaseMs, retentionMs },
    issuedTokens: (memberId) => credentials.issued(memberId),
  };
  const endpointOf = (said: string | undefined): string | undefined => {
    if (said === undefined) return undefined;
    try {
      return portalEndpoint(said, { hosts: extraPortalHosts });
    } catch (error) {
      log.warn("an address that an OAuth host gave is refused", { error });
      return undefined;
    }
  };
  const oauth = createOAuthClient({
    ...{ fetch, clock, time, endpointOf },
    hosts: oauthHosts,
    timeoutMs: settings.oauthTimeoutMs,
  });
  // Longer than all hosts may take together.
  const refreshMs = settings.oauthTimeoutMs * (oauthHosts.length + 1) + 10_000;
  const credentials = createCredentials({
    ...{ storage, clock, time, random, log, oauth, refreshMs, extraPortalHosts },
    ...keys,
  });
  const wake = (memberId: string): void => {
    if (running) worker.process(memberId);
  };
  const canRefresh = keys.clientSecret !== undefined;
  const checks = createChecks({ core, access: credentials, policy: settings.checks, canRefresh, wake });
  const worker = createWorker(core, upgrades, checks);
  const tick = createTicker(core, worker);
  let ticker: { readonly stop: () => void } | undefined;
  let started: Promise<void> | undefined;
  /** From the end of the start to the beginning of the close. */
  let running = false;
  let closed: Promise<void> | undefined;

  const dispatcher: Dispatcher = {
    limits,
    bodyDeadline: createDeadline(time, limits.bodyTimeoutMs),
    clock,
    take: async (incoming, platform) => {
      const { memberId } = incoming.event.auth;
      const accepted = await acceptEvent(core, incoming).catch((error) => {
        const planned = error instanceof CannotVerifyError ? checks.afterUnverified(memberId) : undefined;
        if (planned !== undefined) keepAlive(platform, planned);
        throw error;
      });
      const check = checks.afterContact(memberId);
      if (check !== undefined) keepAlive(platform, check);
      if (accepted === undefined) return;
      const { result, end } = worker.work(accepted);
      keepAlive(platform, end);
      if (settings.acknowledge === "handled") await within(limits.acknowledgeMs, result);
    },
    rejected: (status, thrown, event) => {
      // Issues are made without tokens, and would be left behind by the copy.
      const error = event === undefined || thrown instanceof InputError ? thrown : safeError(core, thrown, event);
      const claims = event === undefined ? {} : { memberId: event.auth.memberId, event: wireName(event) };
      const level = isUnexpected(error) && status === 503 ? "error" : isOutage(error) ? "warn" : "info";
      log[level]("request refused", { status, ...claims, error });
      notify(core, "eventRejected", { status, error, ...claims });
    },
  };

  function assertOpen(what: string): void {
    if (started !== undefined) throw new TypeError(`cannot add ${what}: the app has started`);
  }

  function start(): Promise<void> {
    return started ??= (async () => {
      assertPlugins(plugins);
      for (const { message, fields } of startWarnings(storage)) log.warn(message, fields);
      for (const { name, setup } of plugins) {
        await setup?.({
          ...keys,
          fetch,
          portalFetch: guardedFetch({
            ...{ fetch, hosts: extraPortalHosts, lookup: settings.lookup },
            clock: time.monotonic,
          }),
          credentials: credentials.provider,
          appInfo: oauth.appInfo,
          clock,
          random,
          log: withFields(log, { plugin: name }),
        });
      }
      running = closed === undefined;
      if (running && settings.tickEveryMs !== false) ticker = tickEvery(settings.tickEveryMs, () => tick(), log);
    })();
  }

  function answer(request: Request, ...platform: unknown[]): Promise<Response> {
    return running ? respond(dispatcher, request, platform) : startAndAnswer(request, platform);
  }

  async function startAndAnswer(request: Request, platform: readonly unknown[]): Promise<Response> {
    if (closed !== undefined) return refuse(request);
    try {
      await start();
    } catch (error) {
      log.error("the app cannot start", { error });
      return refuse(request);
    }
    return await respond(dispatcher, request, platform);
  }

  const app: App = {
    use: (plugin) => {
      if (typeof plugin !== "object" || typeof plugin?.name !== "string") {
        throw new TypeError(
          `cannot add a ${typeof plugin} as a plugin, wanted what its function gives, as applicationToken()`,
        );
      }
      assertOpen(`plugin "${plugin.name}"`);
      // What it needs and adds is checked by the compiler; at run time a context is an object with keys.
      plugins.push(plugin as unknown as Plugin);
      return app as never;
    },
    on: (events, handler) => {
      for (const event of [events].flat() as string[]) {
        assertOpen(`a handler of ${event}`);
        if (event === "" || event !== event.toUpperCase()) {
          throw new TypeError(`cannot add a handler of "${event}": names of events are in upper case`);
        }
        handlers.set(event, [...(handlers.get(event) ?? []), handler as AnyHandler]);
      }
      return app;
    },
    upgrade: (range, handler, options) => {
      const upgrade = defineUpgrade(range, handler, options);
      assertOpen(`upgrade "${upgrade.id}"`);
      if (upgrades.some(({ id }) => id === upgrade.id)) {
        throw new TypeError(`cannot add upgrade "${upgrade.id}": another one has this id; give one of them an id`);
      }
      upgrades.push(upgrade);
      return app;
    },
    fetch: answer,
    start,
    tick: async (options) => {
      await start();
      return await tick(options);
    },
    plan: async (query) => {
      if ("from" in query) {
        return makePlan(upgrades, { version: parseVersion(query.from), target: parseVersion(query.to) });
      }
      const record = await load(storage, query.memberId);
      if (record === undefined) throw new UnknownPortalError(query.memberId);
      return makePlan(upgrades, record.status === "installed" ? record : {});
    },
    check: checks.check,
    credentials: credentials.provider,
    admin: createAdmin(core, upgrades, wake),
    portal: async (memberId) => {
      const record = await load(storage, memberId);
      return record === undefined ? undefined : snapshot(record);
    },
    close: () =>
      closed ??= (async () => {
        running = false;
        ticker?.stop();
        await within(limits.closeMs, Promise.all([worker.idle(), checks.idle()]));
        stopping.abort(new DOMException("the app is closing", "AbortError"));
        // Handlers that heed their signal end now; what the others had to do stays in the inbox.
        await within(ABORT_MS, worker.idle());
        for (const { name, close } of plugins.toReversed()) {
          try {
            await close?.();
          } catch (error) {
            log.error("a plugin failed to close", { plugin: name, error });
          }
        }
        await storage.close?.();
      })(),
  };
  return app;
}

async function load(storage: Storage, memberId: string): Promise<PortalRecord | undefined> {
  return readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
}

/** Hosts that stop a program once it has answered have a way to be told of work that goes on. */
function keepAlive(platform: readonly unknown[], work: Promise<unknown>): void {
  for (const host of platform) {
    const waitUntil = (host as { waitUntil?: unknown } | null | undefined)?.waitUntil;
    if (typeof waitUntil === "function") waitUntil.call(host, work);
  }
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([work, new Promise((resolve) => timer = setTimeout(resolve, ms))]);
  clearTimeout(timer);
}
