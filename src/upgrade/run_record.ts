/** The run in a portal's record: pure functions that read and change it. */
import type { RunProgress } from "../portal/portal.ts";
import type { PortalRecord, StepRecord } from "../portal/record.ts";

/** The record with one more started attempt at an upgrade, in a new run if there is none. `from`: see `PortalRun`. */
export function withAttempt(record: PortalRecord, upgradeId: string, from: string, now: number): PortalRecord {
  const run = record.run ?? { id: String(now).padStart(14, "0"), from, startedAt: now, journal: [] };
  const attempt = run.current?.upgradeId === upgradeId ? run.current.attempt + 1 : 1;
  const { wakeAt: _, ...rest } = run;
  const journal = run.journal.some((entry) => entry.upgradeId === upgradeId)
    ? run.journal
    : [...run.journal, { upgradeId, steps: {} }];
  return { ...record, run: { ...rest, current: { upgradeId, attempt }, journal } };
}

/** The record with the started attempt not counted. */
export function withoutAttempt(record: PortalRecord): PortalRecord {
  const { run } = record;
  if (run?.current === undefined) return record;
  return { ...record, run: { ...run, current: { ...run.current, attempt: run.current.attempt - 1 } } };
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
export function withProgress(record: PortalRecord, progress: RunProgress | undefined): PortalRecord {
  if (progress === undefined || record.run === undefined) return record;
  return { ...record, run: { ...record.run, progress } };
}

/** Returns what the journal of the run has about a step. */
export function stepOf(record: PortalRecord, upgradeId: string, name: string): StepRecord | undefined {
  const journal = record.run?.journal.find((entry) => entry.upgradeId === upgradeId);
  return journal !== undefined && Object.hasOwn(journal.steps, name) ? journal.steps[name] : undefined;
}

/** The record with `step` in the journal of the run. */
export function withStep(record: PortalRecord, upgradeId: string, name: string, step: StepRecord): PortalRecord {
  const { run } = record;
  if (run === undefined) return record;
  const journal = run.journal.map((entry) => {
    if (entry.upgradeId !== upgradeId) return entry;
    // fromEntries() defines own properties, so that a step may be called "__proto__".
    const steps = Object.fromEntries([...Object.entries(entry.steps).filter(([key]) => key !== name), [name, step]]);
    return { ...entry, steps };
  });
  return { ...record, run: { ...run, journal } };
}

/** The record with the started attempt at a step not counted. */
export function withoutStepAttempt(record: PortalRecord, upgradeId: string, name: string): PortalRecord {
  const step = stepOf(record, upgradeId, name);
  return step === undefined ? record : withStep(record, upgradeId, name, { ...step, attempts: step.attempts - 1 });
}
