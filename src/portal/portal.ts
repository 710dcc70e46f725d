/** A portal as plugins, handlers and operators see it. */
import type { BlockedReason } from "../errors.ts";
import type { PortalClaim } from "./claims.ts";

/**
 * The state of a portal: `current` on its target, `upgrading` to it, `blocked` on an action of the customer or the vendor
 * (`portal.blocked` names it), `parked` after a permanent failure until an operator acts, or `uninstalled`.
 */
export type PortalState = "current" | "upgrading" | "blocked" | "parked" | "uninstalled";

/** An upgrade that was applied to a portal. */
export interface AppliedUpgrade {
  /** Id of the upgrade. */
  readonly id: string;
  /** Version the portal came from. */
  readonly from: string;
  /** Version the portal was going to. */
  readonly to: string;
  /** When it finished, in milliseconds since 1970. */
  readonly at: number;
  /** The upgrade did not run: `app.admin.skip` marked it as done. */
  readonly skipped?: true;
}

/** The error of a failure, besides its message. */
export interface FailedWith {
  /** Name of its class, such as `B24Error`. */
  readonly name: string;
  /** Its `code`; absent if it has none. */
  readonly code?: string;
  /** Bitrix24's error code; absent if it is not an answer of Bitrix24. */
  readonly b24Code?: string;
}

/** The last failure of a portal that is not on its target. */
export interface PortalFailure {
  /** Id of the upgrade that failed; absent if a plugin failed before it, such as one that restores registrations. */
  readonly upgradeId?: string;
  /** Version the portal was going to. */
  readonly to: string;
  /** Name of the step that failed; absent if the failure was outside a step. */
  readonly step?: string;
  /** The first 4,000 characters of the error's message, without tokens. */
  readonly message: string;
  /**
   * Names the cause: failures of other portals with the same one have the same fingerprint. Absent if an operator has caused
   * the failure by a rollback.
   */
  readonly fingerprint?: string;
  /** Name and codes of the error; absent after a rollback. */
  readonly error?: FailedWith;
  /** Number of failed attempts in a row: of the step if the failure was in one, otherwise of the upgrade. */
  readonly attempts: number;
  /** Time of the last failure, in milliseconds since 1970. */
  readonly at: number;
  /** Time of the next attempt, in milliseconds since 1970; absent if the portal is parked until an operator acts. */
  readonly retryAt?: number;
}

/** The progress that a running upgrade reports. */
export interface RunProgress {
  /** Number of items done, in whatever unit the upgrade counts. */
  readonly done: number;
  /** Number of items in all; absent if it is not known. */
  readonly total?: number;
  /** A note for people. */
  readonly note?: string;
}

/** The run that brings a portal from its version to its target, until it is finished. */
export interface PortalRun {
  /** Id of the run. The ids of a portal's runs sort in their order. */
  readonly id: string;
  /** Version of the portal when the run started. */
  readonly from: string;
  /** When the run started, in milliseconds since 1970. */
  readonly startedAt: number;
  /** The upgrade that runs, or runs next, and the number of its attempts that count, the running one included. */
  readonly current?: { readonly upgradeId: string; readonly attempt: number };
  /** Absent until the upgrade reports progress. */
  readonly progress?: RunProgress;
  /** End of the current `sleep`, in milliseconds since 1970. */
  readonly wakeAt?: number;
}

/** The external action that a portal is blocked on. */
export interface PortalBlock {
  /** The need of the portal. */
  readonly on: BlockedReason;
  /** Explanation for people, without tokens, of at most 4,000 characters. */
  readonly message: string;
  /** When the portal became blocked, in milliseconds since 1970. */
  readonly since: number;
  /**
   * Time of the next attempt, in milliseconds since 1970; absent if an operator has to act. An event that ends the block
   * starts it earlier.
   */
  readonly nextTryAt?: number;
}

/** Digests of a portal's application token: they can be compared with, and are useless to a thief. */
export interface ApplicationTokenDigests {
  /** Digest of the current token, made by `digestToken`. */
  readonly current: string;
  /**
   * Up to four tokens before it in this installation, the newest first, and when each was replaced, in milliseconds since
   * 1970. Absent until the token changes.
   */
  readonly previous?: readonly { readonly digest: string; readonly replacedAt: number }[];
}

/** A portal as plugins and handlers see it: a snapshot, which does not follow later changes. */
export interface Portal {
  /** Bitrix24's id of the portal. It never changes. */
  readonly memberId: string;
  /**
   * Host of `clientEndpoint`, possibly with a port. Without a `clientEndpoint`, the host in the newest event, which is not
   * verified; empty if no event has named one.
   */
  readonly domain: string;
  /** Verified address of the portal's REST API; absent until one is verified. */
  readonly clientEndpoint?: string;
  /** `uninstalled` portals are kept, so that late events can be told from forged ones. */
  readonly status: "installed" | "uninstalled";
  /**
   * The state by which `app.admin.portals` and `counts` find the portal. While a worker processes it, they find it by the state
   * before.
   */
  readonly state: PortalState;
  /** Number of installations of the app so far. */
  readonly generation: number;
  /** Version at the start of this installation. Upgrades to it and to earlier versions do not run. */
  readonly initialVersion?: string;
  /** Version of the portal's data; absent while it is unknown. */
  readonly version?: string;
  /** Version the portal should be on; absent while it is unknown. */
  readonly target?: string;
  /**
   * Upgrades that the current run has applied so far, in order; empty if there is no run. `app.admin.runs` has those of
   * finished runs.
   */
  readonly applied: readonly AppliedUpgrade[];
  /** The last failure; absent once the failed work succeeds. */
  readonly failure?: PortalFailure;
  /** The current run; absent between runs. */
  readonly run?: PortalRun;
  /** The reason why the portal cannot continue; absent if it is not blocked. */
  readonly blocked?: PortalBlock;
  /** Scopes granted to the app, as Bitrix24 last reported them; absent until it was asked. */
  readonly scope?: readonly string[];
  /** Absent until an administrator's event of this installation has proved an application token. */
  readonly applicationToken?: ApplicationTokenDigests;
  /**
   * Digests of the application tokens that wait for an administrator's proof: users of the portal brought them, and the
   * portal has not said yet whether these are administrators. None is older than `applicationToken`. Absent if there are
   * none.
   */
  readonly pendingApplicationTokens?: readonly string[];
  /** Claims of events that Bitrix24 has not confirmed; absent if there are none. */
  readonly claims?: readonly PortalClaim[];
}
