/** One portal's journey from its version to its target. */
import { type AppRuntime, notify, safeError } from "../plugin/runtime.ts";
import { type BlockedReason, UpgradeError } from "../errors.ts";
import { withFields } from "../logger.ts";
import type { HandlerContext } from "../plugin/context.ts";
import { saveRun } from "../portal/run_history.ts";
import type { PortalLease } from "../portal/lease.ts";
import { type PortalFailure, type PortalRecord, snapshot } from "../portal/record.ts";
import { compareVersions } from "../version.ts";
import type { Upgrade, UpgradeContext } from "./definition.ts";
import { type Installation, installationOf, RemovedError } from "./installation.ts";
import { dueUpgrades } from "./plan.ts";
import {
  BLOCKED_RETRY_MS,
  blockedReasonOf,
  countsAsAttempt,
  maxAttemptsOf,
  nextRetryDelay,
  type RetryPolicy,
  unitHash,
} from "../retry.ts";
import { type Attempt, beginAttempt, stepOf, Suspended, withStep } from "./step_engine.ts";
import { withTimeout } from "../async/with_timeout.ts";

/** Whether a portal's run can go on now, later, or not without a person. */
export type Readiness =
  | { readonly state: "arrived" | "ready" | "parked" }
  | { readonly state: "waiting"; readonly until: number };

/** How long what newer code wrote is left alone before it is looked at again, in milliseconds. */
export const NEWER_MS = 60_000;

/** What hinders the run of `record` from going on now. */
export function readiness(
  { versions, clock }: Pick<AppRuntime, "versions" | "clock">,
  upgrades: readonly Upgrade[],
  record: PortalRecord,
): Readiness {
  const now = clock();
  const { status, version, target, failure, run, blocked } = record;
  if (status !== "installed" || version === undefined || target === undefined) return { state: "arrived" };
  if (compareVersions(version, target) >= 0) return { state: "arrived" };
  // This code lacks the upgrades on the way there, and would take the portal past them.
  if (versions.latest !== undefined && compareVersions(versions.latest, target) < 0) {
    return { state: "waiting", until: now + NEWER_MS };
  }
  if (blocked !== undefined && blocked.nextTryAt > now) return { state: "waiting", until: blocked.nextTryAt };
  // An upgrade that the code has no more holds up nothing, and a new target is a new try.
  const isAgain = failure !== undefined && failure.to === target;
  if (isAgain && (failure.upgradeId === undefined || isDue(upgrades, record, failure.upgradeId))) {
    if (failure.retryAt === undefined) return { state: "parked" };
    if (failure.retryAt > now) return { state: "waiting", until: failure.retryAt };
  }
  const { wakeAt } = run ?? {};
  return wakeAt !== undefined && wakeAt > now ? { state: "waiting", until: wakeAt } : { state: "ready" };
}

function isDue(upgrades: readonly Upgrade[], record: PortalRecord, upgradeId: string): boolean {
  return dueUpgrades(upgrades, record).some(({ id }) => id === upgradeId);
}

/** Scopes that the next upgrade of a portal needs, and that the portal has not granted. */
export function missingScope(upgrades: readonly Upgrade[], record: PortalRecord): readonly string[] {
  if (record.status !== "installed") return [];
  const granted = record.scope ?? record.tokens?.flatMap(({ scope }) => scope) ?? [];
  return dueUpgrades(upgrades, record)[0]?.scope.filter((name) => !granted.includes(name)) ?? [];
}

/**
 * Runs what is due for the portal of `ctx`, in order, and records each upgrade as it finishes; the version moves when
 * all have finished. Does nothing for a run that cannot go on now.
 *
 * @throws {UpgradeError} when an upgrade fails: the version stays where it was, and the failure is in the record
 * @throws {Suspended} when an upgrade sleeps
 * @throws {LeaseLostError} when another worker has taken the portal over
 */
export async function runUpgrades(
  core: AppRuntime,
  upgrades: readonly Upgrade[],
  held: PortalLease,
  ctx: HandlerContext,
): Promise<void> {
  /** The generation of which that was told. */
  let planned: number | undefined;
  while (readiness(core, upgrades, held.record()).state === "ready") {
    const { memberId, generation, version, target } = held.record();
    const step = { memberId, from: version!, to: target! };
    const due = dueUpgrades(upgrades, held.record());
    if (planned !== generation) notify(core, "runPlanned", { ...step, upgradeIds: due.map(({ id }) => id) });
    planned = generation;
    try {
      await runNextUpgrade(core, upgrades, installationOf(held), ctx, due[0], step);
    } catch (error) {
      if (!(error instanceof RemovedError)) throw error;
      ctx.log.info("the app was removed while its upgrades ran; nothing more is recorded of them", step);
    }
  }
}

