/** The tick: finds the portals that are due, and has the worker process them. */
import { MAX_TIMER_MS } from "../async/time.ts";
import { settlesWithin } from "../async/with_timeout.ts";
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import { findRecord } from "../portal/find_record.ts";
import { credentialsKey } from "../portal/keys.ts";
import { entryTime, listDuePortals, type ScheduleEntry } from "../portal/schedule.ts";
import type { Snapshots } from "../portal/count_snapshots.ts";
import type { Totals } from "../portal/totals.ts";
import type { Rollout } from "../rollout/rollout.ts";
import { createDeploySweep } from "./deploy_sweep.ts";
import type { ProcessedPortal } from "./process_portal.ts";
import type { PauseSwitch } from "./pause.ts";
import type { Recount } from "./recount.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { Verifier } from "../verify/verifier.ts";
import type { Worker } from "./worker.ts";

/** Options of `app.tick`. */
export interface TickOptions {
  /**
   * Maximum number of portals. Later ticks process the others. Minimum: 1.
   *
   * @default 100
   */
  readonly limit?: number;
  /**
   * Maximum number of portals that the tick processes at a time, within the `concurrency` of the app. Minimum: 1.
   *
   * @default the `concurrency` of the app
   */
  readonly concurrency?: number;
  /**
   * Milliseconds after which the tick starts no further portal, and resolves, whatever it has started goes on. Minimum: 0.
   *
   * @default 30000
   */
  readonly budgetMs?: number;
}

/** The result of `app.tick`. */
export interface TickReport {
  /** Number of events whose work was done. */
  readonly handled: number;
  /** Number of events whose work failed; they are retried or parked. */
  readonly failed: number;
}

/** Age (ms) at which a schedule entry without a portal record counts as orphaned and is deleted. */
const ORPHANED_MS = 60 * 60 * 1000;

/** Finds the portals that are due. Any number of processes may do so over one storage. */
export interface Ticker {
  /** `app.tick`: also waits, within its budget, for events that are due to be verified. */
  readonly tick: (options?: TickOptions) => Promise<TickReport>;
  /**
   * A tick in the background: passes everything that is due to the worker, however much it is, as fast as the worker takes
   * it. Resolves once all of it is passed, whenever its work ends.
   */
  readonly tickInBackground: () => Promise<void>;
  /**
   * The tick of plugins in the background: calls their `tick`, and delivers messages. A tick of portals lasts as long as some that
   * are due find no free slot.
   */
  readonly tickPluginsInBackground: () => Promise<void>;
  /** Ends ticks in the background. */
  readonly stop: () => void;
  /** Returns when the last tick that did not fail ended, in milliseconds since 1970; `undefined` before the first. */
  readonly tickedAt: () => number | undefined;
}

/** Time (ms) that `tickFinished` waits for the work of a tick in the background. */
const BACKGROUND_REPORT_MS = 30_000;

/** Number of portals that a deploy sweep raises before those that are due have their turn. */
const SWEEP_PAGE = 100;

/** The parts of an app that a tick sets to work. */
export interface TickerParts {
  readonly worker: Worker;
  readonly verifier: Pick<Verifier, "tick" | "settled" | "budget">;
  readonly totals: Pick<Totals, "flush">;
  /** While the app is paused, no portal is passed to the worker. */
  readonly pauseSwitch: Pick<PauseSwitch, "current">;
  /** Goes on with batch operations. Never rejects. */
  readonly batches: { readonly goOn: () => Promise<void> };
  readonly outbox: Pick<Outbox, "tick" | "idle">;
  readonly recount: Pick<Recount, "page">;
  readonly snapshots: Snapshots;
  /** Calls `tick` of all plugins. Never rejects. */
  readonly tickPlugins: () => Promise<void>;
  /** Absent without the option `rollout`. */
  readonly rollout?: Pick<Rollout, "tick">;
}

