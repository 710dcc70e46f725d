/** Rolls a run back: undoes the finished steps of its upgrades, the last one first. */
import { OnAppUpdateError } from "../errors.ts";
import type { HandlerContext } from "../plugin/context.ts";
import { type AppRuntime, safeError } from "../plugin/runtime.ts";
import type { PortalLease } from "../portal/lease.ts";
import type { PortalFailure } from "../portal/portal.ts";
import type { PortalRecord } from "../portal/record.ts";
import { latestRun } from "../portal/run_history.ts";
import { makeUpgradeContext } from "./attempt.ts";
import type { Upgrade } from "./definition.ts";
import { type Installation, installationOf } from "./installation.ts";
import { ReplayEnded } from "./interruptions.ts";
import { stepOf, withStep } from "./run_record.ts";
import { type FinishedStep, StepEngine, stepScope } from "./step_engine.ts";

/** The result of `app.admin.rollback`. */
export interface RollbackReport {
  /** Steps whose `undo` ran, in this order. */
  readonly undone: readonly RolledBackStep[];
  /** Finished steps that have no `undo`, and all finished steps of upgrades that the code no longer has. */
  readonly without: readonly RolledBackStep[];
}

/** A step in a rollback report. */
export interface RolledBackStep {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** Name of the step. */
  readonly step: string;
}

/** A report that is being written. */
interface Report {
  readonly undone: RolledBackStep[];
  readonly without: RolledBackStep[];
}

/**
 * Rolls back the open run or, if there is none, the last run that reached the portal's version. Then the portal is on the
 * version on which that run began, and parked. Called again after a failure, it resumes.
 *
 * @throws {OnAppUpdateError} with code `nothing_to_roll_back` if no such run is stored
 * @throws {RemovedError} if the app was removed from the portal
 * @throws the error of an `undo`
 */
export async function rollBack(
  runtime: AppRuntime,
  upgrades: readonly Upgrade[],
  lease: PortalLease,
  ctx: HandlerContext,
): Promise<RollbackReport> {
  const { clock } = runtime;
  const installation = installationOf(lease);
  if (installation.record().run === undefined) await reopenLastRun(runtime, installation);
  // Parked before the first undo: if one fails, no worker may run the upgrades again.
  await installation.update((record) => {
    const { startedAt = Infinity, journal = [] } = record.run ?? {};
    const ids = new Set(journal.map(({ upgradeId }) => upgradeId));
    const applied = record.applied.filter(({ id, at }) => !(ids.has(id) && at >= startedAt));
    return { ...record, applied, failure: rollbackFailure(record, "rollback in progress", clock()) };
  });
  const report: Report = { undone: [], without: [] };
  for (const { upgradeId, steps } of (installation.record().run?.journal ?? []).toReversed()) {
    const upgrade = upgrades.find(({ id }) => id === upgradeId);
    if (upgrade !== undefined) {
      await undoUpgrade(runtime, installation, ctx, upgrade, report);
      continue;
    }
    for (const [step, { state }] of Object.entries(steps)) {
      if (state === "done") report.without.push({ upgradeId, step });
    }
  }
  await installation.update((record) => {
    const { run: _, ...rest } = record;
    const rollbacks = (record.rollbacks ?? 0) + 1;
    return { ...rest, rollbacks, failure: rollbackFailure(record, "rolled back", clock()) };
  });
  ctx.log.info("run rolled back", { event: "run.rolled_back", undone: report.undone, without: report.without });
  return report;
}

/** The failure that parks a portal from the beginning of its rollback on. */
function rollbackFailure(record: PortalRecord, message: string, at: number): PortalFailure {
  const upgradeId = record.run?.journal[0]?.upgradeId ?? record.failure?.upgradeId;
  return {
    ...(upgradeId === undefined ? {} : { upgradeId }),
    ...{ to: record.target!, message, attempts: 0, at },
  };
}

/** Makes the last finished run the open run of the portal, and parks it. */
async function reopenLastRun(runtime: AppRuntime, installation: Installation): Promise<void> {
  const { memberId, version, generation } = installation.record();
  const last = await latestRun(runtime.storage, memberId);
  // A run of an earlier installation cannot be rolled back.
  if (last === undefined || last.to !== version || last.generation !== generation) {
    throw new OnAppUpdateError(
      "nothing_to_roll_back",
      `cannot roll back portal ${memberId}: no run of this installation to its version is stored`,
    );
  }
  const { id, from, startedAt, journal } = last;
  await installation.update((record) => {
    const reopened = { ...record, version: from, run: { id, from, startedAt, journal } };
    return { ...reopened, failure: rollbackFailure(reopened, "rollback in progress", runtime.clock()) };
  });
}

/** Undoes the finished steps of one upgrade. */
async function undoUpgrade(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  upgrade: Upgrade,
  report: Report,
): Promise<void> {
  const { id: upgradeId } = upgrade;
  const signal = AbortSignal.any([ctx.signal, installation.signal]);
  const finished = await finishedSteps(runtime, installation, ctx, upgrade, signal);
  // A replay that fails, or takes another way than the run did, does not reach all of them.
  const reached = new Set(finished.map(({ name }) => name));
  const steps = installation.record().run?.journal.find((journal) => journal.upgradeId === upgradeId)?.steps ?? {};
  for (const [step, { state }] of Object.entries(steps).toReversed()) {
    if (state === "done" && !reached.has(step)) report.without.push({ upgradeId, step });
  }
  for (const { name, undo } of finished.toReversed()) {
    if (undo === undefined) {
      report.without.push({ upgradeId, step: name });
      continue;
    }
    const step = stepOf(installation.record(), upgradeId, name)!;
    await undo(await stepScope(runtime, installation, upgradeId, name, { attempt: 1, signal, part: "undo" }));
    await installation.update((record) =>
      withStep(record, upgradeId, name, { ...step, state: "undone", at: runtime.clock() })
    );
    report.undone.push({ upgradeId, step: name });
  }
}

/** Runs the handler of an upgrade up to its first unfinished step. Returns the finished ones, with their `undo`. */
async function finishedSteps(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  upgrade: Upgrade,
  signal: AbortSignal,
): Promise<readonly FinishedStep[]> {
  const record = installation.record();
  const engine = new StepEngine({
    ...{ runtime, installation, upgradeId: upgrade.id, retry: {}, signal },
    isReplay: true,
  });
  const change = { memberId: record.memberId, from: record.run!.from, to: record.target! };
  const context = makeUpgradeContext(ctx, engine, record, change, { attempt: 1, mode: "rollback" });
  try {
    await upgrade.handler(context);
  } catch (error) {
    if (!(error instanceof ReplayEnded)) {
      const err = safeError(runtime, error, ctx.event, installation.record());
      context.log.warn("replay for a rollback failed", { event: "rollback.replay_failed", err });
    }
  }
  engine.end();
  return engine.finished;
}
