/** The base of all parts of an app: its settings, its registry, its calls to Bitrix24 and its runtime. */
import { createKnownCredentials } from "../credentials/known.ts";
import { defined } from "../defined.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { tracedLogger, tracedStorage } from "../plugin/traced.ts";
import { createTracer, type Tracer } from "../plugin/tracer.ts";
import { type Calls, createCalls } from "./calls.ts";
import type { AppOptions } from "./options.ts";
import { createRegistry, type Registry } from "./registry.ts";
import { refusingWrites } from "./rehearsal_guards.ts";
import { type Settings, settingsOf } from "./settings.ts";

/** The base of an app. */
export interface Base {
  readonly settings: Settings;
  readonly registry: Registry;
  readonly calls: Calls;
  /** Without the rollout, which needs it. */
  readonly runtime: Omit<AppRuntime, "rollout">;
  /** Aborts the signal of the runtime. */
  readonly abort: (reason: unknown) => void;
}

/**
 * Returns the base of an app.
 *
 * @throws {TypeError} if an option is invalid
 */
export function createBase(options: AppOptions): Base {
  const given = settingsOf(options);
  const known = createKnownCredentials(given.clock);
  const registry = createRegistry();
  const tracer = createTracer(registry.plugins, given.log);
  const settings: Settings = {
    ...given,
    storage: known.watch(refusingWrites(tracedStorage(given.storage, tracer, given.time.monotonic))),
    log: tracedLogger(given.log, tracer),
  };
  const calls = createCalls(settings, known, tracer);
  const closing = new AbortController();
  const runtime = createRuntime(settings, registry, calls, tracer, closing.signal);
  return { settings, registry, calls, runtime, abort: (reason) => closing.abort(reason) };
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
