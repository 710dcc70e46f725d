/** The tick: finds the portals that are due, and has the worker process them. */
import { MAX_TIMER_MS } from "../async/time.ts";
import { settlesWithin } from "../async/with_timeout.ts";
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import { portalKey } from "../portal/keys.ts";
import { entryTime, listDue, type ScheduleEntry } from "../portal/schedule.ts";
import { createDeploySweep } from "./deploy_sweep.ts";
import type { ProcessedPortal } from "./process_portal.ts";
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
   * Maximum number of portals at a time. Minimum: 1.
   *
   * @default 8
   */
  readonly concurrency?: number;
  /**
   * Milliseconds after which the tick starts no further portal. Minimum: 0.
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

/**
 * A tick. `awaitsVerification`: it also waits, within its budget, until the events that are due are verified and their
 * work is done. Ticks in the background do not: a silent OAuth host must not delay the portals that are due.
 */
export type Tick = (
  options?: TickOptions,
  how?: { readonly awaitsVerification?: boolean },
) => Promise<TickReport>;

/** Returns `app.tick`. Any number of processes may tick over one storage. */
export function createTicker(
  runtime: AppRuntime,
  worker: Worker,
  verifier: Pick<Verifier, "tick" | "settled">,
): Tick {
  const { storage, clock, time, log } = runtime;
  const sweep = createDeploySweep(runtime);

  return async (options = {}, { awaitsVerification = false } = {}) => {
    checkOptions("cannot tick", options, OPTION_RULES);
    const { limit = 100, concurrency = 8, budgetMs = 30_000 } = options;
    const endAt = time.monotonic() + budgetMs;
    await sweep(limit);
    // Not awaited: the list may be long in a flood, and what is wrong with it must not keep portals from their work.
    const verifying = verifier.tick().catch((err) =>
      log.error("failed to look for events that wait for verification", { event: "verification.tick_failed", err })
    );
    if (awaitsVerification) {
      const settled = verifying.then(() => verifier.settled());
      await settlesWithin(time, settled, Math.min(budgetMs, MAX_TIMER_MS));
    }
    const entries = listDue(storage, clock());
    const seen = new Set<string>();
    let started = 0;
    let handled = 0;
    let failed = 0;

    async function next(): Promise<ScheduleEntry | undefined> {
      while (started < limit && time.monotonic() < endAt) {
        const { done, value } = await entries.next();
        if (done) return undefined;
        if (seen.has(value.memberId) || worker.isProcessing(value.memberId)) continue;
        seen.add(value.memberId);
        started++;
        return value;
      }
      return undefined;
    }

    async function processEntries(): Promise<void> {
      for (let entry = await next(); entry !== undefined; entry = await next()) {
        const { memberId } = entry;
        const processed = await worker.process(memberId, entry.due);
        handled += processed.handled;
        failed += processed.failed;
        // Does not count: a portal that another process holds, or newer code has written, must not displace others.
        if (processed.released === undefined && processed.failed === 0) started--;
        try {
          await deleteStale(runtime, entry, processed.released);
        } catch (err) {
          log.warn("failed to delete a schedule entry", { event: "schedule.cleanup_failed", memberId, err });
        }
      }
    }

    await Promise.all(Array.from({ length: concurrency }, processEntries));
    log.debug("tick finished", { event: "tick.finished", portals: seen.size, handled, failed });
    notify(runtime, "tickFinished", { handled, failed });
    return { handled, failed };
  };
}

/** Deletes an entry that a crash has left: the record of the portal names another one, or there is no record. */
async function deleteStale(
  { storage, clock }: AppRuntime,
  { key, memberId, due }: ScheduleEntry,
  released: ProcessedPortal["released"],
): Promise<void> {
  if (released !== undefined) {
    if (released.due !== due) await storage.delete(key);
  } else if (entryTime(due) <= clock() - ORPHANED_MS && await storage.get(portalKey(memberId)) === null) {
    await storage.delete(key);
  }
}

const OPTION_RULES: OptionRules<TickOptions> = {
  limit: option.number({ min: 1, isWhole: true }),
  concurrency: option.number({ min: 1, isWhole: true }),
  budgetMs: option.number({ min: 0, max: Infinity }),
};

/** Ticks every `ms` milliseconds, but never while a tick is running. Does not keep the process alive. */
export function tickEvery(
  { time, log }: Pick<AppRuntime, "time" | "log">,
  ms: number,
  tick: () => Promise<unknown>,
): { readonly stop: () => void } {
  let isTicking = false;
  let stop = (): void => {};

  async function tickOnce(): Promise<void> {
    if (isTicking) return;
    isTicking = true;
    try {
      await tick();
    } catch (err) {
      log.error("tick failed", { event: "tick.failed", err });
    } finally {
      isTicking = false;
    }
  }

  function arm(): void {
    stop = time.setTimer(
      () => {
        arm();
        void tickOnce();
      },
      ms,
      { keepAlive: false },
    );
  }
  arm();
  return { stop: () => stop() };
}
