/** Rollout control of an app: connects its parts. */
import { coalesce } from "../async/coalesce.ts";
import type { Observers } from "../plugin/observers.ts";
import type { RolloutOptions } from "../plugin/rollout.ts";
import type { AppRuntime, RolloutGate } from "../plugin/runtime.ts";
import { portalKey } from "../portal/keys.ts";
import type { PortalBlock } from "../portal/portal.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { compareVersions } from "../version.ts";
import { type Breakers, createBreakers } from "./breakers.ts";
import { admit, type GateParts, refusalOf } from "./gate.ts";
import { type StoredOptions, withDefaults } from "./options.ts";
import { createPermits } from "./permits.ts";
import { createPump } from "./pump.ts";
import { createReached } from "./reached.ts";
import { reclaimSlots } from "./reclaim.ts";
import { slotOutcome } from "./slot_outcome.ts";
import { advance, findLowest, type StageParts, supersede, undoAborted } from "./stages.ts";
import { newTarget, type TargetState } from "./target.ts";
import { createTargets, type Targets } from "./targets.ts";
import { tellRollouts } from "./tell.ts";

/** Rollout control, as the app uses it. */
export interface Rollout extends RolloutGate {
  readonly targets: Targets;
  readonly breakers: Breakers;
  /** Whether a plugin is notified of such changes. */
  readonly isObserved: (name: keyof Observers) => boolean;
  /** Resolves to the version that portals wait for, if this code raises their targets to it. */
  readonly waitingFor: () => Promise<string | undefined>;
  /**
   * Does what is due, and begins at most `limit` portals. `isEnough`: others follow as slots become free, whatever the limit is.
   * Resolves to whether it has begun one. Never rejects.
   */
  readonly tick: (limit: number, options: { readonly goesOn: boolean }) => Promise<boolean>;
  /** Does at once what an operator's action causes. Never rejects. */
  readonly wake: () => Promise<void>;
  /** Returns the portals that have reached a target and are not counted in storage yet, by minute. */
  readonly uncounted: (target: string) => ReadonlyMap<number, number>;
  /** Resolves when nothing is being begun or recorded: to whether portals have begun since the last call. */
  readonly idle: () => Promise<boolean>;
  /** Begins nothing any more. */
  readonly stop: () => void;
}

/** Options of {@linkcode createRollout}. */
export interface RolloutParts {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  readonly options: RolloutOptions;
  /** Maximum number of portals that this process works on. */
  readonly concurrency: number;
  /** Has the worker process a portal. */
  readonly start: (memberId: string) => void;
  readonly isObserved: (name: keyof Observers) => boolean;
  /** All work is paused. */
  readonly isPaused: () => boolean;
}

/** Portals that have a slot here for each one that the worker can process. */
const AHEAD = 4;

