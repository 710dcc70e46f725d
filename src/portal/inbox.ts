/** The inbox: deliveries, that is accepted events whose work is not done yet. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import type { Body } from "../bitrix24/parse.ts";
import type { WireTree } from "../bitrix24/tree.ts";
import { FormatError } from "../errors.ts";
import type { Entry, Key } from "../storage/storage.ts";
import type { StoredVerification } from "./event_facts.ts";
import type { PortalRecord } from "./record.ts";

/** An accepted event whose work is not done. It contains the event's tokens, which handlers need. */
export interface Delivery {
  readonly format: typeof DELIVERY_FORMAT;
  /** The body as Bitrix24 sent it; absent for a missed update, and for a removal whose event is gone. */
  readonly body?: Body;
  /** The removal whose event is gone. `ts`: as in that event. */
  readonly removal?: { readonly clean: boolean; readonly ts: number };
  /** The version of a missed update. */
  readonly announced?: string;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  readonly verification: StoredVerification;
  /** The installation that the event belongs to, as the portal's `generation`; absent if it began none, for now. */
  readonly generation?: number;
  /** Number of failed attempts. */
  readonly attempts: number;
  /** Message of the last error, without tokens. */
  readonly error?: string;
  /** Time of the next attempt, in milliseconds since 1970; absent after a failure if the delivery is parked. */
  readonly retryAt?: number;
}

/** A delivery that this process has stored, with the record that it was applied to. */
export interface AcceptedDelivery {
  readonly delivery: Entry<Delivery>;
  readonly event: B24Event;
  readonly record: Entry<PortalRecord>;
  /** The portal had no other work, and no lease, when the record was written. */
  readonly isAlone: boolean;
}

/** Raised if older code would misread a delivery. */
export const DELIVERY_FORMAT = 1;

/** Marks a delivery as done. */
export interface Receipt {
  readonly format: typeof DELIVERY_FORMAT;
}

/** TTL of receipts: duplicates of an event are recognized for 30 days. */
export const RECEIPT_MS = 30 * 24 * 60 * 60 * 1000;

/** @throws {FormatError} if newer code wrote the delivery */
export function readDelivery(key: Key, delivery: Delivery): Delivery {
  assertFormat("delivery", key, delivery);
  return delivery;
}

/**
 * Returns whether a delivery is done.
 *
 * @throws {FormatError} if newer code wrote the receipt, which may mean something else there
 */
export function isDone(receipt: Entry<Receipt> | null): boolean {
  if (receipt !== null) assertFormat("receipt", receipt.key, receipt.value);
  return receipt !== null;
}

function assertFormat(what: string, key: Key, { format }: { readonly format: unknown }): void {
  if (format !== DELIVERY_FORMAT) throw new FormatError(`${what} ${key.slice(1).join(" ")}`, format, DELIVERY_FORMAT);
}

/**
 * Returns the id of an event's delivery: its name, subject and `ts`. Copies of an event have the same one, also if they
 * were sent for other handler registrations or with other tokens.
 */
export async function deliveryId(event: B24Event, tree: WireTree, digest: Digest): Promise<string> {
  return `${wireName(event)}:${await subjectOf(event, tree, digest)}:${event.ts}`;
}

/** Returns the SHA-256 of a string, in hexadecimal. */
type Digest = (text: string) => Promise<string>;

function subjectOf(event: B24Event, tree: WireTree, digest: Digest): string | Promise<string> {
  switch (event.name) {
    case "ONAPPUPDATE":
    case "ONAPPINSTALL":
      return event.data.version;
    case "ONAPPUNINSTALL":
      return event.data.clean ? "clean" : "keep";
    case "ONAPPPAYMENT":
      return [event.data.code, event.data.version, event.data.status, event.data.paymentExpired].join(" ");
    case "ONAPPMETHODCONFIRM":
      return `${event.data.method} ${event.data.confirmed}`;
    case "ONAPPUSERREADY":
      return String(event.data.userId ?? "");
    // There may be many within a second: only all of their data distinguishes them.
    case "ONAPPTEST":
    case "UNKNOWN":
      return digest(JSON.stringify(tree.data ?? null));
  }
}
