/** The run of one portal: takes one action after the other until the portal is on its target or has to wait. */
import type { HandlerContext } from "../plugin/context.ts";
import type { VersionChange } from "../plugin/observers.ts";
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { PortalLease } from "../portal/lease.ts";
import { deleteOldRuns, deleteUnnamedResults, withRunFinished } from "../portal/run_history.ts";
import { attemptUpgrade, excludeFormerHolders } from "./attempt.ts";
import { recordBlock } from "./block.ts";
import type { Upgrade } from "./definition.ts";
import { type Installation, installationOf, RemovedError } from "./installation.ts";
import { Suspended } from "./interruptions.ts";
import { type DueAction, isBelowTarget, isDue, nextAction } from "./next_action.ts";
import { dueUpgrades } from "./plan.ts";
import { traceUpgrading } from "./traced.ts";

/**
 * Runs the due upgrades of a portal in order. Each is recorded when it has finished; the version moves when all have.
 * Does nothing if no action is due.
 *
 * @throws {UpgradeError} if an upgrade failed: the portal stays on its version, and the failure is in its record
 * @throws {Suspended} if an upgrade sleeps, or the portal is blocked
 * @throws {LeaseLostError} if another worker has taken the lease
 */
export async function runUpgrades(
  runtime: AppRuntime,
  upgrades: readonly Upgrade[],
  lease: PortalLease,
  ctx: HandlerContext,
): Promise<void> {
  const record = lease.record();
  if (!isBelowTarget(record) || dueAction(runtime, upgrades, record) === undefined) return;
  const { memberId, version: from, target: to } = record;
  await traceUpgrading(
    { runtime, ctx, lease },
    { kind: "run", memberId, from, to },
    () => runDue(runtime, upgrades, lease, ctx),
  );
}

/** Returns the next action if it is due. */
function dueAction(
  { clock, versions }: AppRuntime,
  upgrades: readonly Upgrade[],
  record: PortalRecord,
): DueAction | undefined {
  const next = nextAction(record, upgrades, clock(), versions.latest);
  return isDue(next) ? next : undefined;
}

async function runDue(
  runtime: AppRuntime,
  upgrades: readonly Upgrade[],
  lease: PortalLease,
  ctx: HandlerContext,
): Promise<void> {
  let plannedGeneration: number | undefined;
  while (true) {
    const record = lease.record();
    const next = dueAction(runtime, upgrades, record);
    if (!isBelowTarget(record) || next === undefined) return;
    const { memberId, generation, version: from, target: to } = record;
    if (generation !== plannedGeneration) {
      const upgradeIds = dueUpgrades(upgrades, record).map(({ id }) => id);
      ctx.log.debug("run planned", { event: "run.planned", from, to, upgradeIds });
      notify(runtime, "runPlanned", { memberId, from, to, upgradeIds });
      plannedGeneration = generation;
    }
    const admission = await runtime.rollout?.admit(lease);
    if (admission?.state === "waits") throw new Suspended(admission.nextAt);
    if (admission?.state === "lowered") return;
    try {
      await takeAction(runtime, installationOf(lease), ctx, next, { memberId, from, to });
    } catch (error) {
      // The app may have been reinstalled: the next action is for that installation.
      if (!(error instanceof RemovedError)) throw error;
      ctx.log.info("run abandoned: the app was removed", { event: "run.abandoned", from, to });
    }
  }
}

async function takeAction(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  next: DueAction,
  change: VersionChange,
): Promise<void> {
  const { from, to } = change;
  switch (next.action) {
    case "run":
      return await attemptUpgrade(runtime, installation, ctx, next.upgrade, change);
    case "complete":
      await excludeFormerHolders(runtime.storage, installation);
      await deleteUnnamedResults(runtime.storage, installation);
      await deleteOldRuns(runtime.storage, installation.record());
      return installation.stage((record) => withRunFinished(record, to, runtime.clock()), () => {
        ctx.log.info("portal upgraded", { event: "portal.upgraded", from, to });
      });
    case "block":
      throw new Suspended(await recordBlock(runtime, installation, next.on, next.message));
  }
}
