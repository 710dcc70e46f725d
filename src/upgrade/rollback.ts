/** Rolls a run back: undoes the finished steps of its upgrades, the last one first. */
import { OnAppUpdateError } from "../errors.ts";
import type { RollbackReport, RolledBackStep } from "../plugin/admin_reports.ts";
import type { HandlerContext } from "../plugin/context.ts";
import { createHandlerRun } from "../plugin/handler_run.ts";
import { type AppRuntime, safeError } from "../plugin/runtime.ts";
import { withMark } from "../portal/batch_marks.ts";
import { withoutRolloutBlock } from "../portal/block.ts";
import { isDone, type Journal, openJournal } from "../portal/journal.ts";
import type { PortalLease } from "../portal/lease.ts";
import type { PortalFailure } from "../portal/portal.ts";
import type { PortalRecord } from "../portal/record.ts";
import { latestRun, markRolledBack } from "../portal/run_history.ts";
import { makeUpgradeContext } from "./attempt.ts";
import { runInStep } from "./current_step.ts";
import type { Upgrade } from "./definition.ts";
import { handlerFetch } from "./handler_fetch.ts";
import { type Installation, installationOf } from "./installation.ts";
import { ReplayEnded } from "./interruptions.ts";
import { type FinishedStep, StepEngine } from "./step_engine.ts";
import { stepScope } from "./step_scope.ts";
import { traceUpgrading } from "./traced.ts";

/** A report that is being written. */
interface Report {
  readonly undone: RolledBackStep[];
  readonly without: RolledBackStep[];
}

/**
 * Rolls back the open run or, if there is none, the last run that reached the portal's version. Then the portal is on the
 * version on which that run began, and parked. Called again after a failure, it resumes. Until it has ended, nothing else goes
 * on with the run: see `isRollingBack`. `batchId`: the batch operation that the last write marks in the record.
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
  batchId?: string,
): Promise<RollbackReport> {
  const installation = installationOf(lease);
  if (installation.record().run === undefined) await reopenLastRun(runtime, installation);
  // Before the first undo: if one fails, no worker may run the upgrades again.
  const begun = await installation.update((record) => {
    // Skipped upgrades stay skipped.
    const applied = record.applied.filter(({ id, skipped }) => skipped && !record.run!.upgrades.includes(id));
    return { ...withRollbackBegun(record, runtime.clock()), applied };
  });
  const { memberId, target, run } = begun;
  return await traceUpgrading(
    { runtime, ctx, lease },
    { kind: "rollback", memberId, from: target!, to: run!.from },
    () => undoRun(runtime, upgrades, installation, ctx, batchId),
  );
}

/** Undoes the open run, whose rollback has begun. */
async function undoRun(
  runtime: AppRuntime,
  upgrades: readonly Upgrade[],
  installation: Installation,
  ctx: HandlerContext,
  batchId: string | undefined,
): Promise<RollbackReport> {
  const { storage, clock } = runtime;
  const { memberId, run } = installation.record();
  const report: Report = { undone: [], without: [] };
  for (const upgradeId of run!.upgrades.toReversed()) {
    const journal = await openJournal({ storage, lease: installation }, { memberId, runId: run!.id, upgradeId });
    const upgrade = upgrades.find(({ id }) => id === upgradeId);
    if (upgrade !== undefined) {
      await undoUpgrade(runtime, installation, ctx, { upgrade, journal }, report);
      continue;
    }
    for (const step of finishedNames(journal, clock())) report.without.push({ upgradeId, step });
  }
  // Before the rollback ends: a crash in between has it resumed.
  await markRolledBack(storage, installation.record(), run!.id, clock());
  await installation.update((record) => {
    const { run: _, ...rest } = withoutRolloutBlock(record);
    const rollbacks = (record.rollbacks ?? 0) + 1;
    const next = { ...rest, rollbacks, failure: rollbackFailure(record, "rolled back", clock()) };
    // In this write: another rollback would roll back the run before.
    return batchId === undefined ? next : withMark(next, batchId);
  });
  ctx.log.info("run rolled back", { event: "run.rolled_back", undone: report.undone, without: report.without });
  return report;
}

/** Returns the names of the finished steps in a journal, without sleeps, in the order in which they finished. */
function finishedNames(journal: Journal, now: number): readonly string[] {
  return journal.entries().filter((entry) => entry[2] !== "sleep" && isDone(entry, now)).map(([name]) => name);
}

