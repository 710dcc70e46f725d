/**
 * Reports of what changes in the state of a portal. They are written in the same compare-and-set as the state, and stay in the
 * record until observers have been notified, so that a crash loses none. The worker notifies them: `worker/tell.ts`.
 */
import type { Storage } from "../storage/storage.ts";
import type { PortalRecord } from "./record.ts";
import { type ImpliedChange, implyOn, inOrder } from "./record_store.ts";
import { scheduled } from "./schedule.ts";
import { stateChanges } from "./state_changes.ts";
import type { ReportKind, StateChange, StoredReport } from "./stored_report.ts";

/** Maximum number of reports that wait in a record. */
export const MAX_REPORTS = 32;

/** How an app makes reports. */
export interface ReportOptions {
  readonly storage: Storage;
  /** Returns whether a plugin is notified of such changes. Without one, nothing is stored. */
  readonly isObserved: (kind: ReportKind) => boolean;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Returns a fresh, unguessable string. */
  readonly random: () => string;
  readonly leaseMs: number;
  /** Called when the record of a portal has a new report, and no worker has its lease. */
  readonly onReported: (memberId: string) => void;
}

const optionsByStorage = new WeakMap<Storage, ReportOptions>();

/** Adds reports to all records that are written through `storage`, an object that each app has its own of. */
export function reportChanges(options: ReportOptions): void {
  optionsByStorage.set(options.storage, options);
  implyOn(options.storage, (before, after) => withReports(options, before, after));
}

/** Returns whether reports wait in a record, or will once it is written. `stored`: as it is stored. */
export function hasReports(storage: Storage, stored: PortalRecord, record: PortalRecord): boolean {
  const options = optionsByStorage.get(storage);
  return record.reports !== undefined ||
    (options !== undefined && observedChanges(options, stored, record).length > 0);
}

/** Returns the record without a report that observers have been notified of. */
export function withoutReport({ reports = [], ...record }: PortalRecord, id: string): PortalRecord {
  const left = reports.filter((report) => report.id !== id);
  return left.length === 0 ? record : { ...record, reports: left };
}

/** Returns the change of a record that has new reports, with a schedule entry by which they are found after a crash. */
function withReports(
  options: ReportOptions,
  before: PortalRecord | undefined,
  after: PortalRecord,
): ImpliedChange | undefined {
  const changes = observedChanges(options, before, after);
  if (changes.length === 0) return undefined;
  const { clock, random, leaseMs, onReported } = options;
  const now = clock();
  const reports = changes.reduce(
    (reports, change) => withReport(reports, { id: random(), changedAt: now, change }),
    after.reports ?? [],
  );
  const isLeased = after.lease !== undefined && after.lease.until > now;
  const implied = inOrder({ ...after, reports }, [
    // The holder of the lease tells before it releases the portal.
    (record) => scheduled(record, isLeased ? now + leaseMs : now, random),
  ])!;
  return { ...implied, ...(!isLeased && { onStored: () => onReported(after.memberId) }) };
}

/** Returns the reports with another one. If there are too many, it replaces the oldest, of the same kind if there is one. */
function withReport(reports: readonly StoredReport[], report: StoredReport): readonly StoredReport[] {
  if (reports.length < MAX_REPORTS) return [...reports, report];
  const oldest = reports.find(({ change }) => change.kind === report.change.kind) ?? reports[0]!;
  return [
    ...reports.filter(({ id }) => id !== oldest.id),
    { ...report, replaced: (oldest.replaced ?? 0) + 1 },
  ];
}

function observedChanges(
  { isObserved }: ReportOptions,
  before: PortalRecord | undefined,
  after: PortalRecord,
): readonly StateChange[] {
  return stateChanges(before, after).filter(({ kind }) => isObserved(kind));
}