/** Runs the upgrade, or, where there is none any more, takes the portal to its target. */
async function runNextUpgrade(
  core: AppRuntime,
  upgrades: readonly Upgrade[],
  held: Installation,
  ctx: HandlerContext,
  upgrade: Upgrade | undefined,
  step: Leg,
): Promise<void> {
  const missing = missingScope(upgrades, held.record());
  if (upgrade === undefined) {
    await completeRun(core, held, step.to);
    notify(core, "portalUpgraded", step);
    ctx.log.info("portal upgraded", { from: step.from, to: step.to });
  } else if (missing.length > 0) {
    await recordBlock(core, held, "scope", `upgrade ${upgrade.id} needs ${missing.join(", ")}`);
    throw new Suspended(held.record().blocked!.nextTryAt);
  } else {
    await runOne(core, held, ctx, upgrade, step);
    notify(core, "upgradeApplied", { ...step, upgradeId: upgrade.id });
  }
}

/** Records what a portal waits for. */
export async function recordBlock(
  core: AppRuntime,
  held: Pick<PortalLease, "record" | "update">,
  reason: BlockedReason,
  message: string,
): Promise<void> {
  const now = core.clock();
  const { blocked } = await held.update((record) => {
    const since = record.blocked?.on === reason ? record.blocked.since : now;
    return { ...record, blocked: { on: reason, message, since, nextTryAt: now + BLOCKED_RETRY_MS } };
  });
  const { memberId } = held.record();
  core.log.warn("a portal waits", { memberId, for: reason, why: message });
  notify(core, "portalBlocked", { memberId, for: reason, message, until: blocked!.nextTryAt });
}

/** The version moves only if the target has not risen meanwhile beyond what was run for. */
async function completeRun(core: AppRuntime, held: Installation, version: string): Promise<void> {
  const { run } = held.record();
  if (run !== undefined) await saveRun(core, held.record(), version);
  await held.update((record) => {
    const { failure: _f, run: _r, blocked: _w, ...rest } = record;
    return { ...rest, version };
  });
}

interface Leg {
  readonly memberId: string;
  readonly from: string;
  readonly to: string;
}

/** The record with the upgrade begun once more. */
function begun(record: PortalRecord, { id }: Upgrade, now: number, from: string): PortalRecord {
  const run = record.run ?? { id: String(now).padStart(14, "0"), from, startedAt: now, journal: [] };
  const attempt = run.current?.upgradeId === id ? run.current.attempt + 1 : 1;
  const { wakeAt: _, ...rest } = run;
  const journal = run.journal.some(({ upgradeId }) => upgradeId === id)
    ? run.journal
    : [...run.journal, { upgradeId: id, steps: {} }];
  return { ...record, run: { ...rest, current: { upgradeId: id, attempt }, journal } };
}

async function runOne(
  core: AppRuntime,
  held: Installation,
  ctx: HandlerContext,
  upgrade: Upgrade,
  leg: Leg,
): Promise<void> {
  const { id } = upgrade;
  const retry = upgrade.retry ?? core.retry;
  const record = await held.update((record) => begun(record, upgrade, core.clock(), leg.from));
  const failures = record.failure?.upgradeId === id ? record.failure.attempts : 0;
  const begins = record.run!.current!.attempt;
  const attempt = Math.max(failures + 1, begins);
  const log = withFields(ctx.log, { upgradeId: id, attempt });
  const signal = AbortSignal.any([ctx.signal, held.signal]);
  const report = (step: string, attempt: number) => ({ ...leg, upgradeId: id, step, attempt });
  const one = beginAttempt({
    ...core,
    held,
    upgradeId: id,
    retry,
    signal,
    closing: core.signal,
    started: (step, attempt) => notify(core, "stepStarted", report(step, attempt)),
    finishedStep: (step, attempt) => notify(core, "stepFinished", report(step, attempt)),
  });
  try {
    if (begins > maxAttemptsOf(retry)) {
      throw new Error(`it was begun ${begins - 1} times, and its process ended each time`);
    }
    const { event: _e, receivedAt: _r, ...added } = ctx;
    await withTimeout(
      core.time,
      signal,
      upgrade.timeoutMs,
      (signal) =>
        upgrade.handler(
          {
            ...{ ...added, ...one.steps, ...leg, attempt, mode: "run" },
            ...{ portal: snapshot(record), log, signal },
          } satisfies UpgradeContext,
        ),
    );
    const suspended = one.suspended();
    if (suspended !== undefined) throw suspended;
  } catch (thrown) {
    one.end();
    held.signal.throwIfAborted();
    await stopped(core, held, ctx, { upgrade, retry, leg, attempt, one, thrown });
  }
  one.end();
  await held.update((now) => {
    // Begun anew by an administrator while the handler ran.
    if (now.run?.current?.upgradeId !== id) return now;
    const { failure: _f, blocked: _w, run: { current: _c, ...run }, ...current } = now as PortalRecord & {
      run: NonNullable<PortalRecord["run"]>;
    };
    return { ...current, run, applied: [...current.applied, { id, from: leg.from, to: leg.to, at: core.clock() }] };
  });
}

