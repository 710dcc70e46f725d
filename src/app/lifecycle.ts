/** Start and close of an app. */
import type { InFlight } from "../async/in_flight.ts";
import { settlesWithin } from "../async/with_timeout.ts";
import { defined } from "../defined.ts";
import { findOtherThreads } from "../net/runtime.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { PluginHost } from "../plugin/host.ts";
import { assertPlugins } from "../plugin/pipeline.ts";
import { outsideRehearsal } from "../plugin/rehearsal.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { chargeUnhandledRejections } from "../plugin/unhandled_rejections.ts";
import type { Totals } from "../portal/totals.ts";
import type { Rollout } from "../rollout/rollout.ts";
import type { Checks } from "../worker/checks.ts";
import type { PauseSwitch } from "../worker/pause.ts";
import { type Ticker, tickEvery } from "../worker/tick.ts";
import type { Verifier } from "../verify/verifier.ts";
import type { Worker } from "../worker/worker.ts";
import type { Adopt } from "./admin/adopt.ts";
import type { Registry } from "./registry.ts";
import { assertMayStart, assertStorageIsShared } from "./inert.ts";
import { assertEnvironment, startupWarnings, threadsWarning } from "./startup_warnings.ts";

/** The state of an app, and the transitions between its states. */
export interface Lifecycle {
  /** Sets the plugins up. Runs once: every call returns the same promise. */
  readonly setUp: () => Promise<void>;
  /**
   * Sets the plugins up and starts the ticker, with a first tick unless the caller ticks. Runs once: every call returns the
   * same promise.
   */
  readonly start: (options?: { readonly callerTicks?: boolean }) => Promise<void>;
  /** Finishes or aborts the work, then closes plugins and storage. Runs once: every call returns the same promise. */
  readonly close: () => Promise<void>;
  /** The app has started and is not closing. */
  readonly isRunning: () => boolean;
  /** `close` has been called. */
  readonly isClosed: () => boolean;
}

/** The parts of an app that start and close with it. */
export interface LifecycleOptions {
  readonly runtime: AppRuntime;
  readonly registry: Registry;
  /** Returns what is passed to the setup of a plugin. */
  readonly hostOf: (plugin: string) => PluginHost;
  /** The requests that are not answered yet. */
  readonly requests: Pick<InFlight, "idle">;
  readonly verifier: Verifier;
  readonly worker: Worker;
  readonly checks: Checks;
  readonly totals: Totals;
  readonly pauseSwitch: Pick<PauseSwitch, "current">;
  /** The actions of operators that have not ended. */
  readonly actions: Pick<InFlight, "idle">;
  readonly batches: { readonly idle: () => Promise<void> };
  readonly adoptions: Pick<Adopt, "stop" | "idle">;
  readonly outbox: Pick<Outbox, "idle" | "stop">;
  readonly ticker: Ticker;
  /** Absent without the option `rollout`. */
  readonly rollout?: Pick<Rollout, "stop" | "idle">;
  /** Rejects if the storage belongs to another deployment. */
  readonly assertDeployment: () => Promise<void>;
  readonly tickEveryMs: number | false;
  /** OAuth hosts that are called by the `fetch` of the environment. */
  readonly oauthHosts: readonly string[];
  /** Address of the stand-in for Bitrix24, if the app has one. */
  readonly dev: string | undefined;
  /** Maximum size of a request's body; logged at start. */
  readonly bodyBytes: number;
  /** `limits.bodyBytes` as it was set, if the storage takes less. */
  readonly bodyBytesLoweredFrom: number | undefined;
  /** Milliseconds that `close` waits for work before it aborts it. */
  readonly closeMs: number;
  /** Aborts the signal of the runtime. */
  readonly abort: (reason: unknown) => void;
}

/** Milliseconds that `close` waits for aborted work, and for the last changes of totals. */
const ABORT_MS = 1000;

/** Time (ms) that other threads are looked for: they start together. In Deno, this keeps the process alive. */
const FIND_THREADS_MS = 10_000;

/** Warns if other threads of the process run the program, too. Returns a function that ends the search. */
function findThreads({ storage, log, time }: AppRuntime): () => void {
  const { message, fields } = threadsWarning(storage);
  const stop = findOtherThreads(() => log.warn(message, fields));
  const cancel = time.setTimer(stop, FIND_THREADS_MS, { keepAlive: false });
  return () => {
    cancel();
    stop();
  };
}

