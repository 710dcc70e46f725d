/**
 * Events that wait for their verification. Their access token may prove them, and nobody has asked yet: nothing of them
 * has an effect. They are bounded per portal, and all entries expire by themselves.
 */
import type { Body } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import { listEntries } from "../storage/list_keys.ts";
import type { Entry } from "../storage/storage.ts";
import { UNVERIFIED, unverifiedEventKey, unverifiedKey } from "./keys.ts";
import { bounded, DEFAULT_BOUNDS, sizeOf, type UnverifiedBounds } from "./unverified_bounds.ts";
import {
  eventsOf,
  type Head,
  MAX_TEXT,
  readHead,
  TTL_MS,
  UNVERIFIED_FORMAT,
  type UnverifiedOptions,
  updateHead,
  type WaitingEvent,
} from "./unverified_head.ts";
import { scheduleUnverified, type UnverifiedDue } from "./unverified_schedule.ts";

/** Age at which a schedule entry that the head of its portal does not name is stale, in milliseconds. */
const STALE_MS = 60_000;

/** The body of an event that waits, and the token pair that replaced the one in it. */
export interface UnverifiedEvent {
  readonly format: typeof UNVERIFIED_FORMAT;
  readonly body: Body;
  readonly receivedAt: number;
  /** The context of its request, for traces: see `Tracing`. */
  readonly trace?: string;
  /** Access and refresh token after a refresh of the event's own pair, which is void since. */
  readonly refreshed?: { readonly accessToken: string; readonly refreshToken: string; readonly expiresAt: number };
}

/** The outcome of storing an event that waits. */
export interface StoredUnverified {
  /** `"no_room"`: the event does not fit beside those that do not give way to it, and is not stored. */
  readonly state: "stored" | "duplicate" | "no_room";
  /** Number of events that it replaced. */
  readonly replaced: number;
  /** By how many characters the events of the portal have grown; negative if it replaced a larger one. */
  readonly growth: number;
}

/** An event that is to wait. */
export interface NewUnverified {
  readonly body: Body;
  /** In milliseconds since 1970. */
  readonly receivedAt: number;
  /** Name of the event as Bitrix24 sends it. */
  readonly name: string;
  /** Digest of the event and its access token. */
  readonly digest: string;
  /** The portal has a record. */
  readonly isKnown: boolean;
  /** It came from a trusted address. */
  readonly isTrusted?: boolean;
  /** The context of its request, for traces. */
  readonly trace?: string;
}

/**
 * Stores an event that waits for verification; durable once it resolves. If there are too many, it replaces a random one;
 * if they are too large, the largest give way, so that no large event displaces a life-cycle event: those are small. Events
 * of trusted addresses displace the others first, and are not displaced by them.
 */
export async function storeUnverified(
  options: UnverifiedOptions,
  memberId: string,
  event: NewUnverified,
  bounds: UnverifiedBounds = DEFAULT_BOUNDS,
): Promise<StoredUnverified> {
  const { storage, clock, random } = options;
  const { body, receivedAt, digest, isKnown, trace } = event;
  const name = event.name.slice(0, MAX_TEXT);
  if (body.text.length > bounds.maxCharacters) return NO_ROOM;
  const slot = random();
  const now = clock();
  const isTrusted = event.isTrusted === true ? { isTrusted: true as const } : {};
  const waiting: WaitingEvent = {
    ...{ slot, digest, name, size: body.text.length, receivedAt, attempts: 0, nextAt: now },
    ...isTrusted,
  };
  // The body first, then the schedule, then the head: a crash between leaves entries that expire or are deleted as stale.
  const [, known] = await Promise.all([
    storage.put<UnverifiedEvent>(
      unverifiedEventKey(memberId, slot),
      { format: UNVERIFIED_FORMAT, body, receivedAt, ...defined({ trace }) },
      { ttlMs: TTL_MS },
    ),
    storage.get<Head>(unverifiedKey(memberId)),
  ]);
  const before = readHead(known);
  // An entry for each event would let a flood fill the schedule.
  const due = before === undefined || before.due > now ? now : before.due;
  if (due === now) await scheduleUnverified(storage, memberId, now, TTL_MS);
  let evicted: readonly WaitingEvent[] = [];
  let isDuplicate = false;
  const stored = await updateHead(options, memberId, (head) => {
    isDuplicate = eventsOf(head).some((one) => one.digest === digest);
    evicted = isDuplicate ? [waiting] : [];
    if (isDuplicate) return event.isTrusted === true ? withTrust(head!, digest) : head;
    const { kept, gone } = bounded(head?.events ?? [], waiting, bounds);
    evicted = gone;
    if (gone.includes(waiting)) return head;
    return { ...head, format: UNVERIFIED_FORMAT, events: kept, isKnown, due: Math.min(head?.due ?? now, now) };
  }, known);
  // Another process has released the events between the two reads.
  if (due !== now && stored?.due === now) await scheduleUnverified(storage, memberId, now, TTL_MS);
  await Promise.all(evicted.map(({ slot }) => storage.delete(unverifiedEventKey(memberId, slot))));
  if (isDuplicate) return { state: "duplicate", replaced: 0, growth: 0 };
  if (evicted.includes(waiting)) return NO_ROOM;
  return { state: "stored", replaced: evicted.length, growth: waiting.size - sizeOf(evicted) };
}