/** Returns the rollout control of an app. */
export function createRollout(parts: RolloutParts): Rollout {
  const { runtime, upgrades, options, isObserved, isPaused } = parts;
  const { clock, log, versions } = runtime;
  const given = withDefaults(options);
  const targets = createTargets(runtime);
  const permits = createPermits(runtime);
  const reached = createReached(clock, targets);
  const running = new Map<string, Promise<void>>();
  const telling = new Map<string, Promise<void>>();
  const warned = new Set<string>();
  let begunCount = 0;
  let isNamedChecked = false;
  let isStopped = false;
  let goesOn = false;
  const isTold = (): boolean =>
    isObserved("rolloutPaused") || isObserved("rolloutResumed") || isObserved("rolloutFinished");
  const breakers = createBreakers(runtime, {
    isObserved: () => isObserved("rolloutPaused"),
    onFreed: () => {
      if (goesOn) void goOn();
    },
    onTripped: ({ upgradeId, finished, parked }) => {
      log.error("rollout paused", { event: "rollout.paused", upgradeId, finished, parked });
      void tell();
    },
  });
  const gateParts: GateParts = {
    ...{ runtime, upgrades, given, targets, breakers, permits },
    customerKind: options.appliesTo === "all" ? "staged" : "breaker",
    unstaged: (target) => newTarget(target, "breaker", given, clock()),
    onFull: () => pump.noteWaiting(),
  };
  const pump = createPump({ ...gateParts, leading, maxPermits: parts.concurrency * AHEAD });
  const stageParts: StageParts = {
    ...{ runtime, targets, breakers, isObserved: () => isObserved("rolloutFinished") },
  };

  /** Returns the rollout of the deployed version, unless code of a higher one has taken over. */
  async function present(): Promise<TargetState | undefined> {
    const { deployed } = versions;
    if (deployed === undefined) return undefined;
    const all = await targets.all();
    return isLed(all, deployed) ? undefined : all.find(({ target }) => target === deployed);
  }

  /** As `present`. Stores the rollout if it is new. */
  async function leading(): Promise<TargetState | undefined> {
    const { deployed } = versions;
    if (deployed === undefined || isLed(await targets.all(), deployed)) return undefined;
    const state = await targets.ensure(deployed, "deployed", given);
    warnIfOther(state);
    return state;
  }

  /** Two codes with one version and other options: those that are stored hold. */
  function warnIfOther({ target, given: stored }: TargetState): void {
    if (warned.has(target) || isSameOptions(stored, given)) return;
    warned.add(target);
    log.warn("options of the rollout differ from those that hold", {
      ...{ event: "rollout.options_differ", target, stored, given },
      hint: "another deployment of this version has stored its options: change them by app.admin.rollout.set()",
    });
  }

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
    while (!isStopped && !isPaused()) {
      const begun = await pump.begin(limit - count, isTick);
      if (goesOn) begun.forEach(parts.start);
      count += begun.length;
      begunCount += begun.length;
      // The stage may have had nothing to do.
      if (begun.length > 0 || permits.size() > 0 || !await advanceAll()) break;
    }
    return count;
  }

  async function advanceAll(): Promise<boolean> {
    let isMoved = false;
    for (const state of await targets.all()) if (await advance(stageParts, state)) isMoved = true;
    return isMoved;
  }

  /** Portals of the options that are not stored are mistakes, unless they install the app later. */
  async function warnOfUnknown(): Promise<void> {
    if (isNamedChecked) return;
    const unknown: string[] = [];
    for (const memberId of [...given.first, ...given.hold]) {
      if (await runtime.storage.get(portalKey(memberId)) === null) unknown.push(memberId);
    }
    isNamedChecked = true;
    if (unknown.length === 0) return;
    log.warn("rollout names portals that are not stored", {
      ...{ event: "rollout.portals_unknown", memberIds: unknown },
      hint: "first and hold of the option rollout are lists of member_ids",
    });
  }

  async function keepUp(): Promise<void> {
    await warnOfUnknown();
    const state = await leading();
    if (state !== undefined) {
      await supersede(stageParts, state.target);
      if (state.state === "running") await findLowest(stageParts, state);
    }
    for (const state of await targets.all()) {
      if (state.kind === "staged" && state.state === "running") await findLowest(stageParts, state);
      await undoAborted(stageParts, state);
    }
    await reclaimSlots(runtime, breakers);
    await advanceAll();
  }

  /** Begins portals in the slots that have become free; those that become free meanwhile are looked at again. */
  let isAsked = false;
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
    ...{ targets, breakers, isObserved },
    waitingFor: async () => {
      const state = await present();
      return state !== undefined && state.state !== "aborted" ? state.target : undefined;
    },
    heldBlock: async (record) => {
      const state = await present();
      return state && heldBlock(state, record, clock());
    },
    admit: (lease) => admit(gateParts, lease),
    holdsBack: (memberId) => {
      const { deployed } = versions;
      if (deployed === undefined) return false;
      const state = targets.known(deployed);
      return state?.state !== "finished" || state.options.hold.includes(memberId);
    },
    release: (record: PortalRecord) => {
      const { memberId } = record;
      for (const { upgradeId, to } of permits.remove(memberId)) {
        const { resumedAt } = breakers.known(upgradeId) ?? {};
        const outcome = slotOutcome(record, { upgradeId, to, now: clock(), resumedAt });
        if (outcome === "succeeded" && record.version === to) reached.add(to, memberId);
        breakers.end(upgradeId, memberId, outcome);
      }
    },
    tick: (limit, { goesOn }) => tick(limit, goesOn),
    wake: async () => {
      targets.forget();
      await tick(Infinity, goesOn);
    },
    uncounted: reached.of,
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

/** Returns whether code of a version above `deployed` has taken over. */
function isLed(all: readonly TargetState[], deployed: string): boolean {
  return all.some(({ target, kind, state }) =>
    kind === "deployed" && state !== "aborted" && compareVersions(target, deployed) > 0
  );
}

/** Returns why a portal is below the deployed version; `undefined` if it is not, or the rollout has raised its target. */
function heldBlock(state: TargetState, record: PortalRecord, now: number): PortalBlock | undefined {
  const { status, version, target, run } = record;
  const isHeld = status === "installed" && run === undefined && version !== undefined && target !== undefined &&
    version === target && compareVersions(version, state.target) < 0;
  if (!isHeld) return undefined;
  const message = refusalOf(state, record, now)?.why ?? `the rollout of ${state.target} has not come to the portal yet`;
  return { on: "rollout", message, since: state.startedAt };
}

function isSameOptions(a: StoredOptions, b: StoredOptions): boolean {
  const text = (value: unknown): string =>
    JSON.stringify(
      value,
      (_, member) =>
        typeof member === "object" && member !== null && !Array.isArray(member)
          ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => a < b ? -1 : 1))
          : member,
    );
  return text(a) === text(b);
}
