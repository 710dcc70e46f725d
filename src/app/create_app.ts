/** Creates an app: connects its parts. */
import { createInFlight } from "../async/in_flight.ts";
import { createKnownCredentials } from "../credentials/known.ts";
import { defined } from "../defined.ts";
import { acceptVerified } from "../intake/accept.ts";
import { createFullInboxLog, type LogFullInbox } from "../intake/full_inbox.ts";
import { withFields } from "../logger.ts";
import { createOutbox, type Outbox } from "../outbox/outbox.ts";
import type { Admin } from "../plugin/admin.ts";
import type { PluginHost } from "../plugin/host.ts";
import type { Plugin } from "../plugin/plugin.ts";
import { pluginStorage } from "../plugin/plugin_storage.ts";
import type { AnyHandler, AppRuntime } from "../plugin/runtime.ts";
import { tracedLogger, tracedStorage } from "../plugin/traced.ts";
import { createTracer, type Tracer } from "../plugin/tracer.ts";
import { portalKey } from "../portal/keys.ts";
import { type PortalRecord, readRecord, snapshot } from "../portal/record.ts";
import { reportChanges } from "../portal/reports.ts";
import { createSnapshots } from "../portal/count_snapshots.ts";
import { createTotals } from "../portal/totals.ts";
import { countUnverified } from "../portal/unverified.ts";
import { maxAttemptMs } from "../verify/attempt.ts";
import { createVerifier, type Verifier } from "../verify/verifier.ts";
import { type Checks, createChecks } from "../worker/checks.ts";
import { createRollout } from "../rollout/rollout.ts";
import { createPauseSwitch, type PauseSwitch } from "../worker/pause.ts";
import { createPluginTicks } from "../worker/plugin_ticks.ts";
import { createRecount } from "../worker/recount.ts";
import { createSettled } from "../worker/settled.ts";
import { createTicker, tickNow } from "../worker/tick.ts";
import { createWorker, type Worker } from "../worker/worker.ts";
import { createAdopt } from "./admin/adopt.ts";
import { createAdmin, createCounts } from "./admin/create_admin.ts";
import { createAudited } from "./admin/audit.ts";
import { createBatches } from "./admin/batches.ts";
import { pluginAdmin } from "./admin/plugin_admin.ts";
import type { App, StoredPortal } from "./app.ts";
import { type Calls, createCalls } from "./calls.ts";
import { assertDeployment } from "./deployment.ts";
import { diagnoseApp } from "./diagnose.ts";
import { createDispatch } from "./dispatch.ts";
import { createLifecycle } from "./lifecycle.ts";
import { createOpenings } from "./openings.ts";
import type { AppOptions } from "./options.ts";
import { plan } from "./plan.ts";
import { refusingFetch, refusingWrites } from "./rehearsal_guards.ts";
import { createReadiness } from "./readiness.ts";
import { rehearse } from "./rehearse.ts";
import { type Settings, settingsOf } from "./settings.ts";
import { createRegistry, type Registry } from "./registry.ts";

