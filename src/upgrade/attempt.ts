/** One attempt at one upgrade, from its count in the portal's record to its outcome there. */
import { defined } from "../defined.ts";
import { NonRetriableError, UpgradeError } from "../errors.ts";
import { withFields } from "../logger.ts";
import type { HandlerContext } from "../plugin/context.ts";
import { createHandlerRun } from "../plugin/handler_run.ts";
import type { UpgradeFailure, VersionChange } from "../plugin/observers.ts";
import { type AppRuntime, notify, safeError } from "../plugin/runtime.ts";
import type { PortalFailure } from "../portal/portal.ts";
import { type PortalRecord, snapshot } from "../portal/record.ts";
import { blockedReasonOf, countsAsAttempt, nextRetryDelay, type RetryPolicy, unitHash } from "../retry.ts";
import { recordBlock } from "./block.ts";
import type { Upgrade, UpgradeContext } from "./definition.ts";
import type { Installation } from "./installation.ts";
import { Suspended } from "./interruptions.ts";
import {
  stepOf,
  withApplied,
  withAttempt,
  withAttemptEnded,
  withoutAttempt,
  withoutStepAttempt,
  withSleep,
} from "./run_record.ts";
import { StepEngine } from "./step_engine.ts";
import { createSteps } from "./step_kinds.ts";

/** Number of attempts whose process ended while they were alone, after which the upgrade is parked. */
const MAX_DEATHS_ALONE = 3;

/** An attempt that has started. */
interface Attempt {
  readonly upgrade: Upgrade;
  readonly change: VersionChange;
  readonly retry: RetryPolicy;
  readonly number: number;
  readonly engine: StepEngine;
}

/**
 * Runs the handler of an upgrade once, and records that the upgrade is applied.
 *
 * @throws {UpgradeError} if the handler failed; the failure is in the record
 * @throws {Suspended} if the handler sleeps, its turn is over, it must not resume yet, or the portal is blocked
 * @throws the reason of `ctx.signal` if the app closes
 * @throws {RemovedError} if the app was removed from the portal
 * @throws {LeaseLostError} if another worker has taken the lease
 */
export async function attemptUpgrade(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  upgrade: Upgrade,
  change: VersionChange,
): Promise<void> {
  const { id: upgradeId } = upgrade;
  const retry = upgrade.retry ?? runtime.retry;
  // Its process has ended during the last attempt: the portals for which that is so resume one at a time.
  const isAlone = installation.record().run?.underWay !== undefined;
  if (isAlone && runtime.turn?.takeAlone() === false) throw new Suspended(runtime.clock());
  const begin = { from: change.from, now: runtime.clock(), isAlone };
  const record = await installation.update((record) => withAttempt(record, upgradeId, begin));
  const failures = record.failure?.upgradeId === upgradeId ? record.failure.attempts : 0;
  const { deaths, deathsAlone } = record.run!.underWay!;
  // Only failures use up attempts; the handler sees the attempts whose process ended as well.
  const number = failures + 1;
  const shown = Math.max(number, record.run!.current!.attempt);
  const signal = AbortSignal.any([ctx.signal, installation.signal]);
  const handlerRun = createHandlerRun(runtime, { memberId: change.memberId, upgradeId }, signal, upgrade.timeoutMs);
  const report = (step: string, attempt: number) => ({ ...change, upgradeId, step, attempt });
  const engine = new StepEngine({
    ...{ runtime, installation, upgradeId, retry, signal: handlerRun.signal, deaths },
    onStepStarted: (step, attempt) => notify(runtime, "stepStarted", report(step, attempt)),
    onStepFinished: (step, attempt) => {
      handlerRun.restart();
      runtime.turn?.endAlone();
      notify(runtime, "stepFinished", report(step, attempt));
    },
  });
  try {
    if (deathsAlone >= MAX_DEATHS_ALONE) {
      throw new NonRetriableError(`its process ended ${deathsAlone} times while it was resumed alone`);
    }
    const context = makeUpgradeContext(ctx, engine, record, change, { attempt: shown, mode: "run" });
    await handlerRun.run(() => upgrade.handler(context));
    if (engine.suspended !== undefined) throw engine.suspended;
  } catch (error) {
    engine.end();
    installation.signal.throwIfAborted();
    return await recordInterruption(runtime, installation, ctx, { upgrade, change, retry, number, engine }, error);
  }
  engine.end();
  const at = runtime.clock();
  installation.stage(
    (record) => ({ record: withApplied(record, upgradeId, change.from, change.to, at) }),
    () => {
      ctx.log.debug("upgrade applied", { event: "upgrade.applied", upgradeId, from: change.from, to: change.to });
      notify(runtime, "upgradeApplied", { ...change, upgradeId });
    },
  );
}

