/** The checks of a portal that were made and that are planned, as its record has them. Pure functions. */
import { defined } from "../defined.ts";
import type { CheckFindings, CheckProblem } from "./findings.ts";

/** The last check of a portal. */
export interface Check {
  /** In milliseconds since 1970. */
  readonly at: number;
}

/**
 * Why a check is planned. `contact`: the portal sent an event soon after a check. `urgent`: its app was opened, or its
 * system user is ready. `unverified`: an event was refused or dropped that may have been authentic. `retry`: a check failed.
 */
export type CheckReason = "contact" | "urgent" | "unverified" | "retry";

/**
 * Times of planned checks in milliseconds since 1970, by reason. Each reason has its own time: a check that comes sooner
 * for another reason does not replace it, and a planned check never moves to a later time.
 */
export type PlannedChecks = Readonly<Partial<Record<CheckReason, number>>>;

/** The part of a portal's record that is about checks. */
interface Checked {
  readonly check?: Check;
  readonly plannedChecks?: PlannedChecks;
  readonly findings?: CheckFindings;
}

/** Returns the time of the next planned check; `undefined` if none is planned. */
export function nextPlannedCheck({ plannedChecks = {} }: Checked): number | undefined {
  const times = Object.values(plannedChecks);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** Returns the record with a check planned for `at`; `record` itself if one is planned for the same reason by then. */
export function withPlannedCheck<T extends Checked>(record: T, reason: CheckReason, at: number): T {
  const { [reason]: planned = Infinity } = record.plannedChecks ?? {};
  return planned <= at ? record : { ...record, plannedChecks: { ...record.plannedChecks, [reason]: at } };
}

/** A check that was made. Times in milliseconds since 1970. */
export interface FinishedCheck {
  /** Plans up to this time are fulfilled. */
  readonly startedAt: number;
  readonly endedAt: number;
  /** When the check is repeated; absent if it succeeded. */
  readonly retryAt?: number;
  /** The problems that it found, as they are stored; absent if it failed: those of the check before it remain. */
  readonly problems?: readonly CheckProblem[];
}

/** Returns the record after a check; `record` itself if it has the check already. Plans for times after its start remain. */
export function withFinishedCheck<T extends Checked>(
  record: T,
  { startedAt, endedAt, retryAt, problems }: FinishedCheck,
): T {
  const { plannedChecks = {}, findings: known, ...rest } = record;
  const before = Object.entries(plannedChecks);
  const left = before.filter(([reason, at]) => reason !== "retry" && at > startedAt);
  if (retryAt !== undefined) left.push(["retry", retryAt]);
  // Tokens that an OAuth host has verified are recorded as a check.
  const isRecorded = record.check !== undefined && record.check.at >= startedAt;
  const findings = problems === undefined ? known : problems.length === 0 ? undefined : { at: endedAt, problems };
  const isSame = findings === known && left.length === before.length;
  if (isRecorded && retryAt === undefined && isSame) return record;
  return {
    ...rest,
    ...(isRecorded ? {} : { check: { at: endedAt } }),
    ...(left.length === 0 ? {} : { plannedChecks: Object.fromEntries(left) }),
    ...defined({ findings }),
  } as T;
}
