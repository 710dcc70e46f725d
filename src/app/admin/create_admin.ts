/** The operators' functions of an app. */
import { checkOptions } from "../../check_options.ts";
import type { Outbox } from "../../outbox/outbox.ts";
import type { Admin } from "../../plugin/admin.ts";
import type { Attribution, AuditedAction } from "../../plugin/admin_pages.ts";
import type { Diagnosis } from "../../plugin/diagnosis.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import type { PortalCount, Totals } from "../../portal/totals.ts";
import type { Rollout } from "../../rollout/rollout.ts";
import type { Upgrade } from "../../upgrade/definition.ts";
import { compareVersions } from "../../version.ts";
import type { Recount } from "../../worker/recount.ts";
import type { PauseSwitch } from "../../worker/pause.ts";
import { retry, rollback, setInitialVersion, setTarget, skip } from "./actions.ts";
import { ATTRIBUTION_RULES, BY_PORTAL } from "./attribution.ts";
import type { Adopt } from "./adopt.ts";
import { type Audited, listAudit, noteAction } from "./audit.ts";
import type { BatchRunner } from "./batches.ts";
import { forget } from "./forget.ts";
import { type ProcessState, readHealth } from "./health.ts";
import { readHistory } from "./history.ts";
import { listPortals } from "./portals.ts";
import { createRolloutAdmin } from "./rollout.ts";
import { listFinishedRuns } from "./runs.ts";
import { createSilences } from "./silences.ts";
import { listCountSnapshots } from "./snapshots.ts";
import { listStuck } from "./stuck.ts";
import { listUnverifiedEvents } from "./unverified.ts";
import { registeredUpgrades } from "./upgrades.ts";

/** Dependencies of {@linkcode createAdmin}. */
export interface AdminOptions {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  readonly totals: Pick<Totals, "counts" | "causes" | "flush">;
  /** The counts of all portals, those that are held marked: see {@linkcode createCounts}. */
  readonly counts: () => Promise<readonly PortalCount[]>;
  readonly recount: Pick<Recount, "all">;
  readonly pauseSwitch: PauseSwitch;
  readonly audited: Audited;
  readonly batches: BatchRunner;
  readonly adopt: Adopt["adopt"];
  readonly outbox: Outbox["admin"] & Pick<Outbox, "forget">;
  /** Sets the plugins up. */
  readonly setUp: () => Promise<void>;
  /** Rollouts of apps without the option `rollout` can be looked at, too. */
  readonly rollout: Rollout;
  /** Does at once what an action on a rollout causes, if the app is running. */
  readonly wakeRollout: () => Promise<void>;
  /** Starts the work of a portal in this process, if the app is running. Resolves once it is under way. */
  readonly wake: (memberId: string) => Promise<void>;
  /** Looks at the process and its machine. */
  readonly diagnose: () => Promise<Diagnosis>;
  /** Starts the work that is due in this process, if the app is running. */
  readonly wakeAll: () => void;
  /** Returns the state of this process. */
  readonly processState: () => ProcessState;
}

/** Returns the admin of an app. */
export function createAdmin(options: AdminOptions): Admin {
  const { runtime, upgrades, totals, recount, pauseSwitch, audited, outbox, wakeAll } = options;
  const { batches: { count, start, list, stop } } = options;
  const { storage, clock } = runtime;

  async function act<T>(
    action: AuditedAction,
    attribution: Attribution,
    fields: { readonly memberId?: string; readonly details?: Readonly<Record<string, unknown>> },
    run: () => Promise<T>,
  ): Promise<T> {
    checkOptions(`cannot ${NAMES[action] ?? action}`, attribution, ATTRIBUTION_RULES);
    const { by, reason } = attribution;
    return await audited({ action, by, reason, ...fields }, run);
  }

  return {
    retry: (memberId, attribution) =>
      act(
        "retry",
        attribution,
        { memberId },
        () => retry(options, memberId, { passesPause: attribution !== BY_PORTAL }),
      ),
    skip: (memberId, upgradeId, attribution) =>
      act("skip", attribution, { memberId, details: { upgradeId } }, () => skip(options, memberId, upgradeId)),
    rollback: (memberId, attribution) => act("rollback", attribution, { memberId }, () => rollback(options, memberId)),
    setInitialVersion: (memberId, version, attribution) =>
      act(
        "setInitialVersion",
        attribution,
        { memberId, details: { version } },
        () => setInitialVersion(options, memberId, version),
      ),
    setTarget: (memberId, version, attribution) =>
      act("setTarget", attribution, { memberId, details: { version } }, () => setTarget(options, memberId, version)),
    adopt: options.adopt,
    forget: (memberId, attribution) => act("forget", attribution, { memberId }, () => forget(options, memberId)),
    pause: (attribution) =>
      act("pause", attribution, {}, () => {
        const { by, reason } = attribution;
        return pauseSwitch.set({ by, reason, since: clock() });
      }),
    resume: async (attribution) => {
      await act("resume", attribution, {}, () => pauseSwitch.set(undefined));
      wakeAll();
    },
    paused: pauseSwitch.current,
    outbox: {
      list: outbox.list,
      retry: (letters, attribution) =>
        act("outbox.retry", attribution, { details: { ...letters } }, () => outbox.retry(letters)),
    },
    batches: { count, start, list, stop },
    silences: createSilences(runtime, audited),
    rollout: createRolloutAdmin({ ...options, counts: totals.counts, causes: totals.causes }),
    recount: (attribution) =>
      act("recount", attribution, {}, async () => {
        await totals.flush();
        await recount.all();
      }),
    upgrades: () => registeredUpgrades(runtime, upgrades, totals),
    portals: (filter) => listPortals(storage, filter),
    runs: (memberId) => listFinishedRuns(storage, memberId),
    history: (memberId) => readHistory(runtime.storage, memberId),
    counts: options.counts,
    stuck: (filter) => listStuck(storage, totals, filter),
    snapshots: (filter) => listCountSnapshots(runtime, filter),
    unverified: (filter) => listUnverifiedEvents(storage, filter),
    audit: (filter) => listAudit(runtime, filter),
    diagnose: options.diagnose,
    noteAction: (note, act) => noteAction(audited, note, act),
    health: () => readHealth(runtime, options.processState()),
  };
}

/** Returns what counts portals, with those that wait for a rollout as held. */
export function createCounts(
  totals: Pick<Totals, "counts">,
  rollout: Pick<Rollout, "waitingFor">,
): () => Promise<readonly PortalCount[]> {
  return async () => withHeld(await totals.counts(), await rollout.waitingFor());
}

/** Returns the counts with those portals as held that are on a version below the target of a rollout. */
function withHeld(counts: readonly PortalCount[], target: string | undefined): readonly PortalCount[] {
  if (target === undefined) return counts;
  return counts.map((one) =>
    one.status === "current" && one.version !== undefined && compareVersions(one.version, target) < 0
      ? { ...one, status: "held" }
      : one
  );
}

/** The actions whose names are no words. */
const NAMES: Partial<Record<AuditedAction, string>> = {
  rollback: "roll back",
  setInitialVersion: "set an initial version",
  setTarget: "set a target",
  "outbox.retry": "retry dead letters",
};