/** Returns the ticker of an app. */
export function createTicker(
  runtime: AppRuntime,
  { worker, verifier, totals, pauseSwitch, batches, outbox, recount, snapshots, tickPlugins, rollout }: TickerParts,
): Ticker {
  const { time, clock, log } = runtime;
  const sweep = rollout === undefined ? createDeploySweep(runtime) : undefined;
  let isStopped = false;
  let tickedAt: number | undefined;

  // A list that cannot be read must not keep portals from their work.
  const verify = (): Promise<void> =>
    verifier.tick().catch((err) =>
      log.error("failed to look for events that wait for verification", { event: "verification.tick_failed", err })
    );

  // Lists and counts that are wrong must not keep portals from their work either.
  const recountPage = (): Promise<void> =>
    recount.page().catch((err) => log.warn("recount failed", { event: "recount.failed", err }));

  const takeSnapshot = (): Promise<void> =>
    snapshots.take().catch((err) =>
      log.warn("failed to store the hourly counts", { event: "counts.snapshot_failed", err })
    );

  /** Raises targets after a deploy. Resolves to whether no portal is left, or it has failed. */
  const raiseTargets = async (limit: number, goesOn: boolean): Promise<boolean> => {
    try {
      if (sweep !== undefined) return await sweep(limit);
      await rollout?.tick(limit, { goesOn });
    } catch (err) {
      log.error("failed to raise targets after a deploy", { event: "deploy_sweep.failed", err });
    }
    return true;
  };

  const isPaused = async (): Promise<boolean> => await pauseSwitch.current() !== undefined;

  const deliver = (): Promise<void> =>
    outbox.tick().catch((err) => log.warn("failed to look for messages", { event: "outbox.tick_failed", err }));

  /** Passes what is due to the worker, and waits for it, until the rollout begins no further portal. */
  async function workThrough(round: Round, limit: number, isOver: () => boolean): Promise<void> {
    do {
      await round.passDue();
      await round.ended();
    } while (
      rollout !== undefined && !isOver() && round.counts().portals < limit &&
      await rollout.tick(limit - round.counts().portals, { goesOn: false })
    );
  }

  function report(round: Round): TickReport {
    const { handled, failed, portals } = round.counts();
    log.debug("tick finished", { event: "tick.finished", portals, handled, failed });
    notify(runtime, "tickFinished", {
      ...{ handled, failed, lagMs: round.lagMs(), verificationsLeft: verifier.budget().left() },
    });
    return { handled, failed };
  }

  return {
    tick: async (options = {}) => {
      checkOptions("cannot tick", options, OPTION_RULES);
      const { limit = 100, concurrency = limit, budgetMs = 30_000 } = options;
      const endAt = time.monotonic() + budgetMs;
      const isOver = (): boolean => time.monotonic() >= endAt;
      const round = createRound(runtime, worker, { limit, concurrency, isOver });
      // Not after the rest: that may fail, or take all of the budget.
      const pluginsTicked = tickPlugins();
      const work = async (): Promise<void> => {
        await raiseTargets(limit, false);
        const verified = verify().then(() => verifier.settled());
        const worked = isPaused().then((isPaused) => isPaused ? undefined : workThrough(round, limit, isOver));
        await Promise.all([verified, worked, recountPage(), batches.goOn(), pluginsTicked]);
        // Including messages that observers of the round have put.
        await deliver().then(() => outbox.idle());
        // Some hosts stop a program between ticks.
        await totals.flush();
        await takeSnapshot();
      };
      await settlesWithin(time, work(), Math.min(budgetMs, MAX_TIMER_MS));
      tickedAt = clock();
      return report(round);
    },
    tickInBackground: async () => {
      // Not awaited: a silent OAuth host must not delay the portals that are due.
      void verify();
      void batches.goOn();
      void takeSnapshot();
      const recounting = recountPage();
      const round = createRound(runtime, worker, { limit: Infinity, concurrency: Infinity, isOver: () => isStopped });
      let isSwept: boolean;
      do {
        isSwept = await raiseTargets(sweep === undefined ? Infinity : SWEEP_PAGE, true);
        if (!await isPaused()) await round.passDue();
      } while (!isSwept && !isStopped);
      await recounting;
      tickedAt = clock();
      void settlesWithin(time, round.ended(), BACKGROUND_REPORT_MS).then(() => report(round));
    },
    tickPluginsInBackground: async () => {
      await tickPlugins();
      await deliver();
    },
    stop: () => {
      isStopped = true;
    },
    tickedAt: () => tickedAt,
  };
}

interface RoundOptions extends Required<Pick<TickOptions, "limit" | "concurrency">> {
  /** Returns whether no further portal is started. */
  readonly isOver: () => boolean;
}

/** The portals that one tick has passed to the worker. */
interface Round {
  /** Passes the portals that are due to the worker. Resolves when there is no other, or the round is over. */
  readonly passDue: () => Promise<void>;
  /** Resolves when the work of all passed portals has ended. */
  readonly ended: () => Promise<void>;
  /** Returns the counts so far. */
  readonly counts: () => TickReport & { readonly portals: number };
  /** Returns how late the work began that was due first, in milliseconds; 0 if none was due. */
  readonly lagMs: () => number;
}

