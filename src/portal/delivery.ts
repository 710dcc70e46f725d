/** Deliveries: accepted events whose work is not done, as they are stored, and their ids. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import type { Body } from "../bitrix24/parse.ts";
import type { WireTree } from "../bitrix24/tree.ts";
import { FormatError } from "../errors.ts";
import type { Entry } from "../storage/storage.ts";
import type { StoredVerification } from "./event_facts.ts";

/** An accepted event whose work is not done. It contains the event's tokens, which handlers need. */
export interface Delivery {
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
  /** The first 4,000 characters of the last error's message, without tokens. */
  readonly error?: string;
  /** Time of the next attempt, in milliseconds since 1970; absent after a failure if the delivery is parked. */
  readonly retryAt?: number;
}

/** A delivery in the portal's record. */
export interface InboxItem extends Delivery {
  readonly id: string;
}

/** A delivery under a key of its own. */
export interface StoredDelivery extends Delivery {
  readonly format: typeof DELIVERY_FORMAT;
}

/** A delivery that waits, with its id and where it is. */
export interface WaitingDelivery {
  readonly id: string;
  readonly delivery: Delivery;
  /** Version of the entry with its own key; absent if it is in the portal's record. */
  readonly version?: string;
}

/**
 * The deliveries of a portal that have keys of their own, parked ones included. The count is exact after each pass over all
 * of them; a crash can leave it too high until then.
 */
export interface Overflow {
  /** Number of ordinary events. */
  readonly events: number;
  /** Size of the ordinary events, in characters of their bodies. */
  readonly size: number;
  /** Number of life-cycle events, by name. */
  readonly lifeCycle: Readonly<Record<string, number>>;
}

/** Raised if older code would misread a delivery. */
export const DELIVERY_FORMAT = 1;

/** Returns the delivery of an entry. Newer code may have written it: see {@linkcode assertReadable}. */
export function deliveryOf({ key, value: delivery, version }: Entry<StoredDelivery>): WaitingDelivery {
  return { id: key.at(-1)!, delivery, version };
}

/** @throws {FormatError} if newer code wrote the delivery */
export function assertReadable(memberId: string, { id, delivery, version }: WaitingDelivery): void {
  if (version === undefined) return;
  const { format } = delivery as StoredDelivery;
  if (format !== DELIVERY_FORMAT) throw new FormatError(`delivery ${memberId} ${id}`, format, DELIVERY_FORMAT);
}

/** Returns whether an event of this delivery is one of an app's life cycle. Ids of other events have a digest of their data. */
export function isLifeCycle(id: string): boolean {
  return !/:[0-9a-f]{64}:\d+(~.*)?$/.test(id);
}

/** Returns whether the portal's upgrades are part of the delivery's work. All other deliveries do not wait for them. */
export function runsUpgrades(id: string): boolean {
  return /^ONAPP(UPDATE|INSTALL):/.test(id);
}

/** Returns the size of a delivery, in characters of its body. */
export function sizeOf({ body }: Pick<Delivery, "body">): number {
  return body?.text.length ?? 0;
}

/** Maximum length of the part of an id that names what a life-cycle event is about. */
const MAX_SUBJECT_LENGTH = 64;

/**
 * Returns the id of an event's delivery: its name, subject and `ts`. Copies of an event have the same one, also if they
 * were sent for other handler registrations or with other tokens.
 */
export async function deliveryId(event: B24Event, tree: WireTree, digest: Digest): Promise<string> {
  const subject = await subjectOf(event, tree, digest);
  const short = subject.length <= MAX_SUBJECT_LENGTH ? subject : `#${await digest(subject)}`;
  return `${wireName(event)}:${short}:${event.ts}`;
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
