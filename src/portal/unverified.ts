/**
 * Events that wait for their verification. Their access token may prove them, and nobody has asked yet: nothing of them
 * has an effect. They are bounded per portal, and all entries expire by themselves.
 */
import type { Body } from "../bitrix24/parse.ts";
import { FormatError } from "../errors.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { UNVERIFIED, unverifiedEventKey, unverifiedKey } from "./keys.ts";
import { bounded, type WaitingEvent } from "./unverified_bounds.ts";
import { scheduleUnverified, unscheduleUnverified, type UnverifiedDue } from "./unverified_schedule.ts";

/** Raised whenever older code could misread an entry. */
const UNVERIFIED_FORMAT = 1;

/** Milliseconds after which an event that was not verified is dropped. */
export const KEPT_MS = 24 * 60 * 60 * 1000;
/** Milliseconds after which its entries are gone, whatever happened. */
const TTL_MS = KEPT_MS + 60 * 60 * 1000;
/** Milliseconds for which a process verifies the events of a portal before another one may take over. */
const OWNED_MS = 60_000;

/** The body of an event that waits, and the token pair that replaced the one in it. */
export interface UnverifiedEvent {
  readonly format: typeof UNVERIFIED_FORMAT;
  readonly body: Body;
  readonly receivedAt: number;
  /** Access and refresh token after a refresh of the event's own pair, which is void since. */
  readonly refreshed?: { readonly accessToken: string; readonly refreshToken: string; readonly expiresAt: number };
}

/** The head of a portal's events: one entry, changed by compare-and-set. */
interface Head {
  readonly format: typeof UNVERIFIED_FORMAT;
  readonly events: readonly WaitingEvent[];
  /** The portal has a record, so that a check by its stored tokens can make up for an event that is lost. */
  readonly isKnown: boolean;
  /** The process that verifies these events now. */
  readonly owner?: { readonly id: string; readonly until: number };
  /** Time of the schedule entry. */
  readonly due: number;
}

/** What this module needs of the app. */
export interface UnverifiedOptions {
  readonly storage: Storage;
  readonly clock: () => number;
  readonly random: () => string;
}

/** What became of an event that was to wait. */
export interface StoredUnverified {
  /** `"too_large"`: the event does not fit beside the smaller ones, and is not stored. */
  readonly state: "stored" | "duplicate" | "too_large";
  /** Number of events that it replaced. */
  readonly replaced: number;
}

/** An event that is to wait. */
export interface NewUnverified {
  readonly body: Body;
  /** In milliseconds since 1970. */
  readonly receivedAt: number;
  /** Digest of the event and its access token. */
  readonly digest: string;
  /** The portal has a record. */
  readonly isKnown: boolean;
}

/**
 * Stores an event that waits for verification; durable once it resolves. If there are too many, it replaces a random one;
 * if they are too large, the largest give way, so that no large event displaces a life-cycle event: those are small.
 */
export async function storeUnverified(
  options: UnverifiedOptions,
  memberId: string,
  event: NewUnverified,
): Promise<StoredUnverified> {
  const { storage, clock, random } = options;
  const slot = random();
  const { body, receivedAt, digest, isKnown } = event;
  const now = clock();
  const waiting: WaitingEvent = { slot, digest, size: body.text.length, receivedAt, attempts: 0, nextAt: now };
  // The body first, then the schedule, then the head: a crash between leaves entries that expire or are deleted as stale.
  const [, known] = await Promise.all([
    storage.put<UnverifiedEvent>(unverifiedEventKey(memberId, slot), { format: UNVERIFIED_FORMAT, body, receivedAt }, {
      ttlMs: TTL_MS,
    }),
    storage.get<Head>(unverifiedKey(memberId)),
  ]);
  const before = readHead(known);
  // An entry for each event would let a flood fill the schedule.
  const due = before === undefined || before.due > now ? now : before.due;
  if (due === now) await scheduleUnverified(storage, memberId, now, TTL_MS);
  let evicted: readonly WaitingEvent[] = [];
  let isDuplicate = false;
  const stored = await updateHead(options, memberId, (head) => {
    isDuplicate = head?.events.some((one) => one.digest === digest) ?? false;
    evicted = isDuplicate ? [waiting] : [];
    if (isDuplicate) return head;
    const { kept, gone } = bounded(head?.events ?? [], waiting);
    evicted = gone;
    if (gone.includes(waiting)) return head;
    return { ...head, format: UNVERIFIED_FORMAT, events: kept, isKnown, due: Math.min(head?.due ?? now, now) };
  }, known);
  // Another process has released the events between the two reads.
  if (due !== now && stored?.due === now) await scheduleUnverified(storage, memberId, now, TTL_MS);
  await Promise.all(evicted.map(({ slot }) => storage.delete(unverifiedEventKey(memberId, slot))));
  if (isDuplicate) return { state: "duplicate", replaced: 0 };
  if (evicted.includes(waiting)) return { state: "too_large", replaced: 0 };
  return { state: "stored", replaced: evicted.length };
}

/** Returns the characters of the bodies of all unknown portals that wait. */
export async function unknownSize({ storage }: Pick<UnverifiedOptions, "storage">): Promise<number> {
  let total = 0;
  for await (const entry of storage.list<Head>(UNVERIFIED)) {
    const { isKnown, events } = readHead(entry)!;
    if (!isKnown) total += events.reduce((sum, { size }) => sum + size, 0);
  }
  return total;
}

/** The events of a portal while this process alone verifies them. */
export interface OwnedEvents {
  readonly isKnown: boolean;
  readonly events: readonly WaitingEvent[];
}

