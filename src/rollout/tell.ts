/** Notifies observers of changes of rollouts. The reports are stored with what has changed, so a crash loses none. */
import { type AppRuntime, notifyAndWait } from "../plugin/runtime.ts";
import type { Breakers } from "./breakers.ts";
import { type StoredRolloutReport, takeReports, withoutRolloutReports } from "./report.ts";
import type { Targets } from "./targets.ts";

/** Notifies observers of all changes that wait, and that no other process notifies them of. */
export async function tellRollouts(runtime: AppRuntime, targets: Targets, breakers: Breakers): Promise<void> {
  const { clock, leaseMs } = runtime;
  for (const { target, reports } of await targets.all()) {
    if (reports === undefined) continue;
    let taken: readonly StoredRolloutReport[] = [];
    await targets.change(target, (state) => {
      if (state === undefined) return undefined;
      const next = takeReports(state, clock(), leaseMs);
      taken = next.taken;
      return next.state;
    });
    const told = await tellAll(runtime, taken);
    if (told.length > 0) await targets.change(target, (state) => state && withoutRolloutReports(state, told));
  }
  for (const { upgradeId, reports } of await breakers.all()) {
    if (reports === undefined) continue;
    let taken: readonly StoredRolloutReport[] = [];
    await breakers.change(upgradeId, (breaker) => {
      const next = takeReports(breaker, clock(), leaseMs);
      taken = next.taken;
      return next.state;
    });
    const told = await tellAll(runtime, taken);
    if (told.length > 0) await breakers.change(upgradeId, (breaker) => withoutRolloutReports(breaker, told));
  }
}

async function tellAll(runtime: AppRuntime, reports: readonly StoredRolloutReport[]): Promise<readonly string[]> {
  for (const { id, changedAt, change: { kind, ...report } } of reports) {
    await notifyAndWait(runtime, kind, { id, changedAt, ...report });
  }
  return reports.map(({ id }) => id);
}
