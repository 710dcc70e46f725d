/** Marks of batch operations in a portal's record: which of them have acted on the portal. */
import type { PortalRecord } from "./record.ts";

/** Number of marks that are kept. Fewer batch operations run at a time. */
const MAX_MARKS = 8;

/** Returns whether a batch operation has acted on the portal. */
export function isMarked({ batches = [] }: PortalRecord, batchId: string): boolean {
  return batches.includes(batchId);
}

/** Returns the record of a portal on which a batch operation has acted. */
export function withMark(record: PortalRecord, batchId: string): PortalRecord {
  return { ...record, batches: [...record.batches ?? [], batchId].slice(-MAX_MARKS) };
}
