/** Notifies observers of the stored reports of a portal: see `portal/reports.ts`. */
import type { DurableReport } from "../plugin/observers.ts";
import { type AppRuntime, notifyAndWait } from "../plugin/runtime.ts";
import type { PortalLease } from "../portal/lease.ts";
import { hasReports, withoutReport } from "../portal/reports.ts";
import type { ParkedFailure, StoredReport } from "../portal/stored_report.ts";

/**
 * Notifies observers of all reports of a portal, in order. The next write of the record removes them: a crash before it makes
 * the next holder of the lease notify them again, under the same ids.
 *
 * @throws {LeaseLostError} if another worker has taken the lease
 * @throws the reason of `runtime.signal` if the app closes
 */
export async function tell(runtime: AppRuntime, lease: PortalLease): Promise<void> {
  if (!hasReports(runtime.storage, lease.stored(), lease.record())) return;
  // Only stored changes are reported.
  await lease.flush();
  for (const report of lease.record().reports ?? []) {
    await lease.ensureHeld();
    await tellOne(runtime, lease.record().memberId, report);
    lease.stage((record) => ({ record: withoutReport(record, report.id) }));
  }
}

async function tellOne(runtime: AppRuntime, memberId: string, stored: StoredReport): Promise<void> {
  runtime.signal.throwIfAborted();
  const { change, ...report } = stored;
  const told: DurableReport & { readonly memberId: string } = { ...report, memberId };
  switch (change.kind) {
    case "portalUpgraded":
    case "portalResumed": {
      const { kind, from, to } = change;
      return await notifyAndWait(runtime, kind, { ...told, from, to });
    }
    case "portalParked": {
      const { kind, from, to, failure } = change;
      return await notifyAndWait(runtime, kind, { ...told, from, to, ...failureOf(failure) });
    }
    case "claimDropped": {
      const { claim, kind, ...rest } = change;
      return await notifyAndWait(runtime, kind, { ...told, ...rest, kind: claim });
    }
    case "portalBlocked": {
      const { kind, ...rest } = change;
      return await notifyAndWait(runtime, kind, { ...told, ...rest });
    }
    case "portalUnblocked": {
      const { kind, ...rest } = change;
      return await notifyAndWait(runtime, kind, { ...told, ...rest });
    }
    case "portalRemoved": {
      const { kind, ...rest } = change;
      return await notifyAndWait(runtime, kind, { ...told, ...rest });
    }
  }
}

function failureOf({ attempts: attempt, message, error: thrown, ...where }: ParkedFailure): {
  readonly attempt: number;
  readonly error: Error;
} & Omit<ParkedFailure, "attempts" | "message" | "error"> {
  const error = Object.assign(new Error(message), thrown);
  return { ...where, attempt, error };
}
