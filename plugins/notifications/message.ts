/** A notification, before a channel renders it. */
import type { BlockedReason } from "../../mod.ts";

/** The kind of a notification. */
export type NotificationKind =
  | "portal_parked"
  | "portal_blocked"
  | "portal_upgraded"
  | "rollout_paused"
  | "rollout_finished"
  | "verification_refused"
  | "verification_delayed"
  | "registrations_drifted"
  | "storage_failing"
  | "oauth_failing"
  | "nothing_received"
  | "messages_dropped"
  | "channel_failing";

/** The language of a notification. */
export type NotificationLanguage = "en" | "ru";

/** A portal that a notification names. */
export interface NotifiedPortal {
  /** Its `member_id`. */
  readonly memberId: string;
  /** Its domain, if it is known. A customer chose it: channels escape it. */
  readonly domain?: string;
}

/** A notification, as plain values. It can be stored as JSON, and it contains no token. */
export interface NotificationMessage {
  /** The kind. */
  readonly kind: NotificationKind;
  /** `"resolved"`: the problem of an earlier notification is over. */
  readonly status: "firing" | "resolved";
  /** The urgency. */
  readonly severity: "info" | "warning" | "critical";
  /** One line that says what has happened. */
  readonly title: string;
  /** Details, one line each. */
  readonly lines: readonly string[];
  /** The portals that it is about. */
  readonly portals: {
    /** The portals that are named. */
    readonly shown: readonly NotifiedPortal[];
    /** The number of all portals, those that are not named included. */
    readonly total: number;
  };
  /** The need of the portals, if they are blocked. */
  readonly blockedOn?: BlockedReason;
  /** The address where an operator sees more. */
  readonly link?: string;
  /**
   * The language of `title` and `lines`, and of what channels add to them.
   *
   * @default "en"
   */
  readonly language?: NotificationLanguage;
}