/**
 * Creates an app. It needs a plugin of phase `verify` before it accepts events.
 *
 * @throws {TypeError} if an option is invalid
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
  const given = settingsOf(options);
  const known = createKnownCredentials(given.clock);
  const registry = createRegistry();
  const tracer = createTracer(registry.plugins, given.log);
  const settings: Settings = {
    ...given,
    storage: known.watch(refusingWrites(tracedStorage(given.storage, tracer, given.time.monotonic))),
    log: tracedLogger(given.log, tracer),
  };
  const { storage, limits, keys } = settings;
  const calls = createCalls(settings, known, tracer);
  const closing = new AbortController();
  const base = createRuntime(settings, registry, calls, tracer, closing.signal);
  const control = createRollout({
    ...{
      runtime: base,
      upgrades: registry.upgrades,
      options: options.rollout ?? {},
      concurrency: settings.concurrency,
    },
    start: (memberId) => void worker.process(memberId),
    isObserved: (name) => registry.plugins.some(({ observe }) => observe?.[name] !== undefined),
    isPaused: () => pauseSwitch.wasPaused(),
  });
  // Operators can look at rollouts that other code has made.
  const rollout = options.rollout === undefined ? undefined : control;
  const runtime: AppRuntime = { ...base, ...defined({ rollout }) };

  const wake = async (memberId: string): Promise<void> => {
    if (lifecycle.isRunning()) await worker.wake(memberId);
  };
  reportChanges({
    ...{ storage, clock: runtime.clock, random: runtime.random, leaseMs: limits.leaseMs },
    isObserved: (kind) => registry.plugins.some(({ observe }) => observe?.[kind] !== undefined),
    onReported: (memberId) => void wake(memberId),
  });
  const logFullInbox = createFullInboxLog(runtime);
  const pauseSwitch = createPauseSwitch(runtime);
  const parts = connectParts({ settings, registry, calls, runtime, wake, logFullInbox, pauseSwitch });
  const { checks, verifier, worker } = parts;
  const totals = createTotals(runtime);
  const outbox = createOutbox(runtime, () => lifecycle.isRunning());
  const audited = createAudited(runtime);
  const batches = createBatches({ runtime, upgrades: registry.upgrades, wake }, audited, () => lifecycle.isRunning());
  const adoptions = createAdopt({
    ...{ runtime, checks, audited, pairs: calls.credentials.adoptedPairs },
    ...{ oauthHosts: settings.oauthHosts, hasClientId: keys.clientId !== undefined },
  });
  const recount = createRecount(runtime);
  const tickPlugins = createPluginTicks(runtime);
  const counts = createCounts(totals, control);
  const snapshots = createSnapshots(runtime, counts);
  const ticker = createTicker(runtime, {
    ...{ worker, verifier, totals, pauseSwitch, batches, outbox, recount, snapshots, tickPlugins },
    ...defined({ rollout }),
  });
  const { credentials: { provider: credentials }, oauth: { appInfo }, isAdministrator } = calls;
  const portal = (memberId: string): Promise<StoredPortal | undefined> => readPortal(runtime, memberId);
  const requests = createInFlight();
  const lifecycle = createLifecycle({
    ...{
      runtime,
      registry,
      requests,
      verifier,
      worker,
      checks,
      totals,
      ticker,
      pauseSwitch,
      batches,
      outbox,
      adoptions,
    },
    ...defined({ rollout }),
    assertDeployment: () => assertDeployment(runtime, options),
    hostOf: (plugin) => hostOf(plugin, { settings, calls, runtime, outbox, admin, portal }),
    ...{ tickEveryMs: settings.tickEveryMs, closeMs: limits.closeMs, bodyBytes: limits.bodyBytes },
    bodyBytesLoweredFrom: settings.bodyBytesLoweredFrom,
    dev: settings.dev,
    oauthHosts: usesNetwork(options) && keys.clientId !== undefined ? settings.oauthHosts : [],
    abort: (reason) => closing.abort(reason),
  });
  const diagnose = diagnoseApp({ settings, runtime, lifecycle, ticker });
  const settled = createSettled({
    ...{ runtime, verifier, checks, worker, ticker, totals, pauseSwitch, batches, ...defined({ rollout }) },
    isRunning: lifecycle.isRunning,
  });
  const admin = createAdmin({
    ...{
      runtime,
      upgrades: registry.upgrades,
      totals,
      counts,
      recount,
      pauseSwitch,
      audited,
      batches,
      adopt: adoptions.adopt,
      outbox: { ...outbox.admin, forget: outbox.forget },
      setUp: () => lifecycle.setUp(),
      rollout: control,
      wake,
      diagnose,
    },
    wakeRollout: async () => {
      if (rollout !== undefined && lifecycle.isRunning()) await rollout.wake();
    },
    wakeAll: () => {
      if (lifecycle.isRunning()) void tickNow(runtime, ticker.tickInBackground);
    },
    processState: () => ({ isRunning: lifecycle.isRunning(), tickedAt: ticker.tickedAt() }),
  });
  const { open, opening } = createOpenings({
    ...{ runtime, limits, keys, lifecycle, verifier, worker, checks, isAdministrator, appInfo },
    ...{ oauthHosts: settings.oauthHosts, upgrades: registry.upgrades, retry: admin.retry },
  });

  const app: App = {
    use: (plugin) => {
      // The compiler checks what a plugin needs and adds; at run time a context is an object with keys.
      registry.addPlugin(plugin as unknown as Plugin);
      return app as never;
    },
    on: (events, handler, options) => {
      registry.addHandler(events, handler as AnyHandler, options);
      return app;
    },
    upgrade: (range, handler, options) => {
      registry.addUpgrade(range, handler, options);
      return app;
    },
    fetch: createDispatch({
      ...{ runtime, limits, acknowledge: settings.acknowledge, clientAddress: settings.clientAddress },
      healthPath: settings.healthPath,
      ...{ verifier, worker, checks, lifecycle, requests, logFullInbox },
    }),
    ...{ open, opening, admin, credentials },
    readiness: createReadiness(runtime, lifecycle),
    setUp: () => lifecycle.setUp(),
    start: () => lifecycle.start(),
    tick: async (options) => {
      await lifecycle.start({ callerTicks: true });
      return await ticker.tick(options);
    },
    settled: async (memberId) => {
      await lifecycle.start({ callerTicks: true });
      await settled(memberId);
    },
    plan: (query) => plan(storage, registry.upgrades, query, rollout),
    rehearse: async (memberId, options) => {
      if (lifecycle.isClosed()) throw new TypeError("cannot rehearse: the app is closed");
      await lifecycle.setUp();
      const { upgrades } = registry;
      const parts = { runtime, upgrades, pauseSwitch, credentialsFor: calls.credentials.forRehearsal };
      return await rehearse(parts, memberId, options);
    },
    check: checks.check,
    portal,
    close: lifecycle.close,
  };
  return app;
}

/** Reads a portal, with what is not in its record. */
async function readPortal({ storage, rollout }: AppRuntime, memberId: string): Promise<StoredPortal | undefined> {
  const [entry, unverifiedEvents] = await Promise.all([
    storage.get<PortalRecord>(portalKey(memberId)),
    countUnverified({ storage }, memberId),
  ]);
  const record = readRecord(entry);
  const blocked = record && await rollout?.heldBlock(record);
  return record &&
    {
      ...snapshot(record),
      ...(blocked && { state: "blocked", blocked }),
      ...(unverifiedEvents > 0 && { unverifiedEvents }),
    };
}

