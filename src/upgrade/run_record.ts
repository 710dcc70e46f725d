/** The run in a portal's record: pure functions that change it. Its steps are in journals. */
import type { RunProgress } from "../portal/portal.ts";
import type { OpenRun, PortalRecord } from "../portal/record.ts";

/** The record with an open run: a new one from its version on, if there is none. `now`: milliseconds since 1970. */
export function withRun(record: PortalRecord, now: number): PortalRecord & { readonly run: OpenRun } {
  if (record.run !== undefined) return { ...record, run: record.run };
  const runCount = (record.runCount ?? 0) + 1;
  // A number: clocks differ between processes, and a later run must have a greater id.
  const id = String(runCount).padStart(8, "0");
  return { ...record, runCount, run: { id, from: record.version!, startedAt: now, upgrades: [] } };
}

/**
 * The record with a new attempt at an upgrade under way, in its open run. `finished`, `isAlone`: see `AttemptUnderWay`. If the
 * process of the attempt before it has ended, after the upgrade progressed, only that attempt can have ended at the step that
 * comes next, and the failure was of an earlier one.
 */
export function withStart(
  record: PortalRecord & { readonly run: OpenRun },
  upgradeId: string,
  { finished, isAlone }: { readonly finished: number; readonly isAlone: boolean },
): PortalRecord {
  const { wakeAt: _, underWay, ...run } = record.run;
  const dead = run.current?.upgradeId === upgradeId ? underWay : undefined;
  const hasProgressed = dead !== undefined && finished > dead.finished;
  const starts = dead === undefined || hasProgressed ? 1 : dead.starts + 1;
  const deaths = dead === undefined ? 0 : hasProgressed ? 1 : dead.deaths + 1;
  const deathsAlone = dead === undefined || hasProgressed ? 0 : dead.deathsAlone + Number(dead.isAlone === true);
  const isResumed = run.upgrades.includes(upgradeId);
  const upgrades = isResumed ? run.upgrades : [...run.upgrades, upgradeId];
  return {
    ...(hasProgressed ? withoutFailures(record, upgradeId) : record),
    run: {
      ...{ ...run, upgrades, current: { upgradeId } },
      ...(isResumed && { isResumed }),
      underWay: { finished, starts, deaths, deathsAlone, ...(isAlone && { isAlone }) },
    },
  };
}

/**
 * The record with the attempt that is under way ended, however it has ended. `finished`: number of finished steps and pages of
 * the upgrade now. If it has grown, the last failure was of an earlier step.
 */
export function withAttemptEnded(record: PortalRecord, finished: number): PortalRecord {
  if (record.run === undefined) return record;
  const { underWay, ...run } = record.run;
  const hasProgressed = underWay !== undefined && finished > underWay.finished;
  return { ...(hasProgressed ? withoutFailures(record, run.current?.upgradeId) : record), run };
}

/** The record with the failed attempts of an upgrade counted from 0 again. */
function withoutFailures(record: PortalRecord, upgradeId: string | undefined): PortalRecord {
  const { failure } = record;
  return failure === undefined || failure.upgradeId !== upgradeId
    ? record
    : { ...record, failure: { ...failure, attempts: 0 } };
}

/** The record with a run that sleeps until `wakeAt`, in milliseconds since 1970. */
export function withSleep(record: PortalRecord, wakeAt: number): PortalRecord {
  return record.run === undefined ? record : { ...record, run: { ...record.run, wakeAt } };
}

/** The record with the upgrade applied, once if it was skipped while it ran; unchanged if it is no longer the current one. */
export function withApplied(
  record: PortalRecord,
  upgradeId: string,
  from: string,
  to: string,
  at: number,
): PortalRecord {
  if (record.run?.current?.upgradeId !== upgradeId) return record;
  const { failure: _f, blocked: _b, endedBlock: _e, run: { current: _c, underWay: _u, ...run }, ...rest } = {
    ...record,
    run: record.run,
  };
  const isSkipped = record.applied.some(({ id }) => id === upgradeId);
  return { ...rest, run, applied: isSkipped ? record.applied : [...record.applied, { id: upgradeId, from, to, at }] };
}

/** The record with this progress of its run. */
export function withProgress(record: PortalRecord, progress: RunProgress): PortalRecord {
  return record.run === undefined ? record : { ...record, run: { ...record.run, progress } };
}
