/** The run in a portal's record: pure functions that read and change it. */
import type { RunProgress } from "../portal/portal.ts";
import type { PortalRecord, StepRecord } from "../portal/record.ts";

/**
 * The record with one more started attempt at an upgrade, in a new run if there is none. `from`: see `PortalRun`.
 * `isAlone`: see `AttemptUnderWay`. If the process of the attempt before it has ended, after the run progressed, the
 * attempt is the first one again; the step that was interrupted has not used up one of its attempts.
 */
export function withAttempt(
  record: PortalRecord,
  upgradeId: string,
  { from, now, isAlone }: { readonly from: string; readonly now: number; readonly isAlone: boolean },
): PortalRecord {
  const { underWay: dead, wakeAt: _, ...run } = record.run ??
    { id: String(now).padStart(14, "0"), from, startedAt: now, journal: [] };
  const finished = progressOf(run);
  const hasProgressed = dead !== undefined && finished > dead.finished;
  const deaths = dead === undefined ? 0 : hasProgressed ? 1 : dead.deaths + 1;
  const deathsAlone = dead === undefined || hasProgressed ? 0 : dead.deathsAlone + Number(dead.isAlone === true);
  const started = run.current?.upgradeId === upgradeId ? run.current.attempt : 0;
  const attempt = hasProgressed ? 1 : started + 1;
  const journal = run.journal.some((entry) => entry.upgradeId === upgradeId)
    ? run.journal
    : [...run.journal, { upgradeId, steps: {} }];
  const underWay = { finished, deaths, deathsAlone, ...(isAlone ? { isAlone } as const : {}) };
  const next = { ...record, run: { ...run, current: { upgradeId, attempt }, journal, underWay } };
  const interrupted = dead && latestBegun(next, upgradeId);
  return interrupted === undefined ? next : withoutStepAttempt(next, upgradeId, interrupted);
}

/** Returns a number that rises with each finished step or page. */
function progressOf({ journal }: Pick<NonNullable<PortalRecord["run"]>, "journal">): number {
  const steps = journal.flatMap(({ steps }) => Object.values(steps));
  return steps.reduce((sum, { state, done = 0 }) => sum + done + Number(state === "done"), 0);
}

/** Returns the step of an upgrade that was started last, and is not known to have ended. */
function latestBegun(record: PortalRecord, upgradeId: string): string | undefined {
  const steps = record.run?.journal.find((entry) => entry.upgradeId === upgradeId)?.steps ?? {};
  return Object.entries(steps).filter(([, { state, attempts }]) => state === "begun" && attempts > 0)
    .reduce<[string, StepRecord] | undefined>((last, step) => last && last[1].at > step[1].at ? last : step, undefined)
    ?.[0];
}

/** The record with the attempt that is under way ended. */
export function withAttemptEnded(record: PortalRecord): PortalRecord {
  if (record.run === undefined) return record;
  const { underWay: _, ...run } = record.run;
  return { ...record, run };
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
  const { failure: _f, blocked: _b, run: { current: _c, underWay: _u, ...run }, ...rest } = {
    ...record,
    run: record.run,
  };
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