/** Returns the lifecycle of an app that has not started. */
export function createLifecycle(options: LifecycleOptions): Lifecycle {
  const { runtime, registry, hostOf, verifier, worker, checks, totals, ticker, tickEveryMs, closeMs, abort } = options;
  const { pauseSwitch, actions, batches, adoptions, outbox, requests, bodyBytes, bodyBytesLoweredFrom, oauthHosts } =
    options;
  const { dev } = options;
  const { assertDeployment, rollout } = options;
  const { storage, log, time } = runtime;
  let isSetUp: Promise<void> | undefined;
  let started: Promise<void> | undefined;
  let closed: Promise<void> | undefined;
  let isRunning = false;
  let stopTicking = (): void => {};
  let stopCharging = (): void => {};
  let stopFinding = (): void => {};

  async function setUp(): Promise<void> {
    assertStorageIsShared(storage);
    registry.seal();
    assertPlugins(registry.plugins);
    assertEnvironment();
    for (const { name, setup } of registry.plugins) {
      // The app closes no plugin that is set up from now on.
      if (closed !== undefined) return;
      await setup?.(hostOf(name));
    }
  }

  // Even if a handler calls it in a rehearsal: what the app starts must be able to write later.
  const setUpOnce = (): Promise<void> => isSetUp ??= outsideRehearsal(setUp);

  async function start({ callerTicks = false }: { readonly callerTicks?: boolean } = {}): Promise<void> {
    assertMayStart("start the app");
    await setUpOnce();
    if (closed !== undefined) return;
    for (const { message, fields } of startupWarnings({ ...runtime, oauthHosts, dev })) log.warn(message, fields);
    await assertDeployment();
    // Logs a warning if the app is paused.
    await pauseSwitch.current();
    isRunning = closed === undefined;
    if (!isRunning) return;
    stopCharging = chargeUnhandledRejections();
    if (storage.capabilities.scope === "process") stopFinding = findThreads(runtime);
    log.info("app started", {
      event: "app.started",
      storage: storage.name,
      versions: runtime.versions.name,
      plugins: registry.plugins.map(({ name }) => name),
      upgrades: registry.upgrades.map(({ id }) => id),
      bodyBytes,
      ...defined({ bodyBytesLoweredFrom }),
    });
    if (tickEveryMs !== false) stopTicking = tickAll(tickEveryMs, !callerTicks);
  }

  function tickAll(ms: number, atOnce: boolean): () => void {
    const stops = [tickEvery(runtime, ms, atOnce, ticker.tickInBackground)];
    if (registry.plugins.some(({ tick, outbox }) => (tick ?? outbox) !== undefined)) {
      stops.push(tickEvery(runtime, ms, atOnce, ticker.tickPluginsInBackground));
    }
    return () => stops.forEach((stop) => stop());
  }

  async function close(): Promise<void> {
    isRunning = false;
    stopTicking();
    stopFinding();
    ticker.stop();
    worker.stop();
    rollout?.stop();
    outbox.stop();
    adoptions.stop();
    // An event that is being stored must not be lost; verified ones become work of the worker.
    const idle = requests.idle().then(() => verifier.idle())
      .then(() => Promise.all([worker.idle(), checks.idle(), batches.idle()]));
    // A plugin must not be closed while it is being set up.
    const setUp = isSetUp?.catch(() => {});
    await settlesWithin(time, Promise.all([setUp, idle, actions.idle(), outbox.idle(), adoptions.idle()]), closeMs);
    abort(new DOMException("the app is closing", "AbortError"));
    // Handlers that heed their signal end now. The work of the others stays in the inbox.
    await settlesWithin(time, Promise.all([worker.idle(), actions.idle(), outbox.idle()]), ABORT_MS);
    for (const { name, close } of registry.plugins.toReversed()) {
      try {
        await close?.();
      } catch (err) {
        log.error("plugin failed to close", { event: "plugin.close_failed", plugin: name, err });
      }
    }
    stopCharging();
    await settlesWithin(time, Promise.all([totals.close(), rollout?.idle()]), ABORT_MS);
    await storage.close?.();
  }

  return {
    setUp: setUpOnce,
    start: (options) => started ??= outsideRehearsal(() => start(options)),
    close: () => closed ??= close(),
    isRunning: () => isRunning,
    isClosed: () => closed !== undefined,
  };
}
