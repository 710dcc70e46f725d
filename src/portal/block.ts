/** The block of a portal: since when, and when the next attempt is due. Pure functions. */
import type { BlockedReason } from "../errors.ts";
import { BLOCKED_RETRY_MS, blockedRetryDelay } from "../retry.ts";
import type { PortalRecord } from "./record.ts";
import { storedText } from "./stored_text.ts";

/** Message of the block of a portal that is not paid for. */
export const UNPAID = "the paid period of the app is over";

/** Returns the record blocked since `now`, or still blocked. */
export function withBlock(record: PortalRecord, on: BlockedReason, message: string, now: number): PortalRecord {
  const { blocked, endedBlock } = record;
  const isBack = endedBlock?.on === on && endedBlock.endedAt + BLOCKED_RETRY_MS >= now;
  const since = blocked?.on === on ? blocked.since : isBack ? endedBlock.since : now;
  return {
    ...record,
    blocked: { on, message: storedText(message), since, nextTryAt: now + blockedRetryDelay(now - since) },
  };
}

/**
 * Returns the record without its block, which an event or an answer of Bitrix24 has ended: the next attempt shows whether it is
 * over. If not, it goes on as the same block, so that a portal that is away for a year is not asked every hour.
 */
export function withoutBlock(record: PortalRecord, now: number): PortalRecord {
  const { blocked, ...rest } = record;
  if (blocked === undefined) return record;
  return { ...rest, endedBlock: { on: blocked.on, since: blocked.since, endedAt: now } };
}

/** Returns the record of a portal that no longer waits for its rollout. */
export function withoutRolloutBlock(record: PortalRecord): PortalRecord {
  const { blocked, ...rest } = record;
  return blocked?.on === "rollout" ? rest : record;
}
