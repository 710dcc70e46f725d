/**
 * The schedule: which portals have work, and from when on. It is an index beside the records, so that the cost of finding
 * work depends on how much is due, not on the number of portals.
 *
 * An entry and the record that names it are two keys, and the entry is written first. A crash between the two writes
 * leaves an orphaned entry, which costs one look at the portal; in the other order it would leave work that nobody finds.
 * The record is written only if it is still as it was before the entry was added. So once another process has written the
 * record, no one will name an orphaned entry, and it can be deleted.
 */
import type { Logger } from "../logger.ts";
import { listKeys } from "../storage/list_keys.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { dueKey, portalKey, SCHEDULE } from "./keys.ts";
import { type PortalRecord, readRecord } from "./record.ts";

/** An entry of the schedule: a portal has work from some time on. */
export interface ScheduleEntry {
  readonly key: Key;
  readonly memberId: string;
  /** Id of the entry. The record of the portal has the same one, unless the entry is orphaned or superseded. */
  readonly due: string;
}

/** Digits of a time in milliseconds since 1970, up to the year 5138. */
const DIGITS = 14;

/**
 * Returns the id of a schedule entry for `at`, in milliseconds since 1970. Ids sort by time. `unique` makes the id
 * different from all others, so that deleting one entry never deletes another.
 */
export function entryId(at: number, unique: string): string {
  return `${String(Math.max(0, Math.floor(at))).padStart(DIGITS, "0")}-${unique}`;
}

/** Returns the time of an entry in milliseconds since 1970. */
export function entryTime(due: string): number {
  return Number(due.slice(0, DIGITS));
}

/** Adds an entry to the schedule. */
export async function addEntry(storage: Storage, due: string, memberId: string): Promise<void> {
  await storage.put(dueKey(due, memberId), {});
}

/** Deletes an entry from the schedule, if it exists. */
export async function deleteEntry(storage: Storage, due: string, memberId: string): Promise<void> {
  await storage.delete(dueKey(due, memberId));
}

/** A schedule entry that the record does not name yet. */
export interface Reservation {
  readonly memberId: string;
  /** Id of the entry. */
  readonly due: string;
  /** Whether the entry was added. It is not if the portal has an earlier one. */
  readonly isAdded: boolean;
  /** The record as it was before the entry was added. */
  readonly before: Entry<PortalRecord> | null;
}

/** Options of the functions that write schedule entries. */
interface ScheduleOptions {
  readonly storage: Storage;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Returns a fresh, unique string. */
  readonly random: () => string;
  readonly log: Logger;
}

/** Adds an entry for `at`, in milliseconds since 1970, unless the portal has an earlier one. */
export async function reserveEntry(
  { storage, random }: ScheduleOptions,
  memberId: string,
  at: number,
  before: Entry<PortalRecord> | null,
): Promise<Reservation> {
  const due = entryId(at, random());
  const current = readRecord(before)?.due;
  const isAdded = current === undefined || current > due;
  if (isAdded) await addEntry(storage, due, memberId);
  return { memberId, due, isAdded, before };
}

/**
 * Writes the record that `change` returns, which may name the reserved entry, and deletes the entry if it does not.
 * `change` receives the record and the id of the entry, and may run several times.
 */
export async function commitEntry(
  options: ScheduleOptions,
  { memberId, due, isAdded, before }: Reservation,
  change: (record: PortalRecord | undefined, due: string) => PortalRecord | undefined,
): Promise<Entry<PortalRecord> | null> {
  const { storage, clock, log } = options;
  let isOutdated = false;
  const written = await updateEntry<PortalRecord>(storage, portalKey(memberId), (entry) => {
    const next = change(readRecord(entry), due);
    // A process that wrote the record since then may have deleted the entry as orphaned.
    isOutdated = next?.due === due && !(isAdded && entry?.version === before?.version);
    return isOutdated ? undefined : next;
  }, before);
  const isNamed = written?.value.due === due;
  if (isAdded && !isNamed) await deleteEntry(storage, due, memberId);
  if (isOutdated) {
    return await commitEntry(options, await reserveEntry(options, memberId, entryTime(due), written), change);
  }
  // Without a record, an entry counts as orphaned after some time. If this process was paused, it may be deleted by now.
  if (isAdded && isNamed && before === null && clock() >= entryTime(due)) await addEntry(storage, due, memberId);
  if (isNamed) log.debug("portal scheduled", { event: "portal.scheduled", memberId, at: entryTime(due) });
  return written;
}