/** Another copy of the event came from a trusted address. */
function withTrust(head: Head, digest: string): Head {
  return { ...head, events: head.events.map((one) => one.digest === digest ? { ...one, isTrusted: true } : one) };
}

const NO_ROOM: StoredUnverified = { state: "no_room", replaced: 0, growth: 0 };

/** The events of one portal that wait for verification. */
export interface UnverifiedPortal {
  readonly memberId: string;
  readonly isKnown: boolean;
  readonly events: readonly WaitingEvent[];
}

/**
 * Lists the portals whose events wait, in the order of their `member_id`, without those that newer code wrote or whose
 * encryption key is gone; `after`: only those after this one.
 */
export async function* listUnverified(
  { storage }: Pick<UnverifiedOptions, "storage">,
  after?: string,
): AsyncGenerator<UnverifiedPortal> {
  const options = after === undefined ? {} : { after: unverifiedKey(after) };
  for await (const entry of listEntries<Head>(storage, UNVERIFIED, options)) {
    if (entry.version === undefined || entry.value.format !== UNVERIFIED_FORMAT) continue;
    const head = entry.value;
    const events = eventsOf(head);
    if (events.length > 0) yield { memberId: entry.key.at(-1)!, isKnown: head.isKnown, events };
  }
}

/** Returns the number of events of a portal that wait. */
export async function countUnverified(
  { storage }: Pick<UnverifiedOptions, "storage">,
  memberId: string,
): Promise<number> {
  return eventsOf(readHead(await storage.get<Head>(unverifiedKey(memberId)))).length;
}

/** Returns the characters of the bodies of all unknown portals that wait. */
export async function unknownSize(options: Pick<UnverifiedOptions, "storage">): Promise<number> {
  let total = 0;
  for await (const { isKnown, events } of listUnverified(options)) {
    if (!isKnown) total += sizeOf(events);
  }
  return total;
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

/** Removes an event: it was accepted, refused or dropped. Returns whether it was still there. */
export async function removeUnverified(options: UnverifiedOptions, memberId: string, slot: string): Promise<boolean> {
  return await removeEvents(options, memberId, (event) => event.slot === slot) > 0;
}

/**
 * Removes the events that a portal received before its removal at `time`: no token of them may stay. An installation may
 * follow a removal within a millisecond. Returns their number, without one that is being verified.
 */
export async function removeUnverifiedBefore(
  options: UnverifiedOptions,
  memberId: string,
  time: number,
): Promise<number> {
  return await removeEvents(options, memberId, ({ receivedAt }) => receivedAt < time, { isVerifiedCounted: false });
}

async function removeEvents(
  options: UnverifiedOptions,
  memberId: string,
  isRemoved: (event: WaitingEvent) => boolean,
  { isVerifiedCounted } = { isVerifiedCounted: true },
): Promise<number> {
  let removed: readonly WaitingEvent[] = [];
  let count = 0;
  await updateHead(options, memberId, (head) => {
    removed = eventsOf(head).filter(isRemoved);
    count = isVerifiedCounted ? removed.length : removed.filter((event) => event !== head?.owner?.event).length;
    if (head === undefined || removed.length === 0) return head;
    const { owner, ...rest } = head;
    const events = head.events.filter((event) => !isRemoved(event));
    return { ...rest, events, ...defined({ owner: owner && withoutEvent(owner, isRemoved) }) };
  });
  await Promise.all(removed.map(({ slot }) => options.storage.delete(unverifiedEventKey(memberId, slot))));
  return count;
}

function withoutEvent(
  { event, ...owner }: NonNullable<Head["owner"]>,
  isRemoved: (event: WaitingEvent) => boolean,
): NonNullable<Head["owner"]> {
  return event === undefined || isRemoved(event) ? owner : { ...owner, event };
}

/**
 * Returns whether a portal is stored, and whether an event of it came from a trusted address; `undefined` if the head of the
 * portal does not name the schedule entry, which is deleted then.
 */
export async function keepIfDue(
  options: UnverifiedOptions,
  { memberId, key, time }: UnverifiedDue,
): Promise<{ readonly isKnown: boolean; readonly isTrusted: boolean } | undefined> {
  const { storage, clock } = options;
  const head = readHead(await storage.get<Head>(unverifiedKey(memberId)));
  if (head?.due === time) {
    return { isKnown: head.isKnown, isTrusted: eventsOf(head).some(({ isTrusted }) => isTrusted) };
  }
  // A younger one may be written just before its head.
  if (time < clock() - STALE_MS) await storage.delete(key);
  return undefined;
}
