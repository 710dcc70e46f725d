/** The run of one portal: takes one action after the other until the portal is on its target or has to wait. */
import type { HandlerContext } from "../plugin/context.ts";
import type { VersionChange } from "../plugin/observers.ts";
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import type { PortalLease } from "../portal/lease.ts";
import { saveRun } from "../portal/run_history.ts";
import { attemptUpgrade } from "./attempt.ts";
import { recordBlock } from "./block.ts";
import type { Upgrade } from "./definition.ts";
import { type Installation, installationOf, RemovedError } from "./installation.ts";
import { Suspended } from "./interruptions.ts";
import { type DueAction, isBelowTarget, isDue, nextAction } from "./next_action.ts";
import { dueUpgrades } from "./plan.ts";

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
  let plannedGeneration: number | undefined;
  while (true) {
    const record = lease.record();
    const next = nextAction(record, upgrades, runtime.clock(), runtime.versions.latest);
    if (!isBelowTarget(record) || !isDue(next)) return;
    const { memberId, generation, version: from, target: to } = record;
    if (generation !== plannedGeneration) {
      const upgradeIds = dueUpgrades(upgrades, record).map(({ id }) => id);
      ctx.log.debug("run planned", { event: "run.planned", from, to, upgradeIds });
      notify(runtime, "runPlanned", { memberId, from, to, upgradeIds });
      plannedGeneration = generation;
    }
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
  const { memberId, from, to } = change;
  switch (next.action) {
    case "run":
      await attemptUpgrade(runtime, installation, ctx, next.upgrade, change);
      ctx.log.debug("upgrade applied", { event: "upgrade.applied", upgradeId: next.upgrade.id, from, to });
      return notify(runtime, "upgradeApplied", { memberId, from, to, upgradeId: next.upgrade.id });
    case "complete":
      await completeRun(runtime, installation, to);
      ctx.log.info("portal upgraded", { event: "portal.upgraded", from, to });
      return notify(runtime, "portalUpgraded", change);
    case "block":
      throw new Suspended(await recordBlock(runtime, installation, next.on, next.message));
  }
}

/** Moves the version to the target of the run, and the run to the history. The target may have risen since. */
async function completeRun(runtime: AppRuntime, installation: Installation, version: string): Promise<void> {
  const record = installation.record();
  if (record.run !== undefined) await saveRun(runtime, record, version);
  await installation.update((record) => {
    const { failure: _f, run: _r, blocked: _b, ...rest } = record;
    return { ...rest, version };
  });
}
