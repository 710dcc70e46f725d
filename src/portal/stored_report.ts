/** Reports of changes of a portal's state, as its record holds them. */
import type { BlockedReason } from "../errors.ts";
import type { ClaimKind } from "./claims.ts";
import type { FailedWith } from "./portal.ts";

/** A change of a portal's state, by the observer that is notified of it. */
export type StateChange =
  | { readonly kind: "portalUpgraded" | "portalResumed"; readonly from: string; readonly to: string }
  | { readonly kind: "portalParked"; readonly from: string; readonly to: string; readonly failure: ParkedFailure }
  | {
    readonly kind: "portalBlocked";
    readonly on: BlockedReason;
    readonly message: string;
    readonly since: number;
    readonly nextTryAt?: number;
  }
  | { readonly kind: "portalUnblocked"; readonly on: BlockedReason; readonly since: number }
  | { readonly kind: "portalRemoved"; readonly version?: string; readonly confirmed: boolean }
  | { readonly kind: "claimDropped"; readonly claim: ClaimKind; readonly version?: string };

/** The failure that has parked a portal. */
export interface ParkedFailure {
  readonly upgradeId?: string;
  readonly step?: string;
  readonly attempts: number;
  readonly message: string;
  readonly error?: FailedWith;
  readonly fingerprint?: string;
}

/** Names of the observers whose reports are kept until they have been notified. */
export type ReportKind = StateChange["kind"];

/** A report in the record of its portal. */
export interface StoredReport {
  /** Unique, and the same each time that an observer is notified. */
  readonly id: string;
  /** When the change was written, in milliseconds since 1970. */
  readonly changedAt: number;
  readonly change: StateChange;
  /** Number of older reports of the same kind that it has replaced, because too many waited; absent if none. */
  readonly replaced?: number;
}
