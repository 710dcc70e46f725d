/** Reports of changes of rollouts, which are kept with the state that has changed until observers have been notified. */

/** A change of a rollout. */
export type RolloutChange =
  | { readonly kind: "rolloutPaused"; readonly target: string; readonly by: string; readonly reason: string }
  | {
    readonly kind: "rolloutPaused";
    readonly target: string;
    readonly upgradeId: string;
    readonly failed: number;
    readonly finished: number;
  }
  | { readonly kind: "rolloutResumed"; readonly target: string; readonly by: string; readonly reason: string }
  | { readonly kind: "rolloutFinished"; readonly target: string };

/** A stored report. */
export interface StoredRolloutReport {
  readonly id: string;
  /** In milliseconds since 1970. */
  readonly changedAt: number;
  readonly change: RolloutChange;
  /** A process notifies observers of it: another one does so after this time, in milliseconds since 1970. */
  readonly takenUntil?: number;
}

/** Maximum number of reports that wait with one rollout or breaker: the oldest is dropped. */
const MAX_REPORTS = 16;

/** Returns the state with a report. */
export function withRolloutReport<T extends { readonly reports?: readonly StoredRolloutReport[] }>(
  state: T,
  report: StoredRolloutReport,
): T {
  return { ...state, reports: [...state.reports ?? [], report].slice(-MAX_REPORTS) };
}

/** Returns the state without the reports with these ids. */
export function withoutRolloutReports<T extends { readonly reports?: readonly StoredRolloutReport[] }>(
  { reports = [], ...state }: T,
  ids: readonly string[],
): Omit<T, "reports"> & { readonly reports?: readonly StoredRolloutReport[] } {
  const left = reports.filter(({ id }) => !ids.includes(id));
  return left.length === 0 ? state : { ...state, reports: left };
}

/** Takes the reports that no other process notifies observers of. Returns the state with them taken, and them. */
export function takeReports<T extends { readonly reports?: readonly StoredRolloutReport[] }>(
  state: T,
  now: number,
  leaseMs: number,
): { readonly state: T; readonly taken: readonly StoredRolloutReport[] } {
  const { reports = [] } = state;
  // A time far ahead is of a clock that was wrong.
  const isFree = ({ takenUntil = now }: StoredRolloutReport): boolean =>
    takenUntil <= now || takenUntil > now + 2 * leaseMs;
  const taken = reports.filter(isFree);
  if (taken.length === 0) return { state, taken };
  const marked = reports.map((report) => isFree(report) ? { ...report, takenUntil: now + leaseMs } : report);
  return { state: { ...state, reports: marked }, taken };
}
