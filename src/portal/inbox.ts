/** The inbox: what was acknowledged and is not yet done. Its size is the work there is, not the number of portals. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import type { Body } from "../bitrix24/parse.ts";
import type { WireTree } from "../bitrix24/tree.ts";
import { FormatError } from "../errors.ts";
import { digest } from "../secret.ts";
import type { Entry, Key } from "../storage/storage.ts";
import type { StoredVerification } from "./apply_event.ts";
import type { PortalRecord } from "./record.ts";

/** One acknowledged event. Holds its tokens, which the handlers need, until it is done. */
export interface Delivery {
  readonly format: typeof DELIVERY_FORMAT;
  /** As Bitrix24 sent it; absent for an update of which nothing was sent. */
  readonly body?: Body;
  /** Of an update of which nothing was sent: the version. */
  readonly announced?: string;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  readonly verification: StoredVerification;
  /** How often its handlers failed. */
  readonly attempts: number;
  /** What the last failure said, without tokens. */
  readonly error?: string;
  /** When they are tried again, in milliseconds since 1970; absent after failures: it is parked. */
  readonly retryAt?: number;
}

/** A delivery that this process has stored, and the record whose target it raised. */
export interface AcceptedDelivery {
  readonly delivery: Entry<Delivery>;
  readonly event: B24Event;
  readonly record: Entry<PortalRecord>;
  /** The portal had no other work when the record was written. */
  readonly isAlone: boolean;
}

/** A stored delivery whose work is to be done. */
export interface Accepted {
  readonly memberId: string;
  readonly deliveryId: string;
  /** Saves the worker from reading what this process has just written. */
  readonly fresh: AcceptedDelivery;
}

/** Raised whenever older code could misread a delivery. */
export const DELIVERY_FORMAT = 1;

/** What stands there: that it does is all that matters. */
export interface Receipt {
  readonly format: typeof DELIVERY_FORMAT;
}

/** How long a repeated event is recognised, in milliseconds: 30 days. */
export const RECEIPT_MS = 30 * 24 * 60 * 60 * 1000;

/** @throws {FormatError} when newer code wrote it */
export function readDelivery(key: Key, delivery: Delivery): Delivery {
  assertFormat("delivery", key, delivery);
  return delivery;
}

/** @throws {FormatError} when newer code wrote it: there, it may mean something else */
export function isDone(receipt: Entry<Receipt> | null): boolean {
  if (receipt !== null) assertFormat("receipt", receipt.key, receipt.value);
  return receipt !== null;
}

function assertFormat(what: string, key: Key, { format }: { readonly format: unknown }): void {
  if (format !== DELIVERY_FORMAT) throw new FormatError(`${what} ${key.slice(1).join(" ")}`, format, DELIVERY_FORMAT);
}

/**
 * The same for every copy of an event, whichever handler registration it was sent for: of name, subject and `ts`,
 * never of the tokens of `auth`.
 */
export async function deliveryId(event: B24Event, tree: WireTree): Promise<string> {
  return `${wireName(event)}:${await subject(event, tree)}:${event.ts}`;
}

function subject(event: B24Event, tree: WireTree): string | Promise<string> {
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
    // These come in any number within one second; only all of their data tells them apart.
    case "ONAPPTEST":
    case "UNKNOWN":
      return digest(JSON.stringify(tree.data ?? null));
  }
}
