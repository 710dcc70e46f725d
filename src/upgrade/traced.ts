/** Runs, attempts at upgrades, and steps, as a plugin traces them. */
import type { HandlerContext } from "../plugin/context.ts";
import { type AppRuntime, safeError } from "../plugin/runtime.ts";
import type { TracedWork, WorkEnd } from "../plugin/tracing.ts";
import type { PortalLease } from "../portal/lease.ts";
import { Suspended } from "./interruptions.ts";
import type { TraceStep } from "./step_engine.ts";

/** The portal whose upgrades run, and the event that has caused it. */
interface Scope {
  readonly runtime: AppRuntime;
  readonly ctx: HandlerContext;
  readonly lease: Pick<PortalLease, "record">;
}

/** Does work on a portal's upgrades, and traces it. */
export async function traceUpgrading<T>(scope: Scope, work: TracedWork, run: () => Promise<T>): Promise<T> {
  return await scope.runtime.tracer.trace(work, async (note) => {
    try {
      const result = await run();
      note(() => ({ outcome: "finished" }));
      return result;
    } catch (thrown) {
      note(() => endOf(scope, thrown));
      throw thrown;
    }
  });
}

/** Returns the function that traces the steps of an upgrade. */
export function createStepTrace(scope: Scope, { memberId, upgradeId }: StepOwner): TraceStep {
  return (step, attempt, work) => traceUpgrading(scope, { kind: "step", memberId, upgradeId, step, attempt }, work);
}

/** The upgrade that a step belongs to. */
interface StepOwner {
  readonly memberId: string;
  readonly upgradeId: string;
}

function endOf({ runtime, ctx, lease }: Scope, thrown: unknown): WorkEnd {
  if (thrown instanceof Suspended) return { outcome: "suspended" };
  if (ctx.signal.aborted) return { outcome: "interrupted" };
  return { outcome: "failed", error: safeError(runtime, thrown, ctx.event, currentRecord(lease)) };
}

/** Returns the record, or `undefined` if the app was removed from the portal. */
function currentRecord({ record }: Pick<PortalLease, "record">): ReturnType<PortalLease["record"]> | undefined {
  try {
    return record();
  } catch {
    return undefined;
  }
}