interface Stopped {
  readonly upgrade: Upgrade;
  readonly retry: RetryPolicy;
  readonly leg: Leg;
  readonly attempt: number;
  readonly one: Attempt;
  readonly thrown: unknown;
}

/** Records why an attempt did not reach its end, and throws it. */
async function stopped(core: AppRuntime, held: Installation, ctx: HandlerContext, what: Stopped): Promise<never> {
  const { upgrade: { id }, retry, leg, attempt, one, thrown } = what;
  const suspended = one.suspended();
  if (suspended !== undefined) {
    await held.update((record) => uncounted(record, { wakeAt: suspended.until }));
    throw suspended;
  }
  const failed = one.failedStep(thrown);
  const step = failed?.name;
  // Cut off by the app's own end, the attempt says nothing about the upgrade.
  if (ctx.signal.aborted) {
    await held.update((record) => uncounted(record, {}, id, step));
    throw ctx.signal.reason;
  }
  const record = held.record();
  const cause = safeError(core, thrown, ctx.event, record);
  const { message } = cause;
  const counts = countsAsAttempt(thrown);
  const reason = blockedReasonOf(thrown);
  const attempts = step === undefined ? attempt : stepOf(record, id, step)?.attempts ?? attempt;
  const wait = nextRetryDelay(thrown, attempts, failed?.retry ?? retry, unitHash(core.random()));
  const at = core.clock();
  const failure: PortalFailure = {
    upgradeId: id,
    to: leg.to,
    ...(step === undefined ? {} : { step }),
    message,
    attempts: counts ? attempts : attempts - 1,
    at,
    ...(wait === undefined ? {} : { retryAt: at + wait }),
  };
  await held.update((record) => {
    const after = step !== undefined || !counts ? uncounted(record, {}, id, counts ? undefined : step) : record;
    // What waits has not failed.
    if (reason !== undefined) return after;
    const { blocked: _, ...rest } = after;
    return { ...rest, failure };
  });
  const fields = { error: message, ...(step === undefined ? {} : { step }) };
  const report = { ...leg, upgradeId: id, ...(step === undefined ? {} : { step }), error: cause, attempt: attempts };
  if (step !== undefined) notify(core, "stepFailed", { ...report, step });
  if (reason !== undefined) {
    await recordBlock(core, held, reason, `upgrade ${id}: ${message}`);
    throw new Suspended(held.record().blocked!.nextTryAt);
  }
  if (failure.retryAt === undefined) {
    ctx.log.error("upgrade parked: it waits for app.admin.retry or skip", { upgradeId: id, attempt, ...fields });
    notify(core, "portalParked", report);
  } else {
    ctx.log.warn("upgrade failed; it is tried again", { upgradeId: id, attempt, ...fields, retryAt: failure.retryAt });
    notify(core, "upgradeRetryScheduled", { ...report, at: failure.retryAt });
  }
  throw new UpgradeError(id, attempts, message, { cause });
}

/** The record as if this attempt at the upgrade, and at the step, had not been begun. */
function uncounted(record: PortalRecord, more: { wakeAt?: number }, upgradeId?: string, step?: string): PortalRecord {
  const { run } = record;
  if (run?.current === undefined) return record;
  const current = { ...run.current, attempt: run.current.attempt - 1 };
  const changed = { ...record, run: { ...run, ...more, current } };
  const known = upgradeId === undefined || step === undefined ? undefined : stepOf(record, upgradeId, step);
  return known === undefined
    ? changed
    : withStep(changed, upgradeId!, step!, { ...known, attempts: known.attempts - 1 });
}
