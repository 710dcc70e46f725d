/** Rollout control of an app: connects its parts. */
import type { Observers } from "../plugin/observers.ts";
import type { RolloutOptions } from "../plugin/rollout.ts";
import type { AppRuntime, RolloutGate } from "../plugin/runtime.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { type Breakers, createBreakers } from "./breakers.ts";
import { createDeployedRollout, type DeployedRollout } from "./deployed.ts";
import { admit, type GateParts } from "./gate.ts";
import { withDefaults } from "./options.ts";
import { createPermits } from "./permits.ts";
import { createPump } from "./pump.ts";
import { createReached } from "./reached.ts";
import { createRunner, type Runner, type RunnerParts } from "./runner.ts";
import { slotOutcome } from "./slot_outcome.ts";
import { newTarget } from "./target.ts";
import { createTargets, type Targets } from "./targets.ts";

/** Rollout control, as the app uses it. */
export interface Rollout
  extends RolloutGate, Pick<DeployedRollout, "waitingFor">, Pick<Runner, "tick" | "wake" | "idle" | "stop"> {
  readonly targets: Targets;
  readonly breakers: Breakers;
  /** Whether a plugin is notified of such changes. */
  readonly isObserved: (name: keyof Observers) => boolean;
  /** Returns the portals that have reached a target and are not counted in storage yet, by minute. */
  readonly uncounted: (target: string) => ReadonlyMap<number, number>;
}

/** Options of {@linkcode createRollout}. */
export interface RolloutParts extends Pick<RunnerParts, "start" | "isObserved" | "isPaused"> {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  readonly options: RolloutOptions;
  /** Maximum number of portals that this process works on. */
  readonly concurrency: number;
}

/** Portals that have a slot here for each one that the worker can process. */
const AHEAD = 4;

/** Returns the rollout control of an app. */
export function createRollout(parts: RolloutParts): Rollout {
  const { runtime, upgrades, options, start, isObserved, isPaused } = parts;
  const { clock, log } = runtime;
  const given = withDefaults(options);
  const targets = createTargets(runtime);
  const permits = createPermits(runtime);
  const reached = createReached(clock, targets);
  const deployed = createDeployedRollout(runtime, targets, given);
  const { waitingFor, heldBlock, holdsBack, leading } = deployed;
  const breakers = createBreakers(runtime, {
    isObserved: () => isObserved("rolloutPaused"),
    onFreed: () => runner.onFreed(),
    onTripped: ({ upgradeId, finished, parked }) => {
      log.error("rollout paused", { event: "rollout.paused", upgradeId, finished, parked });
      void runner.tell();
    },
  });
  const gateParts: GateParts = {
    ...{ runtime, upgrades, given, targets, breakers, permits },
    customerKind: options.appliesTo === "all" ? "staged" : "breaker",
    unstaged: (target) => newTarget(target, "breaker", given, clock()),
    onFull: () => pump.noteWaiting(),
  };
  const pump = createPump({ ...gateParts, leading, maxPermits: parts.concurrency * AHEAD });
  const runner = createRunner({
    ...{ runtime, targets, breakers, permits, reached, deployed, pump },
    ...{ start, isObserved, isPaused },
  });
  const { tick, wake, idle, stop } = runner;

  return {
    ...{ targets, breakers, isObserved, waitingFor, heldBlock, holdsBack, tick, wake, idle, stop },
    admit: (lease) => admit(gateParts, lease),
    release: (record: PortalRecord) => {
      const { memberId } = record;
      for (const { upgradeId, to } of permits.remove(memberId)) {
        const { resumedAt } = breakers.known(upgradeId) ?? {};
        const outcome = slotOutcome(record, { upgradeId, to, now: clock(), resumedAt });
        if (outcome === "succeeded" && record.version === to) reached.add(to, memberId);
        breakers.end(upgradeId, memberId, outcome);
      }
    },
    uncounted: reached.of,
  };
}
