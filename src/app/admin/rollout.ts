/** Operators' functions for rollouts. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import { OnAppUpdateError } from "../../errors.ts";
import type { Attribution, AuditedAction } from "../../plugin/admin_pages.ts";
import type { RolloutAdmin } from "../../plugin/rollout.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { loadPortal } from "../../portal/record_store.ts";
import type { CauseCount, PortalCount } from "../../portal/totals.ts";
import { resumed } from "../../rollout/breaker.ts";
import { changedOptions, checkChanges } from "../../rollout/options.ts";
import { type RolloutChange, withRolloutReport } from "../../rollout/report.ts";
import type { Rollout } from "../../rollout/rollout.ts";
import { rolloutStatus } from "../../rollout/status.ts";
import { assertChangeable, type TargetState, withNextStage } from "../../rollout/target.ts";
import { parseVersion } from "../../version.ts";
import { ATTRIBUTION_RULES } from "./attribution.ts";
import type { Audited } from "./audit.ts";
import type { BatchRunner } from "./batches.ts";

/** The parts of an app that operate rollouts. */
export interface RolloutAdminParts {
  readonly runtime: AppRuntime;
  readonly batches: Pick<BatchRunner, "newId" | "retryRollout">;
  readonly audited: Audited;
  readonly counts: () => Promise<readonly PortalCount[]>;
  readonly causes: () => Promise<readonly CauseCount[]>;
  readonly rollout: Pick<Rollout, "targets" | "breakers" | "uncounted" | "isObserved">;
  /** Does at once what an action causes, if the app is running. */
  readonly wakeRollout: () => Promise<void>;
}

type ResumeOptions = Parameters<RolloutAdmin["resume"]>[1];

const RESUME_RULES: OptionRules<ResumeOptions> = { ...ATTRIBUTION_RULES, retryParked: option.flag() };

type PromoteOptions = Parameters<RolloutAdmin["promote"]>[1];

const PROMOTE_RULES: OptionRules<PromoteOptions> = {
  ...ATTRIBUTION_RULES,
  stage: option.number({ min: 1, isWhole: true }),
};

/** Returns the operators' functions for rollouts. */
export function createRolloutAdmin(parts: RolloutAdminParts): RolloutAdmin {
  const {
    runtime,
    audited,
    batches,
    rollout: { targets, breakers, uncounted, isObserved },
    counts,
    causes,
    wakeRollout,
  } = parts;
  const { clock, random, storage } = runtime;

  /** Changes a rollout, audited. `change` throws if it must not be changed. */
  async function act(
    name: "set" | "pause" | "resume" | "promote" | "abort",
    target: string,
    { by, reason }: Attribution,
    { details, batchId }: {
      readonly details?: Readonly<Record<string, unknown>>;
      readonly batchId?: string | undefined;
    },
    run: (target: string) => Promise<void>,
  ): Promise<void> {
    const action: AuditedAction = `rollout.${name}`;
    const entry = { action, by, reason, details: { target, ...details }, ...defined({ batchId }) };
    await audited(entry, async () => {
      targets.forget();
      await run(parseVersion(target));
    });
    await wakeRollout();
  }

  function check(name: string, attribution: Attribution): void {
    checkOptions(`cannot ${name} a rollout`, attribution, ATTRIBUTION_RULES);
  }

  function reported(state: TargetState, change: RolloutChange): TargetState {
    return isObserved(change.kind) ? withRolloutReport(state, { id: random(), changedAt: clock(), change }) : state;
  }

  async function resetBreakers(target: string): Promise<boolean> {
    let isAnyTripped = false;
    for (const { upgradeId, targets, trippedAt } of await breakers.all()) {
      if (!targets.includes(target)) continue;
      isAnyTripped ||= trippedAt !== undefined;
      await breakers.change(upgradeId, (breaker) => resumed(breaker, clock()));
    }
    return isAnyTripped;
  }

  async function shown(target: string | undefined): Promise<TargetState | undefined> {
    if (target !== undefined) return await targets.get(target);
    const all = (await targets.all()).filter(({ state }) => state !== "aborted");
    // A higher one may have been superseded before: by that of a version that was aborted.
    return all.findLast(({ state }) => state === "running") ?? all.sort((a, b) => a.startedAt - b.startedAt).at(-1);
  }

  return {
    status: async (target) => {
      targets.forget();
      const state = await shown(target === undefined ? undefined : parseVersion(target));
      return state && await rolloutStatus({ runtime, breakers, counts, causes, uncounted }, state);
    },
    set: async (target, changes, attribution) => {
      check("change", attribution);
      await act("set", target, attribution, { details: { changes } }, async (version) => {
        const state = await targets.get(version);
        assertChangeable(state, "change", version);
        checkChanges(changes, state.options, state.stage);
        for (const memberId of [...changes.first ?? [], ...changes.hold ?? []]) await loadPortal(storage, memberId);
        await targets.change(version, (state) => {
          assertChangeable(state, "change", version);
          checkChanges(changes, state.options, state.stage);
          const { isPassed: _p, doneSince: _d, ...rest } = state;
          return { ...rest, state: "running", options: changedOptions(state.options, changes) };
        });
      });
    },
    pause: async (target, attribution) => {
      check("pause", attribution);
      const { by, reason } = attribution;
      await act("pause", target, attribution, {}, async (version) => {
        await targets.change(version, (state) => {
          assertChangeable(state, "pause", version);
          const paused: TargetState = { ...state, paused: { by, reason, since: clock() } };
          return reported(paused, { kind: "rolloutPaused", target: version, by, reason });
        });
      });
    },
    resume: async (target, options) => {
      checkOptions("cannot resume a rollout", options, RESUME_RULES);
      const { by, reason, retryParked: retries = false } = options;
      const batchId = retries ? batches.newId() : undefined;
      await act("resume", target, { by, reason }, { details: { retryParked: retries }, batchId }, async (version) => {
        assertChangeable(await targets.get(version), "resume", version);
        const isAnyTripped = await resetBreakers(version);
        await targets.change(version, (state) => {
          assertChangeable(state, "resume", version);
          const { paused, ...running } = state;
          if (paused === undefined && !isAnyTripped) return state;
          return reported(running, { kind: "rolloutResumed", target: version, by, reason });
        });
        if (batchId !== undefined) await batches.retryRollout(batchId, version, { by, reason });
      });
    },
    promote: async (target, options) => {
      checkOptions("cannot promote a rollout", options, PROMOTE_RULES);
      const { by, reason, stage } = options;
      await act("promote", target, { by, reason }, { details: defined({ stage }) }, async (version) => {
        await targets.change(version, (state) => {
          assertChangeable(state, "promote", version);
          if (stage !== undefined && stage !== state.stage + 1) {
            throw new OnAppUpdateError(
              "other_stage",
              `cannot promote the rollout of ${version}: its present stage is ${state.stage + 1}, wanted ${stage}`,
            );
          }
          const next = state.kind === "breaker" ? undefined : withNextStage(state, clock());
          if (next !== undefined && next.state === "running") return next;
          throw new OnAppUpdateError(
            "last_stage",
            `cannot promote the rollout of ${version}: stage ${state.stage + 1} is the last one`,
          );
        });
      });
    },
    abort: async (target, attribution) => {
      check("abort", attribution);
      await act("abort", target, attribution, {}, async (version) => {
        await targets.change(version, (state) => {
          assertChangeable(state, "abort", version);
          const { paused: _, ...rest } = state;
          return { ...rest, state: "aborted" };
        });
      });
    },
  };
}