/** Takes the events of a portal; `undefined` if there are none or another process has them. */
export async function ownUnverified(
  options: UnverifiedOptions,
  memberId: string,
  id: string,
): Promise<OwnedEvents | undefined> {
  const head = await updateHead(options, memberId, (head) => {
    if (head === undefined) return undefined;
    const { owner } = head;
    if (owner !== undefined && owner.id !== id && owner.until > options.clock()) return head;
    return { ...head, owner: { id, until: options.clock() + OWNED_MS } };
  });
  return head?.owner?.id === id ? { isKnown: head.isKnown, events: head.events } : undefined;
}

/** Returns the body of an event that waits; `undefined` if it was replaced or has expired. */
export async function loadUnverified(
  { storage }: UnverifiedOptions,
  memberId: string,
  slot: string,
): Promise<Entry<UnverifiedEvent> | undefined> {
  const entry = await storage.get<UnverifiedEvent>(unverifiedEventKey(memberId, slot));
  if (entry === null) return undefined;
  if (entry.value.format !== UNVERIFIED_FORMAT) {
    throw new FormatError(`unverified event of ${memberId}`, entry.value.format, UNVERIFIED_FORMAT);
  }
  return entry;
}

/** Stores the pair that replaced an event's own: it is used only after that. Returns whether the event is still there. */
export async function storeRefreshed(
  { storage }: UnverifiedOptions,
  { key, value, version }: Entry<UnverifiedEvent>,
  refreshed: NonNullable<UnverifiedEvent["refreshed"]>,
): Promise<boolean> {
  const { ok } = await storage.put(key, { ...value, refreshed }, { ifVersion: version, ttlMs: TTL_MS });
  return ok;
}

/** Removes an event: it was accepted, refused or dropped. */
export async function removeUnverified(options: UnverifiedOptions, memberId: string, slot: string): Promise<void> {
  await changeEvents(options, memberId, (events) => events.filter((one) => one.slot !== slot));
  await options.storage.delete(unverifiedEventKey(memberId, slot));
}

/** Postpones an event about which Bitrix24 could not be asked. */
export async function postponeUnverified(
  options: UnverifiedOptions,
  memberId: string,
  slot: string,
  nextAt: number,
): Promise<void> {
  await changeEvents(
    options,
    memberId,
    (events) => events.map((one) => one.slot === slot ? { ...one, attempts: one.attempts + 1, nextAt } : one),
  );
}

/**
 * Removes the events that a portal received before its removal at `time`: no token of them may stay. An installation may
 * follow a removal within a millisecond.
 */
export async function removeUnverifiedBefore(
  options: UnverifiedOptions,
  memberId: string,
  time: number,
): Promise<void> {
  const head = readHead(await options.storage.get<Head>(unverifiedKey(memberId)));
  for (const { slot, receivedAt } of head?.events ?? []) {
    if (receivedAt < time) await removeUnverified(options, memberId, slot);
  }
}

/** Releases the events of a portal, and schedules those that are left. */
export async function releaseUnverified(options: UnverifiedOptions, memberId: string, id: string): Promise<void> {
  const { storage } = options;
  const key = unverifiedKey(memberId);
  for (;;) {
    const entry = await storage.get<Head>(key);
    const head = readHead(entry);
    if (entry === null || head?.owner?.id !== id) return;
    const { owner: _, ...rest } = head;
    const isEmpty = head.events.length === 0;
    const due = Math.min(...head.events.map(({ nextAt }) => nextAt));
    const ifVersion = entry.version;
    if (!isEmpty) await scheduleUnverified(storage, memberId, due, TTL_MS);
    const { ok } = isEmpty
      ? await storage.delete(key, { ifVersion })
      : await storage.put(key, { ...rest, due }, { ifVersion, ttlMs: TTL_MS });
    if (!ok) continue;
    if (isEmpty || due !== head.due) await unscheduleUnverified(storage, memberId, head.due);
    return;
  }
}

/** Deletes a schedule entry that the head of its portal does not name; returns whether the entry is valid. */
export async function keepIfDue(options: UnverifiedOptions, { memberId, key, time }: UnverifiedDue): Promise<boolean> {
  const { storage, clock } = options;
  const head = readHead(await storage.get<Head>(unverifiedKey(memberId)));
  if (head?.due === time) return true;
  // A younger one may be written just before its head.
  if (time < clock() - OWNED_MS) await storage.delete(key);
  return false;
}

async function changeEvents(
  options: UnverifiedOptions,
  memberId: string,
  change: (events: readonly WaitingEvent[]) => readonly WaitingEvent[],
): Promise<void> {
  await updateHead(options, memberId, (head) => head && { ...head, events: change(head.events) });
}

/** Changes a head, which expires unless it is changed again; returns it as it is stored afterwards. */
async function updateHead(
  { storage }: UnverifiedOptions,
  memberId: string,
  change: (head: Head | undefined) => Head | undefined,
  known?: Entry<Head> | null,
): Promise<Head | undefined> {
  const key = unverifiedKey(memberId);
  return readHead(await updateEntry<Head>(storage, key, (entry) => change(readHead(entry)), known, { ttlMs: TTL_MS }));
}

function readHead(entry: Entry<Head> | null): Head | undefined {
  if (entry === null) return undefined;
  const { format } = entry.value;
  if (format !== UNVERIFIED_FORMAT) {
    throw new FormatError(`unverified events of ${entry.key.at(-1)}`, format, UNVERIFIED_FORMAT);
  }
  return entry.value;
}
