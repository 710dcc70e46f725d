/**
 * Which portals have work, and from when on: an index beside the records, so that finding work costs what there is to
 * do. A record that has work and no entry would be forgotten. An entry of which no record speaks costs a look: who plans
 * reads the record, adds the entry and then writes the record as he read it, so once somebody else has written it, such
 * an entry will never be spoken of.
 */
import { StorageError } from "../errors.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { dueKey, portalKey, SCHEDULE } from "./keys.ts";
import { type PortalRecord, readRecord } from "./record.ts";

/** One portal that has work. */
export interface ScheduleEntry {
  readonly key: Key;
  readonly memberId: string;
  /** As the portal's record has it, if the two agree. */
  readonly due: string;
}
/** Of the time in milliseconds since 1970, up to the year 5138. */
const DIGITS = 14;

/**
 * A time from which on a portal is to be looked at, in milliseconds since 1970, as a text that sorts by time. `unique` is
 * a text that nothing else has: who takes his own entry away must not take another's with it.
 */
export function entryId(at: number, unique: string): string {
  return `${String(Math.max(0, Math.floor(at))).padStart(DIGITS, "0")}-${unique}`;
}

/** The time of which {@linkcode entryId} made `due`. */
export function entryTime(due: string): number {
  return Number(due.slice(0, DIGITS));
}

/** Has the portal looked at from `due` on. */
export async function addEntry(storage: Storage, due: string, memberId: string): Promise<void> {
  await storage.put(dueKey(due, memberId), {});
}

/** Takes back what {@linkcode addEntry} did. */
export async function deleteEntry(storage: Storage, due: string, memberId: string): Promise<void> {
  await storage.delete(dueKey(due, memberId));
}

/** A visit that the schedule knows of before the record does. */
export interface Reservation {
  readonly memberId: string;
  /** As the record is to have it. */
  readonly due: string;
  /** Whether the schedule has it: a portal that is due by then needs no more. */
  readonly isPlanned: boolean;
  /** What was read of the record before. */
  readonly read: Entry<PortalRecord> | null;
}

/** What visits are planned with. */
interface Planner {
  readonly storage: Storage;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** A fresh text. */
  readonly random: () => string;
}

/** Puts a portal that is to have work into the schedule; `at` in milliseconds since 1970. */
export async function reserveEntry(
  { storage, random }: Planner,
  memberId: string,
  at: number,
  read: Entry<PortalRecord> | null,
): Promise<Reservation> {
  const due = entryId(at, random());
  const known = readRecord(read)?.due;
  const isPlanned = known === undefined || known > due;
  if (isPlanned) await addEntry(storage, due, memberId);
  return { memberId, due, isPlanned, read };
}

/**
 * Applies `change`, after which the portal may be due as planned, and makes schedule and record agree. Were the record
 * written first, a crash would leave it due at a time of which the schedule does not know, and nobody would come.
 */
export async function commitEntry(
  planner: Planner,
  { memberId, due, isPlanned, read }: Reservation,
  change: (record: PortalRecord | undefined, due: string) => PortalRecord | undefined,
): Promise<Entry<PortalRecord> | null> {
  const { storage, clock } = planner;
  let isOutdated = false;
  const written = await updateEntry<PortalRecord>(storage, portalKey(memberId), (entry) => {
    const next = change(readRecord(entry), due);
    // Whoever has written since may have found an entry that no record spoke of, and have removed it; or he has left the
    // portal, and has taken along what the schedule had.
    isOutdated = next?.due === due && !(isPlanned && entry?.version === read?.version);
    return isOutdated ? undefined : next;
  }, read);
  const isDue = written?.value.due === due;
  if (isPlanned && !isDue) await deleteEntry(storage, due, memberId);
  if (isOutdated) {
    return await commitEntry(planner, await reserveEntry(planner, memberId, entryTime(due), written), change);
  }
  // Where there was no record, only time tells that nobody is about to make it: this process may have stood still.
  if (isPlanned && isDue && read === null && clock() >= entryTime(due)) await addEntry(storage, due, memberId);
  return written;
}

/** The record of a portal that has one more delivery, and is to be looked at from `due` on. */
export function withNextDelivery(record: PortalRecord, due: string): PortalRecord {
  const next = { ...record, inboxSequence: (record.inboxSequence ?? 0) + 1 };
  if (record.due === undefined || record.due === due) return { ...next, due };
  if (record.due < due) return next;
  return { ...next, due, supersededDue: [...record.supersededDue ?? [], record.due] };
}

/**
 * Has a portal that a worker leaves looked at again at `nextAt`, if at all: `release` writes the record with the new `due`
 * and resolves to whether it did. An entry that the schedule has already does as well when it comes no later and not
 * much earlier: a look in vain now and then costs less than an entry for each event of a portal.
 */
export async function rescheduleEntry(
  { storage, clock, random }: Planner,
  { memberId, due, supersededDue = [] }: PortalRecord,
  nextAt: number | undefined,
  release: (due: string | undefined) => Promise<boolean>,
): Promise<boolean> {
  const now = clock();
  const planned = due === undefined ? supersededDue : [...supersededDue, due];
  const does = (at: number): boolean => nextAt !== undefined && at <= nextAt && at - now >= (nextAt - now) / 2;
  const kept = planned.find((one) => does(entryTime(one)));
  const next = nextAt === undefined ? undefined : kept ?? entryId(nextAt, random());
  if (next !== undefined && kept === undefined) await addEntry(storage, next, memberId);
  const isFree = await release(next);
  const outdated = isFree
    ? planned.filter((one) => one !== next)
    : kept === undefined && next !== undefined
    ? [next]
    : [];
  await Promise.all(outdated.map((one) => deleteEntry(storage, one, memberId)));
  return isFree;
}

/** The portals that are due at `now`, the longest waiting ones first. */
export async function* listDue(storage: Storage, now: number): AsyncGenerator<ScheduleEntry> {
  let after: Key | undefined;
  while (true) {
    try {
      for await (const { key } of storage.list(SCHEDULE, after === undefined ? {} : { after })) {
        const due = dueOf(key);
        if (entryTime(due.due) > now) return;
        yield due;
      }
      return;
    } catch (error) {
      // The key says all that there is to know: what cannot be decrypted must not keep the others from their turn.
      if (!(error instanceof StorageError) || error.unreadableKey === undefined) throw error;
      after = error.unreadableKey;
      const due = dueOf(after);
      if (entryTime(due.due) > now) return;
      yield due;
    }
  }
}

function dueOf(key: Key): ScheduleEntry {
  const [, due, memberId] = key as readonly [string, string, string];
  return { key, memberId, due };
}
