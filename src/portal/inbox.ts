/**
 * The inbox: deliveries, that is accepted events whose work is not done yet. Small ones are in the portal's record, so that
 * they cost no write of their own; the others have keys of their own, and the record counts them.
 */
import type { B24Event } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import {
  type Delivery,
  DELIVERY_FORMAT,
  type DeliveryEnd,
  doneDelivery,
  type InboxItem,
  isLifeCycle,
  sizeOf,
  type StoredDelivery,
  type WaitingDelivery,
} from "./delivery.ts";
import { withInstallerDone } from "./installer.ts";
import { deliveryKey } from "./keys.ts";
import type { PortalLease } from "./lease.ts";
import type { PortalRecord } from "./record.ts";
import type { RecordChange } from "./record_store.ts";
import { countDelivery } from "./waiting.ts";

/** A delivery that this process has stored. */
export interface AcceptedDelivery {
  readonly id: string;
  readonly event: B24Event;
  /** The portal, as it was stored with the delivery. */
  readonly record: PortalRecord;
  /** The lease of the portal, if this process took it when it stored the delivery. */
  readonly lease?: PortalLease;
}

/** Maximum number of deliveries in a record. */
const MAX_IN_RECORD = 16;
/** Maximum size of a delivery in a record, in characters of its body. Bitrix24 sends about 2,000. */
const MAX_SIZE_IN_RECORD = 4096;
/** Maximum size of all deliveries in a record, in characters of their bodies. */
const MAX_TOTAL_IN_RECORD = 12_288;
/** Number of deliveries that are done that a record keeps, to recognize copies and for operators. */
const MAX_HANDLED = 64;

/** Returns whether the record shows that a delivery with this id is done. Only those of life-cycle events are remembered. */
export function isHandled(record: PortalRecord | undefined, id: string): boolean {
  // Each event compares up to 64 ids: a pattern would make an iterator for each.
  return record?.handled?.some((done) => done[0] === id) ?? false;
}

/** Returns the delivery in the record; `undefined` if it is not there. */
export function inRecord(record: PortalRecord | undefined, id: string): InboxItem | undefined {
  return record?.inbox?.find((item) => item.id === id);
}

/** Returns the change that adds a delivery: to the record if it fits, under a key of its own if it does not. */
export function withDelivery(record: PortalRecord, id: string, delivery: Delivery): RecordChange {
  const { memberId, inbox = [] } = record;
  if (fitsRecord(record, delivery)) return { record: { ...record, inbox: [...inbox, { id, ...delivery }] } };
  const overflow = countDelivery(record.overflow, id, delivery, 1);
  const value: StoredDelivery = { format: DELIVERY_FORMAT, ...delivery };
  return {
    record: { ...record, ...defined({ overflow }) },
    before: [{ put: deliveryKey(memberId, id), value, ifVersion: null }],
  };
}

/** Returns the change that adds a delivery without a body, which always fits the record. */
export function withSmallDelivery(record: PortalRecord, id: string, delivery: Delivery): RecordChange {
  return { record: { ...record, inbox: [...record.inbox ?? [], { id, ...delivery }] } };
}

/** Returns the record with another value of a delivery that it contains; unchanged if it does not contain it. */
export function withChangedDelivery(
  record: PortalRecord,
  id: string,
  change: (delivery: Delivery) => Delivery,
): PortalRecord {
  if (inRecord(record, id) === undefined) return record;
  return { ...record, inbox: record.inbox!.map((item) => item.id === id ? { id, ...change(item) } : item) };
}

/**
 * Returns the change that removes a delivery that is done, and remembers it if it is one of a life-cycle event. That is
 * recorded before, or together with, the removal: a crash in between must not run the handlers again.
 */
export function withoutDelivery(
  record: PortalRecord,
  { id, version, delivery }: WaitingDelivery,
  end: DeliveryEnd,
): RecordChange {
  const next = withHandled(withoutItem(record, id), id, delivery.receivedAt, end);
  if (version === undefined) return { record: next };
  const { overflow: counted, ...rest } = next;
  const overflow = countDelivery(counted, id, delivery, -1);
  return { record: { ...rest, ...defined({ overflow }) }, after: [{ delete: deliveryKey(record.memberId, id) }] };
}

/** Returns the record with a delivery that is done, if it is one of a life-cycle event. */
export function withHandled(record: PortalRecord, id: string, receivedAt: number, end: DeliveryEnd): PortalRecord {
  if (!isLifeCycle(id) || isHandled(record, id)) return record;
  const handled = [...record.handled ?? [], doneDelivery(id, receivedAt, end)].slice(-MAX_HANDLED);
  return { ...withInstallerDone(record, id), handled };
}

/** Returns the record without a delivery that it contains. */
export function withoutItem(record: PortalRecord, id: string): PortalRecord {
  const { inbox = [], ...rest } = record;
  const left = inbox.filter((item) => item.id !== id);
  if (left.length === inbox.length) return record;
  return left.length === 0 ? rest : { ...rest, inbox: left };
}

/** Returns whether there is room for a delivery in the record. */
export function fitsRecord({ inbox = [] }: PortalRecord, delivery: Delivery): boolean {
  const size = sizeOf(delivery);
  const total = inbox.reduce((sum, item) => sum + sizeOf(item), size);
  return inbox.length < MAX_IN_RECORD && size <= MAX_SIZE_IN_RECORD && total <= MAX_TOTAL_IN_RECORD;
}