/** Returns the record with one more delivery, and with the schedule entry `due` unless it names an earlier one. */
export function withNextDelivery(record: PortalRecord, due: string): PortalRecord {
  const next = { ...record, inboxSequence: (record.inboxSequence ?? 0) + 1 };
  if (record.due === undefined || record.due === due) return { ...next, due };
  if (record.due < due) return next;
  return { ...next, due, supersededDue: [...record.supersededDue ?? [], record.due] };
}

/** A change of a portal that causes work. */
export interface ScheduledChange {
  /** When the work is due, in milliseconds since 1970. */
  readonly at: number;
  /**
   * Returns the changed record; `undefined` if there is nothing to change, so that nothing is written.
   *
   * @default the record itself
   */
  readonly change?: (record: PortalRecord) => PortalRecord | undefined;
  /** The record, if it was just read. */
  readonly entry?: Entry<PortalRecord> | null;
}

/**
 * Changes a stored portal, and schedules it for `at`, or earlier if it is scheduled earlier. It is counted like a delivery,
 * so that a holder of the lease sees it before it releases the portal.
 */
export async function schedulePortal(
  options: ScheduleOptions,
  memberId: string,
  { at, change = (record) => record, entry }: ScheduledChange,
): Promise<void> {
  const before = entry === undefined ? await options.storage.get<PortalRecord>(portalKey(memberId)) : entry;
  if (before === null) return;
  await commitEntry(options, await reserveEntry(options, memberId, at, before), (record, due) => {
    const next = record && change(record);
    return next && withNextDelivery(next, due);
  });
}

/**
 * Releases a portal and leaves it with one schedule entry for `nextAt`, or with none. `release` writes the record with
 * the id of that entry, and resolves to whether it released the portal.
 *
 * An existing entry is kept if its time is in the second half of the wait until `nextAt`: a useless look at a portal now
 * and then costs less than an entry for each event.
 */
export async function rescheduleEntry(
  { storage, clock, random, log }: ScheduleOptions,
  { memberId, due, supersededDue = [] }: PortalRecord,
  nextAt: number | undefined,
  release: (due: string | undefined) => Promise<boolean>,
): Promise<boolean> {
  const now = clock();
  const existing = due === undefined ? supersededDue : [...supersededDue, due];
  const fits = (at: number): boolean => nextAt !== undefined && at <= nextAt && at - now >= (nextAt - now) / 2;
  const kept = existing.find((id) => fits(entryTime(id)));
  const added = nextAt === undefined || kept !== undefined ? undefined : entryId(nextAt, random());
  if (added !== undefined) await addEntry(storage, added, memberId);
  const next = kept ?? added;
  const isReleased = await release(next);
  if (isReleased && next !== undefined) {
    log.debug("portal scheduled", { event: "portal.scheduled", memberId, at: entryTime(next) });
  }
  const unnamed = isReleased ? existing.filter((id) => id !== next) : added === undefined ? [] : [added];
  await Promise.all(unnamed.map((id) => deleteEntry(storage, id, memberId)));
  return isReleased;
}

/** Lists the entries that are due at `now`, the earliest first. Their keys contain everything; values are not read. */
export async function* listDue(storage: Storage, now: number): AsyncGenerator<ScheduleEntry> {
  for await (const key of listKeys(storage, SCHEDULE)) {
    const entry = entryOf(key);
    if (entryTime(entry.due) > now) return;
    yield entry;
  }
}

function entryOf(key: Key): ScheduleEntry {
  const [, due, memberId] = key as readonly [string, string, string];
  return { key, memberId, due };
}
