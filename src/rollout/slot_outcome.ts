/** The outcome of a portal that has a slot, by its record: the same for a process that releases it and after a crash. */
import type { PortalRecord } from "../portal/record.ts";
import { compareVersions } from "../version.ts";
import type { SlotOutcome } from "./breaker.ts";

/** Number of failed attempts in a row from which a portal counts as failed. */
const FAILING_ATTEMPTS = 2;

/** Id of the breaker of portals that need no upgrade. */
export const NO_UPGRADE = "-";

/** A slot, and the times to judge it by. */
export interface JudgedSlot {
  readonly upgradeId: string;
  /** Version that the portal is going to. */
  readonly to: string;
  /** In milliseconds since 1970. */
  readonly now: number;
  /** When the breaker was resumed last, in milliseconds since 1970. */
  readonly resumedAt?: number | undefined;
}

/** Returns the outcome of a portal that has a slot. The record is `undefined` if the portal is not stored. */
export function slotOutcome(
  record: PortalRecord | undefined,
  { upgradeId, to, now, resumedAt = -Infinity }: JudgedSlot,
): SlotOutcome {
  if (record === undefined || record.status === "uninstalled") return "freed";
  const { version, target, run, failure, blocked, applied } = record;
  if (version === undefined || target === undefined) return "freed";
  if (compareVersions(version, to) >= 0 || applied.some(({ id }) => id === upgradeId)) return "succeeded";
  // Its process ended before it raised the target, or an operator has lowered it since.
  if (run === undefined && compareVersions(target, to) < 0) return "freed";
  if (run?.isRollingBack) return "freed";
  if (failure !== undefined && failure.to === target && failure.retryAt === undefined) {
    // A rollback has no attempts.
    return failure.attempts === 0 ? "freed" : "parked";
  }
  if (blocked !== undefined && blocked.on !== "rollout") return "freed";
  if (run?.wakeAt !== undefined && run.wakeAt > now) return "freed";
  return isFailing(record) && failure!.at > resumedAt ? "failing" : "running";
}

/** Returns whether two attempts in a row have failed, and none has succeeded since. */
export function isFailing({ failure, target }: PortalRecord): boolean {
  return failure !== undefined && failure.to === target && failure.attempts >= FAILING_ATTEMPTS;
}
