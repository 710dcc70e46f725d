/** Finds the portals that have work to do now, and has it done. */
import { createDeploySweep } from "./deploy_sweep.ts";
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import type { Logger } from "../logger.ts";
import { portalKey } from "../portal/keys.ts";
import { entryTime, listDue, type ScheduleEntry } from "../portal/schedule.ts";
import type { ProcessedPortal } from "./process_portal.ts";
import type { Worker } from "./worker.ts";

/** Options of `app.tick`. */
export interface TickOptions {
  /** At most this many portals; default 100. The next tick goes on with the others. */
  readonly limit?: number;
  /** Portals at a time; default 8. */
  readonly concurrency?: number;
  /** Milliseconds after which no further portal is begun; default 30000. */
  readonly budgetMs?: number;
}

/** What `app.tick` did. */
export interface TickReport {
  /** Events whose work is done now. */
  readonly handled: number;
  /** Events whose work failed again. */
  readonly failed: number;
}

/** Who is about to make a record is not to be kept waiting longer than this, in milliseconds. */
const STALE_MS = 60 * 60 * 1000;

/** Ticks over one schedule; any number of processes may. */
export function createTicker(
  core: AppRuntime,
  worker: Worker,
): (options?: TickOptions) => Promise<TickReport> {
  const { storage, clock } = core;

  /** Removes an entry that a crash has left. The record was written since the entry was found, if the portal was `left`. */
  async function tidy({ key, memberId, due }: ScheduleEntry, left: ProcessedPortal["left"]): Promise<void> {
    if (left !== undefined) {
      if (left.due !== due) await storage.delete(key);
    } else if (entryTime(due) <= clock() - STALE_MS && await storage.get(portalKey(memberId)) === null) {
      await storage.delete(key);
    }
  }

  const sweep = createDeploySweep(core);

  return async ({ limit = 100, concurrency = 8, budgetMs = 30_000 } = {}) => {
    for (const [name, value] of Object.entries({ limit, concurrency })) {
      if (Number.isInteger(value) && value > 0) continue;
      throw new TypeError(`cannot tick with ${name} ${value}, wanted a whole number from 1`);
    }
    if (!(budgetMs >= 0)) throw new TypeError(`cannot tick with budgetMs ${budgetMs}, wanted a number from 0`);
    const end = performance.now() + budgetMs;
    await sweep(limit);
    const due = listDue(storage, clock());
    const seen = new Set<string>();
    let begun = 0;
    let handled = 0;
    let failed = 0;

    async function next(): Promise<ScheduleEntry | undefined> {
      while (begun < limit && performance.now() < end) {
        const { done, value } = await due.next();
        if (done) return undefined;
        if (seen.has(value.memberId) || worker.isProcessing(value.memberId)) continue;
        seen.add(value.memberId);
        begun++;
        return value;
      }
      return undefined;
    }

    async function work(): Promise<void> {
      for (let found = await next(); found !== undefined; found = await next()) {
        const visit: ProcessedPortal = await worker.process(found.memberId);
        handled += visit.handled;
        failed += visit.failed;
        // One at which others are, or which newer code has, costs next to nothing, and must not keep the rest waiting.
        if (visit.left === undefined && visit.failed === 0) begun--;
        // One portal that cannot be read must not keep the others from their turn.
        await tidy(found, visit.left).catch((error) =>
          core.log.warn("an entry of the schedule could not be tidied", { memberId: found.memberId, error })
        );
      }
    }

    await Promise.all(Array.from({ length: concurrency }, work));
    notify(core, "tickFinished", { handled, failed });
    return { handled, failed };
  };
}

/** Ticks until it is stopped, never two at a time. Does not keep a process alive. */
export function tickEvery(ms: number, tick: () => Promise<unknown>, log: Logger): { readonly stop: () => void } {
  let isOver = true;
  const timer = setInterval(() => {
    if (!isOver) return;
    isOver = false;
    tick().catch((error) => log.error("a tick failed; the next one goes on", { error })).finally(() => isOver = true);
  }, ms);
  (timer as { unref?: () => void }).unref?.();
  return { stop: () => clearInterval(timer) };
}
