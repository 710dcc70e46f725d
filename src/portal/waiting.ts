/**
 * The bounds of a portal's inbox. The record counts the deliveries that wait, so that accepting an event costs no further
 * call to the storage. The count is exact after each pass over the whole inbox; a crash can leave it too high until then.
 */
import { InboxFullError } from "../errors.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import type { StoredVerification } from "./event_facts.ts";
import { deliveryKey, INBOX } from "./keys.ts";

/** Maximum number of ordinary events that wait for one portal. */
export const MAX_WAITING = 1000;
/**
 * Maximum size of the ordinary events that wait for one portal, in characters of their bodies. A character takes one byte in
 * the forms that Bitrix24 sends, and up to three in a storage if it is not ASCII.
 */
export const MAX_WAITING_SIZE = 32 * 1024 * 1024;
/**
 * Maximum number of life-cycle events of one kind that wait for one portal. What a dropped one claims stays in the record: it
 * is confirmed all the same.
 */
export const MAX_OF_KIND = 16;

/** The deliveries of a portal that wait, parked ones included. */
export interface Waiting {
  /** Number of ordinary events. */
  readonly events: number;
  /** Size of the ordinary events, in characters of their bodies. */
  readonly size: number;
  /** Number of life-cycle events, by name. */
  readonly lifeCycle: Readonly<Record<string, number>>;
}

/** A delivery, as it is counted. */
export interface Counted {
  readonly key: Key;
  /** A missed update has no body. */
  readonly value: { readonly body?: { readonly text: string } };
}

const NONE: Waiting = { events: 0, size: 0, lifeCycle: {} };

/**
 * Returns the count with `delivery` added `times` times, which may be negative; `undefined` if nothing waits. A count never
 * falls below 0.
 */
export function countDelivery(
  waiting: Waiting | undefined,
  { key, value }: Counted,
  times: number,
): Waiting | undefined {
  const { events, size, lifeCycle } = waiting ?? NONE;
  const kind = kindOf(key);
  const next: Waiting = kind === undefined
    ? { events: atLeast0(events + times), size: atLeast0(size + times * sizeOf(value)), lifeCycle }
    : { events, size, lifeCycle: { ...lifeCycle, [kind]: atLeast0((lifeCycle[kind] ?? 0) + times) } };
  return next.events === 0 && Object.values(next.lifeCycle).every((count) => count === 0) ? undefined : next;
}

/** @throws {InboxFullError} if the delivery is one of an ordinary event, and too many wait */
export function assertRoom(memberId: string, waiting: Waiting | undefined, { key, value }: Counted): void {
  if (waiting === undefined || waiting.events === 0 || kindOf(key) !== undefined) return;
  const { events, size } = waiting;
  if (events >= MAX_WAITING || size + sizeOf(value) > MAX_WAITING_SIZE) throw new InboxFullError(memberId, events);
}

/** The part of a stored delivery that decides whether it is kept. */
interface WaitingDelivery {
  readonly receivedAt: number;
  readonly verification: Pick<StoredVerification, "claims" | "tokens">;
  readonly attempts: number;
}

/** The deliveries of one kind, after those beyond the bound were deleted. */
export interface Room {
  /** Ids of those that were deleted. */
  readonly dropped: readonly string[];
  /** The number that the record counted before. */
  readonly counted: number;
  readonly left: number;
}

/**
 * Makes room for a delivery of a life-cycle event: deletes others of its kind, so that with it at most
 * {@linkcode MAX_OF_KIND} wait. Those that anybody can make who knows the application_token go first, then the oldest. Reads
 * nothing unless the count suggests that there are more.
 */
export async function makeRoom(
  storage: Storage,
  memberId: string,
  waiting: Waiting | undefined,
  { key }: Counted,
): Promise<Room | undefined> {
  const kind = kindOf(key);
  const counted = kind === undefined ? 0 : waiting?.lifeCycle[kind] ?? 0;
  if (counted < MAX_OF_KIND) return undefined;
  const found: Entry<WaitingDelivery>[] = [];
  const options = { after: deliveryKey(memberId, `${kind}:`) };
  for await (const entry of storage.list<WaitingDelivery>([...INBOX, memberId], options)) {
    const id = entry.key.at(-1)!;
    if (!id.startsWith(`${kind}:`)) break;
    if (id === key.at(-1)) return undefined;
    if (kindOf(entry.key) === kind) found.push(entry);
  }
  const best = found.toSorted(({ value: a }, { value: b }) =>
    Number(isOnlyClaimed(a)) - Number(isOnlyClaimed(b)) || b.receivedAt - a.receivedAt
  );
  const surplus = best.slice(MAX_OF_KIND - 1);
  for (const entry of surplus) await storage.delete(entry.key);
  return { dropped: surplus.map((entry) => entry.key.at(-1)!), counted, left: best.length - surplus.length };
}

/** Returns whether only the application_token speaks for an event, and its work has not begun. */
function isOnlyClaimed({ verification: { claims, tokens }, attempts }: WaitingDelivery): boolean {
  return claims !== undefined && tokens === undefined && attempts === 0;
}

/** Returns the name of a life-cycle event; `undefined` for ordinary events, whose ids have a digest of their data. */
function kindOf(key: Key): string | undefined {
  const id = key.at(-1)!;
  return /:[0-9a-f]{64}:\d+$/.test(id) ? undefined : id.slice(0, id.indexOf(":"));
}

function sizeOf({ body }: Counted["value"]): number {
  return body?.text.length ?? 0;
}

function atLeast0(count: number): number {
  return Math.max(0, count);
}
