/** One attempt at one upgrade, from its count in the portal's record to its outcome there. */
import { defined } from "../defined.ts";
import { NonRetriableError, UpgradeError } from "../errors.ts";
import { withFields } from "../logger.ts";
import type { HandlerContext } from "../plugin/context.ts";
import { createHandlerRun } from "../plugin/handler_run.ts";
import type { UpgradeFailure, VersionChange } from "../plugin/observers.ts";
import { boundHere } from "../plugin/rehearsal.ts";
import { type AppRuntime, notify, safeError } from "../plugin/runtime.ts";
import { waitingInstaller } from "../portal/installer.ts";
import { fingerprintOf } from "../portal/fingerprint.ts";
import type { PortalFailure } from "../portal/portal.ts";
import { stageFailedAttempt } from "../portal/failed_attempts.ts";
import { type Journal, newJournal, openJournal } from "../portal/journal.ts";
import { failedAttempts, failedWith, type PortalRecord, snapshot } from "../portal/record.ts";
import { storedText } from "../portal/stored_text.ts";
import { blockedReasonOf, countsAsAttempt, nextRetryDelay, type RetryPolicy, unitHash } from "../retry.ts";
import { recordBlock } from "./block.ts";
import { runCounted } from "./call_counts.ts";
import type { Storage } from "../storage/storage.ts";
import type { Upgrade, UpgradeContext } from "./definition.ts";
import { handlerFetch } from "./handler_fetch.ts";
import type { Installation } from "./installation.ts";
import { Suspended } from "./interruptions.ts";
import { withApplied, withAttemptEnded, withRun, withSleep, withStart } from "./run_record.ts";
import { StepEngine } from "./step_engine.ts";
import { createSteps } from "./step_kinds.ts";
import { createStepTrace, traceUpgrading } from "./traced.ts";

/** Number of attempts whose process ended while they were alone, after which the upgrade is parked. */
const MAX_DEATHS_ALONE = 3;

/** An attempt that has started. */
interface Attempt {
  readonly upgrade: Upgrade;
  readonly change: VersionChange;
  readonly retry: RetryPolicy;
  readonly number: number;
  /** In milliseconds since 1970. */
  readonly startedAt: number;
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
  // Its process has ended during the last attempt. Such portals resume one at a time.
  const isAlone = installation.record().run?.underWay !== undefined;
  if (isAlone && runtime.turn?.takeAlone() === false) throw new Suspended(runtime.clock());
  const { record, journal } = await startUpgrade(runtime, installation, upgradeId, isAlone);
  const { starts, deaths, deathsAlone } = record.run!.underWay!;
  const startedAt = runtime.clock();
  // Only failures use up attempts; the handler sees the attempts whose process ended as well.
  const failures = failedAttempts(record, upgradeId);
  const number = failures + 1;
  const signal = AbortSignal.any([ctx.signal, installation.signal]);
  const handlerRun = createHandlerRun(runtime, { memberId: change.memberId, upgradeId }, signal, upgrade.timeoutMs);
  const report = (step: string, attempt: number) => ({ ...change, upgradeId, step, attempt });
  const { memberId } = change;
  const scope = { runtime, ctx, lease: installation };
  const engine = new StepEngine({
    ...{ runtime, installation, journal, retry, deaths },
    traceStep: createStepTrace(scope, { memberId, upgradeId }),
    ...{ signal: handlerRun.signal, abort: handlerRun.abort, cutOff: signal },
    failure: record.failure,
    onStepStarted: (step, attempt) => notify(runtime, "stepStarted", report(step, attempt)),
    onStepFinished: (step, attempt) => {
      handlerRun.restart();
      runtime.turn?.endAlone();
      notify(runtime, "stepFinished", report(step, attempt));
    },
  });
  const attempt = failures + starts;
  await traceUpgrading(scope, { kind: "upgrade", ...change, upgradeId, attempt }, async () => {
    try {
      if (deathsAlone >= MAX_DEATHS_ALONE) {
        throw new NonRetriableError(`its process ended ${deathsAlone} times while it was resumed alone`);
      }
      const context = makeUpgradeContext(ctx, engine, record, change, {
        ...{ attempt, mode: "run" },
        fetch: handlerFetch(runtime.fetch, handlerRun.signal),
      });
      const run = (): Promise<void> => engine.runHandler(() => upgrade.handler(context));
      await runCounted(installation, () => handlerRun.run(run));
      if (engine.suspended !== undefined) throw engine.suspended;
    } catch (error) {
      installation.signal.throwIfAborted();
      const failed = { upgrade, change, retry, number, startedAt, engine };
      return await recordInterruption(runtime, installation, ctx, failed, error);
    }
  });
  const at = runtime.clock();
  installation.stage(
    (record) => ({ record: withApplied(record, upgradeId, change.from, change.to, at) }),
    () => {
      ctx.log.debug("upgrade applied", { event: "upgrade.applied", upgradeId, from: change.from, to: change.to });
      notify(runtime, "upgradeApplied", { ...change, upgradeId });
    },
  );
}

