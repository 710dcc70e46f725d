/** The head of the events of a portal that wait for verification: which they are, and which process verifies them. */
import { FormatError } from "../errors.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { unverifiedKey } from "./keys.ts";

/** Raised whenever older code could misread an entry. */
export const UNVERIFIED_FORMAT = 1;

/** Milliseconds after which an event that was not verified is dropped. */
export const KEPT_MS = 24 * 60 * 60 * 1000;
/** Milliseconds after which its entries are gone, whatever happened. */
export const TTL_MS = KEPT_MS + 60 * 60 * 1000;

/** An event that waits, as the head of its portal lists it. */
export interface WaitingEvent {
  /** Key of its body. */
  readonly slot: string;
  /** Digest of the event and its access token: a copy waits once. */
  readonly digest: string;
  readonly size: number;
  /** Its name as Bitrix24 sends it. */
  readonly name: string;
  /** Message of the error of the last attempt, without tokens. */
  readonly error?: string;
  /** It came from a trusted address: it is verified first, and gives way to no event of another address. */
  readonly isTrusted?: true;
  /** In milliseconds since 1970. */
  readonly receivedAt: number;
  /** Number of questions without an answer. */
  readonly attempts: number;
  /** When Bitrix24 is asked next, in milliseconds since 1970. */
  readonly nextAt: number;
}

/** A process that verifies the events of a portal, and when another one may take over, in milliseconds since 1970. */
export interface Owner {
  readonly id: string;
  readonly until: number;
}

/** The head of a portal's events: one entry, changed by compare-and-set. */
export interface Head {
  readonly format: typeof UNVERIFIED_FORMAT;
  /** Without the event that is being verified: that one is not replaced, and its end is reported by who verifies it. */
  readonly events: readonly WaitingEvent[];
  /** The portal has a record, so that a check by its stored tokens can make up for an event that is lost. */
  readonly isKnown: boolean;
  /** The process that verifies these events now, and the event that it verifies. */
  readonly owner?: Owner & { readonly event?: WaitingEvent };
  /** Time of the schedule entry. */
  readonly due: number;
}

/** The maximum length of a name and of an error in a head: one entry lists all events of a portal. */
export const MAX_TEXT = 200;

/** The parts of an app that these modules use. */
export interface UnverifiedOptions {
  readonly storage: Storage;
  readonly clock: () => number;
  readonly random: () => string;
}

/** Changes a head, which expires unless it is changed again; returns it as it is stored afterwards. */
export async function updateHead(
  { storage }: UnverifiedOptions,
  memberId: string,
  change: (head: Head | undefined) => Head | undefined,
  known?: Entry<Head> | null,
): Promise<Head | undefined> {
  const key = unverifiedKey(memberId);
  return readHead(await updateEntry<Head>(storage, key, (entry) => change(readHead(entry)), known, { ttlMs: TTL_MS }));
}

/** Returns all events of a head, the one that is being verified first. */
export function eventsOf(head: Head | undefined): readonly WaitingEvent[] {
  if (head === undefined) return [];
  return head.owner?.event === undefined ? head.events : [head.owner.event, ...head.events];
}

export function readHead(entry: Entry<Head> | null): Head | undefined {
  if (entry === null) return undefined;
  const { format } = entry.value;
  if (format !== UNVERIFIED_FORMAT) {
    throw new FormatError(`unverified events of ${entry.key.at(-1)}`, format, UNVERIFIED_FORMAT);
  }
  return entry.value;
}
