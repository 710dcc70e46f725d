/** The run in a portal's record: pure functions that change it. Its steps are in journals. */
import type { RunProgress } from "../portal/portal.ts";
import { failedAttempts, type OpenRun, type PortalRecord } from "../portal/record.ts";

/** The record with an open run: a new one with the id `runId` from its version on, if there is none. */
export function withRun(record: PortalRecord, runId: string, now: number): PortalRecord & { readonly run: OpenRun } {
  return { ...record, run: record.run ?? { id: runId, from: record.version!, startedAt: now, upgrades: [] } };
}

/** Returns the id of a run that starts now. Ids sort by time. `unique` makes it different from all others. */
export function newRunId(now: number, unique: string): string {
  return `${String(now).padStart(14, "0")}-${unique}`;
}

/**
 * The record with one more start of an upgrade, in its open run. `finished`: number of finished steps and pages of the upgrade.
 * If it has grown since they were counted, only the last start can have ended at the step that comes next, and the failure was
 * of another one: a long run is not parked because of crashes at different steps.
 */
export function withStart(
  { run, ...record }: PortalRecord & { readonly run: OpenRun },
  upgradeId: string,
  finished: number,
): PortalRecord {
  const { wakeAt: _, current, ...rest } = run;
  const isAgain = current?.upgradeId === upgradeId;
  const hasGrown = isAgain && finished > current.finished;
  const crashes = !isAgain ? 0 : hasGrown ? Math.min(current.starts, 1) : current.starts;
  const upgrades = run.upgrades.includes(upgradeId) ? run.upgrades : [...run.upgrades, upgradeId];
  const { failure } = record;
  return {
    ...record,
    ...(hasGrown && failedAttempts(record, upgradeId) > 0 && { failure: { ...failure!, attempts: 0 } }),
    run: { ...rest, upgrades, current: { upgradeId, starts: crashes + 1, finished } },
  };
}

/** The record with the last start not counted: it ended in order, and not by a failure. `finished`: as in {@linkcode withStart}. */
export function withoutStart(record: PortalRecord, finished: number): PortalRecord {
  return withCurrent(
    record,
    (current) => ({ starts: finished > current.finished ? 0 : Math.max(0, current.starts - 1), finished }),
  );
}

/** The record with all starts counted by the failure that is recorded with it. `finished`: as in {@linkcode withStart}. */
export function withoutStarts(record: PortalRecord, finished: number): PortalRecord {
  return withCurrent(record, () => ({ starts: 0, finished }));
}

type Current = NonNullable<OpenRun["current"]>;

function withCurrent(record: PortalRecord, change: (current: Current) => Partial<Current>): PortalRecord {
  const { run } = record;
  if (run?.current === undefined) return record;
  return { ...record, run: { ...run, current: { ...run.current, ...change(run.current) } } };
}

/** The record with a run that sleeps until `wakeAt`, in milliseconds since 1970. */
export function withSleep(record: PortalRecord, wakeAt: number): PortalRecord {
  return record.run === undefined ? record : { ...record, run: { ...record.run, wakeAt } };
}

/** The record with the upgrade applied; unchanged if it is no longer the current one. */
export function withApplied(
  record: PortalRecord,
  upgradeId: string,
  from: string,
  to: string,
  at: number,
): PortalRecord {
  if (record.run?.current?.upgradeId !== upgradeId) return record;
  const { failure: _f, blocked: _b, run: { current: _c, ...run }, ...rest } = { ...record, run: record.run };
  return { ...rest, run, applied: [...record.applied, { id: upgradeId, from, to, at }] };
}

/** The record with this progress of its run. */
export function withProgress(record: PortalRecord, progress: RunProgress): PortalRecord {
  return record.run === undefined ? record : { ...record, run: { ...record.run, progress } };
}
