/** The schedule of events that wait for verification: one entry for each portal, ordered by time. */
import { listKeys } from "../storage/list_keys.ts";
import type { Key, Storage } from "../storage/storage.ts";
import { UNVERIFIED_DUE, unverifiedDueKey } from "./keys.ts";

/** Digits of a time in a key, up to the year 5138. */
const DIGITS = 14;

/** A schedule entry of a portal's events. */
export interface UnverifiedDue {
  readonly memberId: string;
  /** In milliseconds since 1970. */
  readonly time: number;
  readonly key: Key;
}

/** Portals whose events are due at `now`, the earliest first. */
export async function* listUnverifiedDue(storage: Storage, now: number): AsyncGenerator<UnverifiedDue> {
  const end = timeText(now);
  for await (const key of listKeys(storage, UNVERIFIED_DUE)) {
    const [, time, memberId] = key as unknown as [string, string, string];
    if (time > end) return;
    yield { memberId, time: Number(time), key };
  }
}

/** Schedules the events of a portal. The entry expires after `ttlMs`. */
export async function scheduleUnverified(storage: Storage, memberId: string, at: number, ttlMs: number): Promise<void> {
  await storage.put(unverifiedDueKey(timeText(at), memberId), {}, { ttlMs });
}

/** Deletes the schedule entry of a portal's events. */
export async function unscheduleUnverified(storage: Storage, memberId: string, at: number): Promise<void> {
  await storage.delete(unverifiedDueKey(timeText(at), memberId));
}

function timeText(at: number): string {
  return String(Math.max(0, Math.floor(at))).padStart(DIGITS, "0");
}
