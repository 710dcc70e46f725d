/** The turn of a portal whose events wait for verification: one process takes them, one event at a time. */
import { defined } from "../defined.ts";
import { unverifiedKey } from "./keys.ts";
import {
  eventsOf,
  type Head,
  MAX_TEXT,
  type Owner,
  readHead,
  TTL_MS,
  type UnverifiedOptions,
  updateHead,
  type WaitingEvent,
} from "./unverified_head.ts";
import { scheduleUnverified, unscheduleUnverified } from "./unverified_schedule.ts";

/** The events of a portal while this process alone verifies them. */
export interface OwnedEvents {
  readonly isKnown: boolean;
  /** The events that are due, those of trusted addresses first. The first of them is being verified now. */
  readonly due: readonly WaitingEvent[];
}

/** Takes the first event of a portal that is due; `undefined` if no event waits, or another process verifies them. */
export async function takeUnverified(
  options: UnverifiedOptions,
  memberId: string,
  owner: Owner,
): Promise<OwnedEvents | undefined> {
  const now = options.clock();
  let due: readonly WaitingEvent[] = [];
  const head = await updateHead(options, memberId, (head) => {
    if (head === undefined) return undefined;
    if (head.owner !== undefined && head.owner.id !== owner.id && head.owner.until > now) return head;
    // Also the event of an attempt that a crash has ended.
    const all = eventsOf(head);
    due = all.filter(({ nextAt }) => nextAt <= now)
      .sort((a, b) => Number(b.isTrusted ?? false) - Number(a.isTrusted ?? false));
    const [event] = due;
    return { ...head, events: all.filter((one) => one !== event), owner: { ...owner, ...defined({ event }) } };
  });
  return head?.owner?.id === owner.id ? { isKnown: head.isKnown, due } : undefined;
}

/**
 * Keeps a portal's events for this process until `owner.until`. Returns `false` if another process has taken them, or the
 * event that is being verified was removed.
 */
export async function keepUnverified(options: UnverifiedOptions, memberId: string, owner: Owner): Promise<boolean> {
  const isOwned = (head: Head | undefined): boolean => head?.owner?.id === owner.id && head.owner.event !== undefined;
  const change = (head: Head | undefined) => isOwned(head) ? { ...head!, owner: { ...head!.owner, ...owner } } : head;
  return isOwned(await updateHead(options, memberId, change));
}

/** The next attempt at an event. */
export interface NextAttempt {
  /** In milliseconds since 1970. */
  readonly nextAt: number;
  /** Message of the error of this attempt, without tokens. */
  readonly error: string;
}

/**
 * Postpones the event that is being verified: Bitrix24 could not be asked about it. Returns `false` if it was removed with
 * its portal meanwhile.
 */
export async function postponeUnverified(
  options: UnverifiedOptions,
  memberId: string,
  ownerId: string,
  { nextAt, error }: NextAttempt,
): Promise<boolean> {
  let isThere = true;
  await updateHead(options, memberId, (head) => {
    isThere = true;
    // Another process has taken over, and reports the outcome of the event.
    if (head?.owner?.id !== ownerId) return head;
    const { event, ...owner } = head.owner;
    isThere = event !== undefined;
    if (event === undefined) return head;
    return {
      ...head,
      owner,
      events: [...head.events, { ...event, attempts: event.attempts + 1, nextAt, error: error.slice(0, MAX_TEXT) }],
    };
  });
  return isThere;
}

/**
 * Releases the events of a portal, and schedules those that are left. Returns whether an event is among them whose
 * verification had begun.
 */
export async function releaseUnverified(options: UnverifiedOptions, memberId: string, id: string): Promise<boolean> {
  const { storage } = options;
  const key = unverifiedKey(memberId);
  for (;;) {
    const entry = await storage.get<Head>(key);
    const head = readHead(entry);
    if (entry === null || head?.owner?.id !== id) return true;
    const { owner, ...rest } = head;
    const events = eventsOf(head);
    const due = Math.min(...events.map(({ nextAt }) => nextAt));
    const ifVersion = entry.version;
    if (events.length > 0) await scheduleUnverified(storage, memberId, due, TTL_MS);
    const { ok } = events.length === 0
      ? await storage.delete(key, { ifVersion })
      : await storage.put(key, { ...rest, events, due }, { ifVersion, ttlMs: TTL_MS });
    if (!ok) continue;
    if (events.length === 0 || due !== head.due) await unscheduleUnverified(storage, memberId, head.due);
    return owner.event !== undefined;
  }
}
