/** The parts of an app that work: they verify events, process portals, check them, and do what is due. They use each other. */
import { createInFlight, type InFlight } from "../async/in_flight.ts";
import { defined } from "../defined.ts";
import { acceptVerified } from "../intake/accept.ts";
import { createFullInboxLog, type LogFullInbox } from "../intake/full_inbox.ts";
import { createOutbox, type Outbox } from "../outbox/outbox.ts";
import type { Observers } from "../plugin/observers.ts";
import type { RolloutOptions } from "../plugin/rollout.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { createSnapshots } from "../portal/count_snapshots.ts";
import { reportChanges } from "../portal/reports.ts";
import { createTotals, type PortalCount, type Totals } from "../portal/totals.ts";
import { createRollout, type Rollout } from "../rollout/rollout.ts";
import { maxAttemptMs } from "../verify/attempt.ts";
import { createVerifier, type Verifier } from "../verify/verifier.ts";
import { type Checks, createChecks } from "../worker/checks.ts";
import { createPauseSwitch, type PauseSwitch } from "../worker/pause.ts";
import { createPluginTicks } from "../worker/plugin_ticks.ts";
import { createRecount, type Recount } from "../worker/recount.ts";
import { createTicker, type Ticker } from "../worker/tick.ts";
import { createWorker, type Worker } from "../worker/worker.ts";
import { type Adopt, createAdopt } from "./admin/adopt.ts";
import { type Audited, createAudited } from "./admin/audit.ts";
import { type BatchRunner, createBatches } from "./admin/batches.ts";
import { createCounts } from "./admin/create_admin.ts";
import type { Base } from "./base.ts";

/** The parts of an app that work. */
export interface AppParts {
  readonly runtime: AppRuntime;
  /** Also of an app without the option `rollout`: operators can look at rollouts that other code has made. */
  readonly control: Rollout;
  /** Absent without the option `rollout`. */
  readonly rollout?: Rollout;
  readonly verifier: Verifier;
  readonly worker: Worker;
  readonly checks: Checks;
  readonly pauseSwitch: PauseSwitch;
  readonly logFullInbox: LogFullInbox;
  readonly totals: Totals;
  /** The counts of all portals, those that are held marked. */
  readonly counts: () => Promise<readonly PortalCount[]>;
  readonly recount: Recount;
  readonly outbox: Outbox;
  /** The actions of operators that have not ended. */
  readonly actions: InFlight;
  readonly audited: Audited;
  readonly batches: BatchRunner;
  readonly adoptions: Adopt;
  readonly ticker: Ticker;
  /** Starts the work of a portal in this process, if the app is running. Resolves once it is under way. */
  readonly wake: (memberId: string) => Promise<void>;
}

/** Dependencies of {@linkcode createParts}. */
export interface PartsOptions {
  readonly base: Base;
  /** Absent if the app has no rollouts of its own. */
  readonly rollout: RolloutOptions | undefined;
  /** The app has started and is not closing. */
  readonly isRunning: () => boolean;
}

/** Returns the parts of an app that work. */
export function createParts({ base, rollout: rolloutOptions, isRunning }: PartsOptions): AppParts {
  const { settings, registry: { plugins, upgrades }, calls } = base;
  const { concurrency, limits: { leaseMs }, keys, oauthHosts } = settings;
  const isObserved = (name: keyof Observers): boolean => plugins.some(({ observe }) => observe?.[name] !== undefined);
  const control = createRollout({
    ...{ runtime: base.runtime, upgrades, options: rolloutOptions ?? {}, concurrency, isObserved },
    start: (memberId) => void worker.process(memberId),
    isPaused: () => pauseSwitch.wasPaused(),
  });
  const rollout = rolloutOptions === undefined ? undefined : control;
  const runtime: AppRuntime = { ...base.runtime, ...defined({ rollout }) };
  const { storage, clock, random } = runtime;

  const wake = async (memberId: string): Promise<void> => {
    if (isRunning()) await worker.wake(memberId);
  };
  reportChanges({
    ...{ storage, clock, random, leaseMs, isObserved },
    onReported: (memberId) => void wake(memberId),
  });
  const logFullInbox = createFullInboxLog(runtime);
  const pauseSwitch = createPauseSwitch(runtime);
  const { checks, verifier, worker } = connect({ base, runtime, wake, logFullInbox, pauseSwitch });
  const totals = createTotals(runtime);
  const counts = createCounts(totals, control);
  const outbox = createOutbox(runtime, isRunning);
  const actions = createInFlight();
  const record = createAudited(runtime);
  const audited: Audited = (entry, act, refusal) => actions.track(record(entry, act, refusal));
  const batches = createBatches({ runtime, upgrades, wake }, audited, isRunning);
  const adoptions = createAdopt({
    ...{ runtime, checks, audited, pairs: calls.credentials.adoptedPairs },
    ...{ oauthHosts, hasClientId: keys.clientId !== undefined },
  });
  const recount = createRecount(runtime);
  const snapshots = createSnapshots(runtime, counts);
  const tickPlugins = createPluginTicks(runtime);
  const ticker = createTicker(runtime, {
    ...{ worker, verifier, totals, pauseSwitch, batches, outbox, recount, snapshots, tickPlugins },
    ...defined({ rollout }),
  });
  return {
    ...{ runtime, control, verifier, worker, checks, pauseSwitch, logFullInbox, totals, counts, recount },
    ...{ outbox, actions, audited, batches, adoptions, ticker, wake },
    ...defined({ rollout }),
  };
}

/** Returns the parts that a delivery passes through. They use each other. */
function connect(
  { base: { settings, registry, calls }, runtime, wake, logFullInbox, pauseSwitch }:
    & Pick<PartsOptions, "base">
    & Pick<AppParts, "runtime" | "wake" | "logFullInbox" | "pauseSwitch">,
): Pick<AppParts, "checks" | "verifier" | "worker"> {
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
      const { end, ...work } = worker.work(accepted.delivery);
      return { ...work, end: Promise.all([end, check]) };
    },
    onReplaced: (memberId) => void checks.afterReplaced(memberId),
    onRefused: (memberId) => void checks.afterRefused(memberId),
    onInboxFull: logFullInbox,
    ...defined({ refresh: credentials.refreshForeign }),
  });
  const worker = createWorker({
    ...{ runtime, upgrades: registry.upgrades, checks, pauseSwitch },
    ...{ concurrency: settings.concurrency, awaitsResults: settings.acknowledge === "handled" },
  });
  return { checks, verifier, worker };
}
