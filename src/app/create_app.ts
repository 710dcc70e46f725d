/** Creates an app: connects its parts. */
import { createInFlight } from "../async/in_flight.ts";
import type { Admin } from "../plugin/admin.ts";
import type { Plugin } from "../plugin/plugin.ts";
import type { AnyHandler, AppRuntime } from "../plugin/runtime.ts";
import { portalKey } from "../portal/keys.ts";
import { type PortalRecord, readRecord, snapshot } from "../portal/record.ts";
import { countUnverified } from "../portal/unverified.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { createSettled } from "../worker/settled.ts";
import { tickNow } from "../worker/tick.ts";
import { createAdmin } from "./admin/create_admin.ts";
import type { App, StoredPortal } from "./app.ts";
import { createBase } from "./base.ts";
import { assertDeployment } from "./deployment.ts";
import { diagnoseApp } from "./diagnose.ts";
import { createDispatch } from "./dispatch.ts";
import { createLifecycle, type Lifecycle } from "./lifecycle.ts";
import { createOpenings } from "./openings.ts";
import type { AppOptions } from "./options.ts";
import { plan } from "./plan.ts";
import { createPluginHost } from "./plugin_host.ts";
import { createReadiness } from "./readiness.ts";
import { rehearse } from "./rehearse.ts";
import type { Settings } from "./settings.ts";
import { type AppParts, createParts } from "./parts.ts";

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
  const base = createBase(options);
  const { settings, registry, calls, abort } = base;
  const { limits, keys, oauthHosts } = settings;
  const { upgrades } = registry;
  const parts = createParts({ base, rollout: options.rollout, isRunning: () => lifecycle.isRunning() });
  const { runtime, verifier, worker, checks, ticker, pauseSwitch, rollout, outbox, logFullInbox } = parts;
  const requests = createInFlight();
  const portal = (memberId: string): Promise<StoredPortal | undefined> => readPortal(runtime, memberId);
  const lifecycle = createLifecycle({
    ...{ ...parts, registry, requests, abort },
    assertDeployment: () => assertDeployment(runtime, options),
    hostOf: (plugin) => createPluginHost(plugin, { settings, calls, runtime, outbox, admin, portal }),
    ...{ tickEveryMs: settings.tickEveryMs, closeMs: limits.closeMs, bodyBytes: limits.bodyBytes },
    ...{ bodyBytesLoweredFrom: settings.bodyBytesLoweredFrom, dev: settings.dev },
    oauthHosts: usesNetwork(options) && keys.clientId !== undefined ? oauthHosts : [],
  });
  const admin = adminOf(parts, { settings, upgrades, lifecycle });
  const settled = createSettled({ ...parts, isRunning: lifecycle.isRunning });
  const { credentials: { provider: credentials }, oauth: { appInfo }, isAdministrator } = calls;
  const { open, opening } = createOpenings({
    ...{ runtime, limits, keys, lifecycle, verifier, worker, checks, isAdministrator, appInfo },
    ...{ oauthHosts, upgrades, retry: admin.retry },
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
    plan: (query) => plan(runtime.storage, upgrades, query, rollout),
    rehearse: async (memberId, options) => {
      if (lifecycle.isClosed()) throw new TypeError("cannot rehearse: the app is closed");
      await lifecycle.setUp();
      const parts = { runtime, upgrades, pauseSwitch, credentialsFor: calls.credentials.forRehearsal };
      return await rehearse(parts, memberId, options);
    },
    check: checks.check,
    portal,
    close: lifecycle.close,
  };
  return app;
}

/** Returns the operators' functions of an app. */
function adminOf(
  parts: AppParts,
  { settings, upgrades, lifecycle }: {
    readonly settings: Settings;
    readonly upgrades: readonly Upgrade[];
    readonly lifecycle: Lifecycle;
  },
): Admin {
  const { runtime, control, rollout, adoptions, outbox, ticker } = parts;
  return createAdmin({
    ...{ ...parts, upgrades, adopt: adoptions.adopt, rollout: control },
    outbox: { ...outbox.admin, forget: outbox.forget },
    setUp: () => lifecycle.setUp(),
    diagnose: diagnoseApp({ settings, runtime, lifecycle, ticker }),
    wakeRollout: async () => {
      if (rollout !== undefined && lifecycle.isRunning()) await rollout.wake();
    },
    wakeAll: () => {
      if (lifecycle.isRunning()) void tickNow(runtime, ticker.tickInBackground);
    },
    processState: () => ({ isRunning: lifecycle.isRunning(), tickedAt: ticker.tickedAt() }),
  });
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
