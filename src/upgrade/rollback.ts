/** Takes back what upgrades did, by the `undo` of their finished steps. */
import { type AppRuntime, safeError } from "../plugin/runtime.ts";
import { OnAppUpdateError } from "../errors.ts";
import { withFields } from "../logger.ts";
import type { HandlerContext } from "../plugin/context.ts";
import { latestRun } from "../portal/run_history.ts";
import type { PortalLease } from "../portal/lease.ts";
import { snapshot } from "../portal/record.ts";
import type { Upgrade, UpgradeContext } from "./definition.ts";
import { type Installation, installationOf } from "./installation.ts";
import { beginAttempt, ReplayEnd, scopeOf, stepOf, withStep } from "./step_engine.ts";

/** What was taken back, in that order, and what could not be. */
export interface RollbackReport {
  /** Steps whose `undo` ran. */
  readonly undone: readonly RolledBackStep[];
  /** Finished steps that have none; of upgrades that the code has no more, all steps. */
  readonly without: readonly RolledBackStep[];
}

/** A step of an upgrade. */
export interface RolledBackStep {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** Name of the step. */
  readonly step: string;
}

/**
 * Takes back the run that is under way or parked; without one the last run that reached the portal's version. The portal
 * is on the version then on which that run began, and parked. Done again after a failure, it goes on where it was.
 */
export async function rollBack(
  core: AppRuntime,
  upgrades: readonly Upgrade[],
  portal: PortalLease,
  ctx: HandlerContext,
): Promise<RollbackReport> {
  const held = installationOf(portal);
  await reopen(core, held);
  // What is taken back is to be done again, and not before somebody says so, also where an undo fails.
  await held.update((record) => {
    const { startedAt = Infinity, journal = [] } = record.run ?? {};
    const ids = new Set(journal.map(({ upgradeId }) => upgradeId));
    const upgradeId = journal[0]?.upgradeId ?? record.failure?.upgradeId;
    return {
      ...record,
      applied: record.applied.filter(({ id, at }) => !(ids.has(id) && at >= startedAt)),
      failure: {
        ...(upgradeId === undefined ? {} : { upgradeId }),
        ...{ to: record.target!, message: "it is being rolled back", attempts: 0, at: core.clock() },
      },
    };
  });
  const report = { undone: [] as RolledBackStep[], without: [] as RolledBackStep[] };
  for (const { upgradeId, steps } of (held.record().run?.journal ?? []).toReversed()) {
    const upgrade = upgrades.find(({ id }) => id === upgradeId);
    if (upgrade === undefined) {
      for (const [step, { state }] of Object.entries(steps)) {
        if (state === "done") report.without.push({ upgradeId, step });
      }
      continue;
    }
    await undoUpgrade(core, held, ctx, upgrade, report);
  }
  await held.update((record) => {
    const { run, ...rest } = record;
    const upgradeId = run?.journal[0]?.upgradeId ?? record.failure?.upgradeId;
    return {
      ...rest,
      rollbacks: (record.rollbacks ?? 0) + 1,
      failure: {
        ...(upgradeId === undefined ? {} : { upgradeId }),
        ...{ to: record.target!, message: "rolled back", attempts: 0, at: core.clock() },
      },
    };
  });
  return report;
}

/** Makes the last run that is over the one under way again, parked; does nothing while there is one. */
async function reopen(core: AppRuntime, held: Installation): Promise<void> {
  const { memberId, version } = held.record();
  if (held.record().run !== undefined) return;
  const last = await latestRun(core.storage, memberId);
  // Those of an earlier installation are none of this one's.
  if (last === undefined || last.to !== version || last.generation !== held.record().generation) {
    throw new OnAppUpdateError("nothing_to_roll_back", `cannot roll portal ${memberId} back: no run of it is stored`);
  }
  const { id, from, startedAt, journal } = last;
  await held.update((record) => ({
    ...record,
    version: from,
    run: { id, from, startedAt, journal },
    failure: {
      upgradeId: journal[0]!.upgradeId,
      to: record.target!,
      message: "it is being rolled back",
      attempts: 0,
      at: core.clock(),
    },
  }));
}

async function undoUpgrade(
  core: AppRuntime,
  held: Installation,
  ctx: HandlerContext,
  upgrade: Upgrade,
  report: { readonly undone: RolledBackStep[]; readonly without: RolledBackStep[] },
): Promise<void> {
  const { id } = upgrade;
  const record = held.record();
  const signal = AbortSignal.any([ctx.signal, held.signal]);
  const quiet = (): void => {};
  const one = beginAttempt({
    ...{ ...core, held, upgradeId: id, retry: {}, signal, isReplay: true },
    ...{ started: quiet, finishedStep: quiet },
  });
  const { event: _e, receivedAt: _r, ...added } = ctx;
  const leg = { memberId: record.memberId, from: record.run!.from, to: record.target! };
  const log = withFields(ctx.log, { upgradeId: id });
  try {
    // Up to the first step that is not done: it gives what the steps gave, and how to take them back.
    await upgrade.handler(
      {
        ...{ ...added, ...one.steps, ...leg, attempt: 1, mode: "rollback" },
        ...{ portal: snapshot(record), log, signal },
      } satisfies UpgradeContext,
    );
  } catch (error) {
    if (!(error instanceof ReplayEnd)) {
      const safe = safeError(core, error, ctx.event, held.record());
      log.warn("a handler that is replayed to be rolled back failed", { error: safe });
    }
  }
  one.end();
  for (const { name, undo } of one.finished.toReversed()) {
    if (undo === undefined) {
      report.without.push({ upgradeId: id, step: name });
      continue;
    }
    const known = stepOf(held.record(), id, name)!;
    await undo(await scopeOf(held, id, name, { attempt: 1, signal, part: "undo" }));
    await held.update((current) => withStep(current, id, name, { ...known, state: "undone", at: core.clock() }));
    report.undone.push({ upgradeId: id, step: name });
  }
}