/** Whether the app calls the hosts of Bitrix24 by the `fetch` of the environment. */
const usesNetwork = ({ fetch, dev }: AppOptions): boolean => fetch === undefined && dev === undefined;

/** Returns the part of an app that a plugin uses. */
function hostOf(
  plugin: string,
  { settings, calls, runtime, outbox, admin, portal }:
    & Pick<PartsOptions, "settings" | "calls" | "runtime">
    & Pick<PluginHost, "portal">
    & {
      readonly outbox: Outbox;
      readonly admin: Admin;
    },
): PluginHost {
  const { keys, fetch, clock, random, digest } = settings;
  const { credentials: { provider: credentials }, oauth: { appInfo }, portalFetch, isAdministrator } = calls;
  return {
    ...{
      ...keys,
      fetch: refusingFetch(fetch),
      portalFetch,
      clock,
      random,
      digest,
      credentials,
      appInfo,
      isAdministrator,
      portal,
    },
    storage: pluginStorage(runtime.storage, plugin),
    outbox: outbox.of(plugin),
    admin: pluginAdmin(admin, plugin, runtime),
    log: withFields(runtime.log, { plugin }),
  };
}

function createRuntime(
  settings: Settings,
  registry: Registry,
  calls: Calls,
  tracer: Tracer,
  signal: AbortSignal,
): AppRuntime {
  const { storage, clock, random, time, log, fetch, versions, digest, retry, keys, limits } = settings;
  return {
    ...{ storage, clock, random, time, log, tracer, fetch, versions, digest, retry, signal },
    ...{ leaseMs: limits.leaseMs, retentionMs: limits.retentionMs },
    ...{ plugins: registry.plugins, handlers: registry.handlers },
    canRefresh: keys.clientId !== undefined && keys.clientSecret !== undefined,
    issuedTokens: calls.credentials.issued,
    ...defined({ initialVersion: settings.initialVersion }),
  };
}

/** Dependencies of {@linkcode connectParts}. */
interface PartsOptions {
  readonly settings: Settings;
  readonly registry: Registry;
  readonly calls: Calls;
  readonly runtime: AppRuntime;
  /** Starts the work of a portal in this process, if the app is running. Resolves once it is under way. */
  readonly wake: (memberId: string) => Promise<void>;
  readonly logFullInbox: LogFullInbox;
  readonly pauseSwitch: PauseSwitch;
}

/** Returns the parts of an app that do its work. They use each other. */
function connectParts(options: PartsOptions): {
  readonly checks: Checks;
  readonly verifier: Verifier;
  readonly worker: Worker;
} {
  const { settings, registry, calls, runtime, wake, logFullInbox, pauseSwitch } = options;
  const { credentials, profile } = calls;
  const { oauthHosts, oauthTimeoutMs } = settings;
  const checks = createChecks({
    ...{ runtime, credentials, profile, policy: settings.checks, wake },
    budget: () => verifier.budget(),
  });
  const verifier = createVerifier({
    ...{ runtime, oauthHosts, turnMs: maxAttemptMs(oauthHosts.length, oauthTimeoutMs) },
    accept: async (incoming, verification) => {
      const accepted = await acceptVerified(runtime, incoming, verification, { reserve: worker.reserve });
      const check = checks.afterEvent(incoming.event);
      if (accepted.state !== "accepted") return defined({ end: check });
      const { result, end } = worker.work(accepted.delivery);
      return { result, end: Promise.all([end, check]) };
    },
    onReplaced: (memberId) => void checks.afterReplaced(memberId),
    onRefused: (memberId) => void checks.afterRefused(memberId),
    onInboxFull: logFullInbox,
    ...defined({ refresh: credentials.refreshForeign }),
  });
  const worker = createWorker({
    ...{ runtime, upgrades: registry.upgrades, checks, pauseSwitch },
    concurrency: settings.concurrency,
  });
  return { checks, verifier, worker };
}
