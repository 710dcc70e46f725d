/** The bounds of a portal's inbox. */
import { InboxFullError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import { type Delivery, isLifeCycle, type Overflow, sizeOf, type StoredDelivery } from "./delivery.ts";
import { DELIVERIES, deliveryKey } from "./keys.ts";
import type { PortalRecord } from "./record.ts";

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

const NONE: Overflow = { events: 0, size: 0, lifeCycle: {} };

/**
 * Returns the count with a delivery added `times` times, which may be negative; `undefined` if there is none. A count never
 * falls below 0.
 */
export function countDelivery(
  overflow: Overflow | undefined,
  id: string,
  delivery: Pick<StoredDelivery, "body">,
  times: number,
): Overflow | undefined {
  const { events, size, lifeCycle } = overflow ?? NONE;
  const kind = kindOf(id);
  const next: Overflow = kind === undefined
    ? { events: atLeast0(events + times), size: atLeast0(size + times * sizeOf(delivery)), lifeCycle }
    : { events, size, lifeCycle: { ...lifeCycle, [kind]: atLeast0((lifeCycle[kind] ?? 0) + times) } };
  return next.events === 0 && Object.values(next.lifeCycle).every((count) => count === 0) ? undefined : next;
}

/** @throws {InboxFullError} if the delivery is one of an ordinary event, and too many wait */
export function assertRoom(
  { memberId, inbox = [], overflow = NONE }: PortalRecord,
  id: string,
  delivery: Pick<StoredDelivery, "body">,
): void {
  if (isLifeCycle(id)) return;
  const ordinary = inbox.filter((item) => !isLifeCycle(item.id));
  const events = overflow.events + ordinary.length;
  const size = ordinary.reduce((sum, item) => sum + sizeOf(item), overflow.size);
  if (events > 0 && (events >= MAX_WAITING || size + sizeOf(delivery) > MAX_WAITING_SIZE)) {
    throw new InboxFullError(memberId, events);
  }
}

/**
 * Returns the delivery in the record to drop, so that at most 16 life-cycle events of the kind of `id` wait. Those that
 * anybody can make who knows the application_token go first, then the oldest.
 */
export function surplusInRecord(record: PortalRecord, id: string): string | undefined {
  const kind = kindOf(id);
  if (kind === undefined || countOfKind(record, kind) < MAX_OF_KIND) return undefined;
  // In the order of arrival: of those that came at the same time, the first goes.
  return record.inbox?.filter((item) => kindOf(item.id) === kind).toReversed().toSorted(byWorth).at(-1)?.id;
}

function countOfKind({ inbox = [], overflow = NONE }: PortalRecord, kind: string): number {
  return (overflow.lifeCycle[kind] ?? 0) + inbox.filter((item) => kindOf(item.id) === kind).length;
}

/**
 * Deletes deliveries with keys of their own, so that at most 15 life-cycle events of the kind of `id` wait: the same ones
 * first as {@linkcode surplusInRecord}. Resolves to the ids of those that it deleted; to `undefined` if the record shows that
 * there is nothing to delete.
 */
export async function deleteSurplus(
  storage: Storage,
  record: PortalRecord,
  id: string,
): Promise<{ readonly dropped: readonly string[]; readonly left: number } | undefined> {
  const { memberId } = record;
  const kind = kindOf(id);
  if (kind === undefined || countOfKind(record, kind) < MAX_OF_KIND) return undefined;
  if (surplusInRecord(record, id) !== undefined) return undefined;
  const found: (Ranked & { readonly id: string })[] = [];
  const options = { after: deliveryKey(memberId, `${kind}:`) };
  for await (const { key, value } of storage.list<StoredDelivery>([...DELIVERIES, memberId], options)) {
    const other = key.at(-1)!;
    if (!other.startsWith(`${kind}:`)) break;
    if (other === id) return undefined;
    const { receivedAt, verification, attempts } = value;
    found.push({ id: other, receivedAt, verification, attempts });
  }
  const best = found.toSorted(byWorth);
  const surplus = best.slice(MAX_OF_KIND - 1);
  for (const { id } of surplus) await storage.delete(deliveryKey(memberId, id));
  return { dropped: surplus.map(({ id }) => id), left: best.length - surplus.length };
}

/** The part of a delivery that decides whether it is kept. */
type Ranked = Pick<Delivery, "receivedAt" | "verification" | "attempts">;

/** Orders deliveries by what speaks for them, then the latest first. */
function byWorth(a: Ranked, b: Ranked): number {
  return Number(isOnlyClaimed(a)) - Number(isOnlyClaimed(b)) || b.receivedAt - a.receivedAt;
}

/** Returns whether only the application_token speaks for an event, and its work has not begun. */
function isOnlyClaimed({ verification: { claims, tokens }, attempts }: Ranked): boolean {
  return claims !== undefined && tokens === undefined && attempts === 0;
}

/** Returns the name of a life-cycle event; `undefined` for ordinary events. */
export function kindOf(id: string): string | undefined {
  return isLifeCycle(id) ? id.slice(0, id.indexOf(":")) : undefined;
}

function atLeast0(count: number): number {
  return Math.max(0, count);
}
