/** Does the work that is due, and waits until none is due or running. */
import { delay } from "../async/time.ts";
import { FormatError } from "../errors.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { portalKey } from "../portal/keys.ts";
import { isLeased } from "../portal/lease.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { entryTime, listDue } from "../portal/schedule.ts";
import type { Totals } from "../portal/totals.ts";
import type { Verifier } from "../verify/verifier.ts";
import type { Rollout } from "../rollout/rollout.ts";
import type { Checks } from "./checks.ts";
import type { PauseSwitch } from "./pause.ts";
import type { Ticker } from "./tick.ts";
import type { Worker } from "./worker.ts";

/** The parts of an app that work. */
export interface SettledParts {
  readonly runtime: AppRuntime;
  readonly verifier: Pick<Verifier, "tick" | "settled">;
  readonly checks: Pick<Checks, "idle">;
  readonly worker: Pick<Worker, "process" | "idle" | "isProcessing">;
  readonly ticker: Pick<Ticker, "tickInBackground">;
  readonly totals: Pick<Totals, "flush">;
  readonly pauseSwitch: Pick<PauseSwitch, "current">;
  readonly batches: { readonly goOn: () => Promise<void> };
  /** Absent without the option `rollout`. */
  readonly rollout?: Pick<Rollout, "idle">;
  readonly isRunning: () => boolean;
}

/** Pause (ms) before work that is still due, because it has failed, is tried again. */
const PAUSE_MS = 50;

/** Returns the function behind `app.settled`. */
export function createSettled(parts: SettledParts): (memberId?: string) => Promise<void> {
  const { runtime: { time }, verifier, checks, totals, pauseSwitch, batches, isRunning } = parts;

  return async (memberId) => {
    const { work, isDue } = memberId === undefined ? ofAll(parts) : ofPortal(parts, memberId);
    while (true) {
      if (!isRunning()) throw new TypeError("cannot wait until the work is settled: the app is closed");
      await verifier.tick();
      await verifier.settled();
      await checks.idle();
      await batches.goOn();
      await work();
      if (!await isDue() || await pauseSwitch.current() !== undefined) break;
      await delay(time, PAUSE_MS);
    }
    await totals.flush();
  };
}

/** Work, and whether some is left. */
interface Work {
  readonly work: () => Promise<void>;
  readonly isDue: () => Promise<boolean>;
}

function ofAll({ runtime, worker, ticker, rollout }: SettledParts): Work {
  return {
    work: async () => {
      await ticker.tickInBackground();
      // A portal that is done may let others begin.
      do await worker.idle(); while (await rollout?.idle());
    },
    isDue: async () => {
      for await (const { memberId, due } of listDue(runtime.storage, runtime.clock())) {
        if (await dueOf(runtime, memberId) === due) return true;
      }
      return false;
    },
  };
}

function ofPortal({ runtime, worker }: SettledParts, memberId: string): Work {
  const isDue = async (): Promise<boolean> => {
    const due = await dueOf(runtime, memberId);
    return due !== undefined && entryTime(due) <= runtime.clock();
  };
  return {
    work: async () => {
      if (worker.isProcessing(memberId) || await isDue()) await worker.process(memberId);
    },
    isDue: async () => worker.isProcessing(memberId) || await isDue(),
  };
}

/** Returns the schedule entry of a portal; `undefined` if it has none, another process is at work, or it is left to newer code. */
async function dueOf({ storage, clock }: AppRuntime, memberId: string): Promise<string | undefined> {
  try {
    const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
    return record === undefined || isLeased(storage, record, clock()) ? undefined : record.due;
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