function createRound(runtime: AppRuntime, worker: Worker, { limit, concurrency, isOver }: RoundOptions): Round {
  const { storage, clock, log } = runtime;
  const running = new Set<Promise<void>>();
  let portals = 0;
  let started = 0;
  let handled = 0;
  let failed = 0;
  let lagMs = 0;

  /** Processes a portal, and deletes those of its entries that are stale. */
  async function processEntries(memberId: string, entries: readonly ScheduleEntry[]): Promise<void> {
    const lateMs = clock() - Math.min(...entries.map(({ due }) => entryTime(due)));
    const processed = await worker.process(memberId, entries.map(({ due }) => due));
    // Otherwise another process works on the portal.
    if (processed.released !== undefined) lagMs = Math.max(lagMs, lateMs);
    handled += processed.handled;
    failed += processed.failed;
    // Does not count: a portal that another process holds, or that cannot be read, must not displace others.
    if (processed.released === undefined && (processed.failed === 0 || processed.isUnreadable)) started--;
    try {
      for (const entry of entries) await deleteStale(runtime, entry, processed.released);
    } catch (err) {
      log.warn("failed to delete a schedule entry", { event: "schedule.cleanup_failed", memberId, err });
    }
  }

  function start(memberId: string, entries: readonly ScheduleEntry[]): void {
    portals++;
    started++;
    const work: Promise<void> = processEntries(memberId, entries).then(() => void running.delete(work));
    running.add(work);
  }

  return {
    passDue: async () => {
      const seen = new Set<string>();
      for await (const [memberId, entries] of listDuePortals(storage, clock())) {
        while (running.size > 0 && (started >= limit || running.size >= concurrency) && !isOver()) {
          await Promise.race(running);
        }
        await worker.room();
        if (isOver() || started >= limit) return;
        if (seen.has(memberId) || worker.isProcessing(memberId)) continue;
        seen.add(memberId);
        start(memberId, entries);
      }
    },
    ended: async () => {
      while (running.size > 0) await Promise.all(running);
    },
    counts: () => ({ handled, failed, portals }),
    lagMs: () => lagMs,
  };
}

/**
 * Deletes an entry that a crash has left: the record of the portal names another one, or there is no record. `released`: how
 * the portal was released after the entry was found. Until then, a process that has just put it may name it in the record.
 */
async function deleteStale(
  { storage, clock }: AppRuntime,
  { key, memberId, due }: ScheduleEntry,
  released: ProcessedPortal["released"],
): Promise<void> {
  if (released !== undefined) {
    if (released.due !== due) await storage.delete(key);
  } else if (entryTime(due) <= clock() - ORPHANED_MS && await findRecord(storage, memberId) === null) {
    // A crash came before the record of a new portal.
    await storage.delete(credentialsKey(memberId));
    await storage.delete(key);
  }
}

const OPTION_RULES: OptionRules<TickOptions> = {
  limit: option.number({ min: 1, isWhole: true }),
  concurrency: option.number({ min: 1, isWhole: true }),
  budgetMs: option.number({ min: 0, max: Infinity }),
};

/** Ticks. Never rejects: a failure is logged. */
export async function tickNow({ log }: Pick<AppRuntime, "log">, tick: () => Promise<unknown>): Promise<void> {
  try {
    await tick();
  } catch (err) {
    log.error("tick failed", { event: "tick.failed", err });
  }
}

/**
 * Ticks every `ms` milliseconds, and now if `atOnce`, until the returned function is called, but never while a tick is
 * running. Does not keep the process alive.
 */
export function tickEvery(
  { time, log }: Pick<AppRuntime, "time" | "log">,
  ms: number,
  atOnce: boolean,
  tick: () => Promise<unknown>,
): () => void {
  let isTicking = false;
  let cancel = (): void => {};

  async function tickOnce(): Promise<void> {
    if (isTicking) return;
    isTicking = true;
    await tickNow({ log }, tick);
    isTicking = false;
  }

  function arm(): void {
    cancel = time.setTimer(
      () => {
        arm();
        void tickOnce();
      },
      ms,
      { keepAlive: false },
    );
  }
  arm();
  // The work that the last process has left is due now.
  if (atOnce) void tickOnce();
  return () => cancel();
}