/** The failure that parks a portal from the beginning of its rollback on. */
function rollbackFailure(record: PortalRecord, message: string, at: number): PortalFailure {
  const upgradeId = record.run?.upgrades[0] ?? record.failure?.upgradeId;
  return {
    ...(upgradeId === undefined ? {} : { upgradeId }),
    ...{ to: record.target!, message, attempts: 0, at },
  };
}

/** Returns the record with the rollback of its open run begun. The attempts at its upgrades are over. */
function withRollbackBegun(record: PortalRecord, now: number): PortalRecord {
  const { wakeAt: _w, underWay: _u, ...run } = record.run!;
  const failure = rollbackFailure(record, "rollback in progress", now);
  return { ...record, failure, run: { ...run, isRollingBack: true } };
}

/** Makes the last finished run the open run of the portal, and begins its rollback. */
async function reopenLastRun(runtime: AppRuntime, installation: Installation): Promise<void> {
  const { memberId, version, generation } = installation.record();
  const last = await latestRun(runtime.storage, installation.record());
  // A run of an earlier installation cannot be rolled back.
  if (last === undefined || last.to !== version || last.generation !== generation) {
    const why = last?.rolledBackAt !== undefined
      ? "its last run is rolled back already"
      : "no run of this installation to its version is stored";
    throw new OnAppUpdateError("nothing_to_roll_back", `cannot roll back portal ${memberId}: ${why}`);
  }
  const { id, from, startedAt, upgrades, applied } = last;
  await installation.update((record) => {
    const reopened = { ...record, version: from, applied, run: { id, from, startedAt, upgrades } };
    return withRollbackBegun(reopened, runtime.clock());
  });
}

/** An upgrade that is being rolled back. */
interface StartedUpgrade {
  readonly upgrade: Upgrade;
  readonly journal: Journal;
}

/** Undoes the finished steps of one upgrade. */
async function undoUpgrade(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  { upgrade, journal }: StartedUpgrade,
  report: Report,
): Promise<void> {
  const { id: upgradeId } = upgrade;
  const { memberId } = installation.record();
  const outer = AbortSignal.any([ctx.signal, installation.signal]);
  const finished = await finishedSteps(runtime, installation, ctx, { upgrade, journal }, outer);
  // A replay that fails, or takes another way than the run did, does not reach all of them.
  const reached = new Set(finished.map(({ name }) => name));
  for (const step of finishedNames(journal, runtime.clock()).toReversed()) {
    if (!reached.has(step)) report.without.push({ upgradeId, step });
  }
  for (const { name, undo } of finished.toReversed()) {
    if (undo === undefined) {
      report.without.push({ upgradeId, step: name });
      continue;
    }
    const { signal, run } = createHandlerRun(runtime, { memberId, upgradeId }, outer, upgrade.timeoutMs);
    const scope = await stepScope(runtime, installation, upgradeId, name, { attempt: 1, signal, part: "undo" });
    await installation.ensureHeld();
    await run(() => runInStep(scope, undo));
    await journal.append([name, runtime.clock(), "undone"]);
    report.undone.push({ upgradeId, step: name });
  }
}

/** Runs the handler of an upgrade up to its first unfinished step. Returns the finished ones, with their `undo`. */
async function finishedSteps(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  { upgrade, journal }: StartedUpgrade,
  outer: AbortSignal,
): Promise<readonly FinishedStep[]> {
  const record = installation.record();
  const { memberId } = record;
  const { signal, abort, run } = createHandlerRun(
    runtime,
    { memberId, upgradeId: upgrade.id },
    outer,
    upgrade.timeoutMs,
  );
  const engine = new StepEngine({
    ...{ runtime, installation, journal, retry: {}, signal, abort, cutOff: outer },
    isReplay: true,
  });
  const change = { memberId, from: record.run!.from, to: record.target! };
  const context = makeUpgradeContext(ctx, engine, record, change, {
    ...{ attempt: 1, mode: "rollback" },
    fetch: handlerFetch(runtime.fetch, signal),
  });
  try {
    await run(() => engine.runHandler(() => upgrade.handler(context)));
  } catch (error) {
    if (!(error instanceof ReplayEnded)) {
      const err = safeError(runtime, error, ctx.event, installation.record());
      context.log.warn("replay for a rollback failed", { event: "rollback.replay_failed", err });
    }
  }
  return engine.finished;
}