/** Records the start of an upgrade. No earlier holder of the lease can record a step of the run afterwards. */
async function startUpgrade(
  { storage, clock }: AppRuntime,
  installation: Installation,
  upgradeId: string,
  isAlone: boolean,
): Promise<{ readonly record: PortalRecord; readonly journal: Journal }> {
  const { memberId, run } = installation.record();
  const options = { storage, lease: installation };
  await excludeFormerHolders(storage, installation, upgradeId);
  const journal = run?.upgrades.includes(upgradeId)
    ? await openJournal(options, { memberId, runId: run.id, upgradeId })
    : undefined;
  const now = clock();
  const start = { finished: journal?.finished() ?? 0, isAlone };
  const record = await installation.update((record) =>
    waitingInstaller(record) === undefined ? withStart(withRun(record, now), upgradeId, start) : record
  );
  // It has come since the upgrade became due.
  if (waitingInstaller(record) !== undefined) throw new Suspended(now);
  return { record, journal: journal ?? newJournal(options, { memberId, runId: record.run!.id, upgradeId }) };
}

/**
 * Lets no former holder of the lease record a further step of the current upgrade, in case that it is no longer due: it was
 * skipped, or the code no longer has it. `next`: the upgrade that starts next, which excludes them itself.
 */
export async function excludeFormerHolders(
  storage: Storage,
  installation: Installation,
  next?: string,
): Promise<void> {
  const { memberId, run } = installation.record();
  if (run?.current === undefined || run.current.upgradeId === next) return;
  await openJournal({ storage, lease: installation }, { memberId, runId: run.id, upgradeId: run.current.upgradeId });
}

/** Returns the argument of an upgrade handler. */
export function makeUpgradeContext(
  ctx: HandlerContext,
  engine: StepEngine,
  record: PortalRecord,
  { memberId, from, to }: VersionChange,
  { attempt, mode, fetch }: Pick<UpgradeContext, "attempt" | "mode" | "fetch">,
): UpgradeContext {
  const { signal, journal: { id: { upgradeId } } } = engine.options;
  const { event: _e, receivedAt: _r, ...added } = ctx;
  return {
    ...added,
    // A queue of the vendor's may call them where another run, or a rehearsal, has begun.
    ...boundHere({ ...createSteps(engine), fetch }),
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
  const { suspended, options: { journal } } = attempt.engine;
  if (suspended !== undefined) {
    await installation.update((record) => withSleep(withAttemptEnded(record, journal.finished()), suspended.until));
    throw suspended;
  }
  // Cut off by a shutdown.
  if (ctx.signal.aborted) {
    await installation.update((record) => withAttemptEnded(record, journal.finished()));
    throw ctx.signal.reason;
  }
  return await recordFailure(runtime, installation, ctx, attempt, error);
}

/** Records that the portal is blocked, or that the upgrade is retried or parked. Always throws. */
async function recordFailure(
  runtime: AppRuntime,
  installation: Installation,
  ctx: HandlerContext,
  { upgrade, change, retry, number, startedAt, engine }: Attempt,
  thrown: unknown,
): Promise<never> {
  const { id: upgradeId } = upgrade;
  const failedStep = engine.failedStep(thrown);
  const step = failedStep?.name;
  const record = installation.record();
  const error = safeError(runtime, thrown, ctx.event, record);
  const attempts = failedStep?.attempt ?? number;
  const isCounted = countsAsAttempt(thrown);
  const blockedOn = blockedReasonOf(thrown);
  const delay = nextRetryDelay(thrown, attempts, failedStep?.retry ?? retry, unitHash(runtime.random()));
  const at = runtime.clock();
  const fingerprint = await fingerprintOf(runtime.digest, { upgradeId, step, error });
  const failure: PortalFailure = {
    ...{ upgradeId, to: change.to, message: storedText(error.message), error: failedWith(error), fingerprint, at },
    attempts: isCounted ? attempts : attempts - 1,
    ...defined({ step, retryAt: delay === undefined ? undefined : at + delay }),
  };
  await stageFailedAttempt(runtime.storage, installation, {
    ...{ upgradeId, attempt: attempts, startedAt: failedStep?.startedAt ?? startedAt, failedAt: at },
    ...{ message: error.message, fingerprint, ...defined({ step, blockedOn }) },
    ...(blockedOn === undefined ? defined({ retryAt: failure.retryAt }) : {}),
  });
  await installation.update((record) => {
    const next = withAttemptEnded(record, engine.options.journal.finished());
    if (blockedOn !== undefined) return next;
    const { blocked: _b, mayPassPause: _p, ...rest } = next;
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

/** Logs a failure and notifies observers. Without `retryAt` the portal is parked: the worker tells that from the record. */
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
  } else {
    ctx.log.warn("upgrade failed", { event: "upgrade.failed", ...fields });
    notify(runtime, "upgradeRetryScheduled", { ...failure, at: retryAt });
  }
}
