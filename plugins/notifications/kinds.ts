/** The kinds of notifications. */
import type { BlockedReason } from "../../mod.ts";
import type { NotificationKind, NotificationMessage } from "./message.ts";

/** The urgency of a notification. */
export type Severity = NotificationMessage["severity"];

/** The properties of a kind. */
export interface KindInfo {
  readonly severity: Severity;
  /**
   * The way in which its end is found. `"level"`: the app is asked whether the problem is there still. `"count"`: things are counted as they
   * happen, and the end is that no more do. `"once"`: it has no end.
   */
  readonly end: "level" | "count" | "once";
}

/** The kinds. */
export const KINDS: Readonly<Record<NotificationKind, KindInfo>> = {
  portal_parked: { severity: "warning", end: "level" },
  portal_blocked: { severity: "warning", end: "level" },
  portal_upgraded: { severity: "info", end: "once" },
  rollout_paused: { severity: "critical", end: "level" },
  rollout_finished: { severity: "info", end: "once" },
  verification_refused: { severity: "warning", end: "count" },
  verification_delayed: { severity: "warning", end: "level" },
  registrations_drifted: { severity: "warning", end: "once" },
  storage_failing: { severity: "critical", end: "level" },
  oauth_failing: { severity: "warning", end: "level" },
  nothing_received: { severity: "warning", end: "level" },
  messages_dropped: { severity: "warning", end: "once" },
  channel_failing: { severity: "warning", end: "level" },
};

/** The kinds that customers get. */
export const CUSTOMER_KINDS: readonly NotificationKind[] = ["portal_upgraded", "portal_blocked"];

/** The kinds that operators get. */
export const OPERATOR_KINDS: readonly NotificationKind[] = (Object.keys(KINDS) as NotificationKind[])
  .filter((kind) => kind !== "portal_upgraded");

/** The blocks that a customer can end. */
export const CUSTOMER_BLOCKS: ReadonlySet<BlockedReason> = new Set<BlockedReason>([
  ...(["payment", "scope", "administrator", "confirmation"] as const),
]);

/** The blocks that an operator can end. */
export const OPERATOR_BLOCKS: ReadonlySet<BlockedReason> = new Set<BlockedReason>(["configuration", "version"]);

/** Severities, the least urgent first. */
export const SEVERITIES: readonly Severity[] = ["info", "warning", "critical"];
