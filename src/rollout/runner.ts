/** The work of rollouts in one process: moves stages, begins portals, and notifies observers. */
import { coalesce } from "../async/coalesce.ts";
import type { Observers } from "../plugin/observers.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import type { Breakers } from "./breakers.ts";
import type { DeployedRollout } from "./deployed.ts";
import type { Permits } from "./permits.ts";
import type { Pump } from "./pump.ts";
import type { Reached } from "./reached.ts";
import { reclaimSlots } from "./reclaim.ts";
import { advance, findLowest, type StageParts, supersede, undoAborted } from "./stages.ts";
import type { Targets } from "./targets.ts";
import { tellRollouts } from "./tell.ts";

/** Does the work of rollouts. Nothing of it rejects. */
export interface Runner {
  /**
   * Does what is due, and begins at most `limit` portals. `goesOn`: others follow as slots become free, whatever the limit is.
   * Resolves to whether it has begun one.
   */
  readonly tick: (limit: number, options: { readonly goesOn: boolean }) => Promise<boolean>;
  /** Does at once what an operator's action causes. */
  readonly wake: () => Promise<void>;
  /** Begins portals in the slots that have become free, if a tick has asked for that. */
  readonly onFreed: () => void;
  /** Notifies observers of the changes that wait. */
  readonly tell: () => Promise<void>;
  /** Resolves when nothing is being begun or recorded: to whether portals have begun since the last call. */
  readonly idle: () => Promise<boolean>;
  /** Begins no further portals. */
  readonly stop: () => void;
}

/** Options of {@linkcode createRunner}. */
export interface RunnerParts {
  readonly runtime: AppRuntime;
  readonly targets: Targets;
  readonly breakers: Breakers;
  readonly permits: Permits;
  readonly reached: Reached;
  readonly deployed: DeployedRollout;
  readonly pump: Pump;
  /** Has the worker process a portal. */
  readonly start: (memberId: string) => void;
  readonly isObserved: (name: keyof Observers) => boolean;
  /** All work is paused. */
  readonly isPaused: () => boolean;
}

/** Returns the runner of a process. */
export function createRunner(parts: RunnerParts): Runner {
  const { runtime, targets, breakers, permits, reached, deployed, pump, isObserved } = parts;
  const { log } = runtime;
  const stageParts: StageParts = { runtime, targets, breakers, isObserved: () => isObserved("rolloutFinished") };
  const running = new Map<string, Promise<void>>();
  const telling = new Map<string, Promise<void>>();
  let begunCount = 0;
  let isStopped = false;
  let goesOn = false;
  /** Slots have become free since portals were last begun. */
  let isAsked = false;
  const isTold = (): boolean =>
    isObserved("rolloutPaused") || isObserved("rolloutResumed") || isObserved("rolloutFinished");

  /** Runs `run` and logs its failure: nothing of a rollout must keep portals from their work. */
  async function attempt(run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (err) {
      if (!isStopped) log.warn("rollout failed to go on", { event: "rollout.failed", err });
    }
  }

  const tell = (): Promise<void> =>
    coalesce(telling, "tell", () =>
      attempt(async () => {
        if (isTold()) await tellRollouts(runtime, targets, breakers);
      }));

  async function begin(limit: number, isTick: boolean): Promise<number> {
    let count = 0;
    while (!isStopped && !parts.isPaused()) {
      const begun = await pump.begin(limit - count, isTick);
      if (goesOn) begun.forEach(parts.start);
      count += begun.length;
      begunCount += begun.length;
      // The stage may have had nothing to do.
      if (begun.length > 0 || permits.size() > 0 || !await advanceAll(stageParts)) break;
    }
    return count;
  }

  async function keepUp(): Promise<void> {
    await deployed.warnOfUnknown();
    const state = await deployed.leading();
    if (state !== undefined) {
      await supersede(stageParts, state.target);
      if (state.state === "running") await findLowest(stageParts, state);
    }
    for (const state of await targets.all()) {
      if (state.kind === "staged" && state.state === "running") await findLowest(stageParts, state);
      await undoAborted(stageParts, state);
    }
    await reclaimSlots(runtime, breakers);
    await advanceAll(stageParts);
  }

  /** Begins portals in the slots that have become free; those that become free meanwhile are looked at again. */
  async function goOn(): Promise<void> {
    isAsked = true;
    await coalesce(running, "begin", async () => {
      while (isAsked && !isStopped) {
        isAsked = false;
        await attempt(() => begin(Infinity, false));
      }
    });
  }

  async function tick(limit: number, isEndless: boolean): Promise<boolean> {
    let count = 0;
    goesOn ||= isEndless;
    await running.get("begin");
    await breakers.idle();
    await coalesce(running, "begin", async () => {
      await attempt(keepUp);
      await attempt(async () => void (count = await begin(limit, true)));
    });
    await attempt(reached.flush);
    await tell();
    return count > 0;
  }

  return {
    tick: (limit, { goesOn }) => tick(limit, goesOn),
    wake: async () => {
      targets.forget();
      await tick(Infinity, goesOn);
    },
    onFreed: () => {
      if (goesOn) void goOn();
    },
    tell,
    idle: async () => {
      do {
        await running.get("begin");
        await breakers.idle();
      } while (running.size > 0);
      await attempt(reached.flush);
      const hasBegun = begunCount > 0;
      begunCount = 0;
      return hasBegun;
    },
    stop: () => void (isStopped = true),
  };
}

/** Moves all rollouts whose next stage is due. Resolves to whether one has moved. */
async function advanceAll(parts: StageParts): Promise<boolean> {
  let isMoved = false;
  for (const state of await parts.targets.all()) if (await advance(parts, state)) isMoved = true;
  return isMoved;
}
