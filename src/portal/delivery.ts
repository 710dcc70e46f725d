/** Deliveries: accepted events whose work is not done, as they are stored, and their ids. */
import { type B24Event, type TestEvent, type UnknownEvent, wireName } from "../bitrix24/events.ts";
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
  /** The context of its request, for traces: see `Tracing`. At most 256 characters; absent without a plugin that traces. */
  readonly trace?: string;
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
 * What became of a delivery that is done. `handled`: its handlers have run, or it had none. `skipped`: a plugin did not call
 * `next()`, or an operator skipped it. `unconfirmed`: Bitrix24 did not confirm what the event claimed. `outdated`: the app was removed, or installed
 * again, before its handlers could run.
 */
export type DeliveryOutcome = "handled" | "skipped" | "unconfirmed" | "outdated";

/**
 * A delivery of a life-cycle event that is done, in at most 120 bytes of JSON: a record has many. Its id contains the name and
 * the `ts` of its event. `receivedAt`: in milliseconds since 1970. `tookMs`: until it was done. Without `outcome`: `handled`.
 */
export type DoneDelivery = readonly [
  id: string,
  receivedAt: number,
  tookMs: number,
  outcome?: DeliveryOutcome,
];

/** How and when the work of a delivery ended. */
export interface DeliveryEnd {
  readonly outcome: DeliveryOutcome;
  /** In milliseconds since 1970. */
  readonly at: number;
}

/** Returns a delivery that is done, as a record keeps it. */
export function doneDelivery(id: string, receivedAt: number, { outcome, at }: DeliveryEnd): DoneDelivery {
  const tookMs = Math.max(0, at - receivedAt);
  return outcome === "handled" ? [id, receivedAt, tookMs] : [id, receivedAt, tookMs, outcome];
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

/** What a life-cycle event is about, if its id can contain it: ids are in portals' records, and are to be short. */
const SHORT_SUBJECT = /^[ !$-[\]-~]{0,40}$/;
/** Length of the part of a digest that stands for any other subject. */
const DIGEST_LENGTH = 32;

/**
 * Returns the id of an event's delivery: its name, subject and `ts`. Copies of an event have the same one, also if they
 * were sent for other handler registrations or with other tokens.
 */
export async function deliveryId(event: B24Event, tree: WireTree, digest: Digest): Promise<string> {
  return `${wireName(event)}:${await subjectOf(event, tree, digest)}:${event.ts}`;
}

/** Returns the SHA-256 of a string, in hexadecimal. */
type Digest = (text: string) => Promise<string>;

async function subjectOf(event: B24Event, tree: WireTree, digest: Digest): Promise<string> {
  // There may be many within a second: only all of their data distinguishes them.
  if (event.name === "ONAPPTEST" || event.name === "UNKNOWN") return await digest(JSON.stringify(tree.data ?? null));
  const subject = lifeCycleSubject(event);
  return SHORT_SUBJECT.test(subject) ? subject : `#${(await digest(subject)).slice(0, DIGEST_LENGTH)}`;
}

function lifeCycleSubject(event: Exclude<B24Event, TestEvent | UnknownEvent>): string {
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
  }
}