/** Returns the argument of an upgrade handler. */
export function makeUpgradeContext(
  ctx: HandlerContext,
  engine: StepEngine,
  record: PortalRecord,
  { memberId, from, to }: VersionChange,
  { attempt, mode }: Pick<UpgradeContext, "attempt" | "mode">,
): UpgradeContext {
  const { upgradeId, signal } = engine.options;
  const { event: _e, receivedAt: _r, ...added } = ctx;
  return {
    ...added,
    ...createSteps(engine),
    ...{ memberId, from, to, attempt, mode, signal },
    portal: snapshot(record),
    log: withFields(ctx.log, { upgradeId, attempt }),
  };
}

/** Records why an attempt has not finished. Always throws. */
async function recordInterruption(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  attempt: Attempt,
  error: unknown,
): Promise<never> {
  const { upgrade, engine } = attempt;
  const { suspended } = engine;
  if (suspended !== undefined) {
    await installation.update((record) => withSleep(withAttemptEnded(withoutAttempt(record)), suspended.until));
    throw suspended;
  }
  const step = engine.failedStep(error)?.name;
  // Cut off by a shutdown.
  if (ctx.signal.aborted) {
    await installation.update((record) => {
      const uncounted = withAttemptEnded(withoutAttempt(record));
      return step === undefined ? uncounted : withoutStepAttempt(uncounted, upgrade.id, step);
    });
    throw ctx.signal.reason;
  }
  return await recordFailure(runtime, installation, ctx, attempt, error);
}

/** Records that the portal is blocked, or that the upgrade is retried or parked. Always throws. */
async function recordFailure(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  { upgrade, change, retry, number, engine }: Attempt,
  thrown: unknown,
): Promise<never> {
  const { id: upgradeId } = upgrade;
  const failedStep = engine.failedStep(thrown);
  const step = failedStep?.name;
  const record = installation.record();
  const error = safeError(runtime, thrown, ctx.event, record);
  const attempts = step === undefined ? number : stepOf(record, upgradeId, step)?.attempts ?? number;
  const isCounted = countsAsAttempt(thrown);
  const blockedOn = blockedReasonOf(thrown);
  const delay = nextRetryDelay(thrown, attempts, failedStep?.retry ?? retry, unitHash(runtime.random()));
  const at = runtime.clock();
  const failure: PortalFailure = {
    ...{ upgradeId, to: change.to, message: error.message, at },
    attempts: isCounted ? attempts : attempts - 1,
    ...defined({ step, retryAt: delay === undefined ? undefined : at + delay }),
  };
  await installation.update((record) => {
    // The failure of a step counts as an attempt at the step, and not at the upgrade.
    let next = withAttemptEnded(step !== undefined || !isCounted ? withoutAttempt(record) : record);
    if (step !== undefined && !isCounted) next = withoutStepAttempt(next, upgradeId, step);
    if (blockedOn !== undefined) return next;
    const { blocked: _, ...rest } = next;
    return { ...rest, failure };
  });
  if (step !== undefined) notify(runtime, "stepFailed", { ...change, upgradeId, step, attempt: attempts, error });
  if (blockedOn !== undefined) {
    throw new Suspended(await recordBlock(runtime, installation, blockedOn, `upgrade ${upgradeId}: ${error.message}`));
  }
  reportFailure(
    runtime,
    ctx,
    { ...change, upgradeId, attempt: attempts, error, ...defined({ step }) },
    failure.retryAt,
  );
  throw new UpgradeError(upgradeId, attempts, error.message, { cause: error });
}

/** Logs a failure and notifies observers. Without `retryAt` the portal is parked. */
function reportFailure(
  runtime: AppRuntime,
  ctx: HandlerContext,
  failure: UpgradeFailure,
  retryAt: number | undefined,
): void {
  const { upgradeId, step, attempt, error: err } = failure;
  const fields = { upgradeId, attempt, ...defined({ step, retryAt }), err };
  if (retryAt === undefined) {
    ctx.log.error("portal parked", { event: "portal.parked", ...fields });
    notify(runtime, "portalParked", failure);
  } else {
    ctx.log.warn("upgrade failed", { event: "upgrade.failed", ...fields });
    notify(runtime, "upgradeRetryScheduled", { ...failure, at: retryAt });
  }
}
