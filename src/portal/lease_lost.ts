/** Errors of a lease that was lost. */
import { StorageError } from "../errors.ts";
import type { PortalRecord } from "./record.ts";

/** Another process acquired the lease, or it could not be renewed in time. */
export class LeaseLostError extends StorageError {
  /** `reason` ends the message. */
  constructor(memberId: string, reason: string, options?: ErrorOptions) {
    super(`lost the lease of portal ${memberId}: ${reason}`, options);
  }
}

/** The record of the portal is gone, or older than the lease: the storage has lost what was written. */
export class RecordLostError extends LeaseLostError {}

/** Returns the error of a holder whose lease is not in the stored record. */
export function leaseLostTo(
  record: PortalRecord | undefined,
  { memberId, fencingToken }: { readonly memberId: string; readonly fencingToken: number },
): LeaseLostError {
  if (record === undefined) {
    return new RecordLostError(memberId, "its record is gone: was the storage emptied or replaced?");
  }
  return (record.fencingToken ?? 0) < fencingToken
    ? new RecordLostError(
      memberId,
      "its record is older than the lease: did the storage lose writes, or was a backup restored?",
    )
    : new LeaseLostError(memberId, "another process acquired it");
}
