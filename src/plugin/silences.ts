/** Silences of notifications, as operators and plugins use them. */
import type { Attribution } from "./admin_pages.ts";

/** The notifications that a silence is about. Members combine; at least one is needed. */
export interface SilenceMatch {
  /** Kinds of notifications, such as `"portal_parked"`. Up to 32. */
  readonly kinds?: readonly string[];
  /** The version that portals are to reach, such as `"3"` or `"3.0.0"`. Stored as in `portal.target`. */
  readonly target?: string;
  /** Id of the upgrade. */
  readonly upgradeId?: string;
  /** The cause of a failure, as in `portal.failure.fingerprint`. */
  readonly fingerprint?: string;
}

/** A silence to add. */
export interface NewSilence extends SilenceMatch, Attribution {
  /** When it ends, in milliseconds since 1970: in the future, and at most 90 days from now. */
  readonly until: number;
}

/** A silence that holds. */
export interface Silence extends NewSilence {
  /** Unique. */
  readonly id: string;
  /** When it was added, in milliseconds since 1970. */
  readonly since: number;
}

/**
 * Operators' functions for silences: while one holds, plugins that notify operators send nothing that it matches. Customers are
 * notified all the same.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 *
 * const { admin, close } = createApp({ storage: memoryStorage() });
 * const { id } = await admin.silences.add({
 *   ...{ kinds: ["portal_parked"], upgradeId: "3", until: Date.now() + 60 * 60 * 1000 },
 *   ...{ by: "ada", reason: "ticket 17: the fix is being deployed" },
 * });
 * console.log(await admin.silences.list());
 * await admin.silences.remove(id, { by: "ada", reason: "ticket 17: deployed" });
 * await close();
 * ```
 */
export interface Silences {
  /**
   * Adds a silence, and resolves to it.
   *
   * @throws {TypeError} if a member is unknown or invalid, or it would match all notifications
   * @throws {StorageError} if the storage fails
   */
  readonly add: (silence: NewSilence) => Promise<Silence>;
  /**
   * Lists the silences that hold.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly list: () => Promise<readonly Silence[]>;
  /**
   * Ends a silence.
   *
   * @throws {OnAppUpdateError} with code `unknown_silence`, if no silence with this id holds
   * @throws {TypeError} if `by` or `reason` is invalid
   * @throws {StorageError} if the storage fails
   */
  readonly remove: (id: string, attribution: Attribution) => Promise<void>;
}
