/**
 * The schedule: which portals have work, and from when on. It is an index beside the records, so that the cost of finding
 * work depends on how much is due, not on the number of portals.
 *
 * An entry and the record that names it are two keys of one ordered write, the entry first. A crash between the two leaves
 * an orphaned entry, which costs one look at the portal; in the other order it would leave work that nobody finds. The record
 * is written only if it is as it was before the entry was put; otherwise its writer tries again with another entry. So once
 * another process has written the record, no one will name an orphaned entry, and it can be deleted.
 */
import type { Logger } from "../logger.ts";
import { listKeys } from "../storage/list_keys.ts";
import type { Entry, Key, Storage, WriteOperation } from "../storage/storage.ts";
import { dueKey, SCHEDULE } from "./keys.ts";
import type { PortalRecord } from "./record.ts";
import { type RecordChange, writeRecord } from "./record_store.ts";

/** An entry of the schedule: a portal has work from some time on. */
export interface ScheduleEntry {
  readonly key: Key;
  readonly memberId: string;
  /** Id of the entry. The record of the portal has the same one, unless the entry is orphaned. */
  readonly due: string;
}

/** Digits of a time in milliseconds since 1970, up to the year 5138. */
const DIGITS = 14;

/** The last time that an entry can have. More digits would not sort: an entry that is never due would hide those after it. */
const LAST_TIME = 10 ** DIGITS - 1;

/**
 * Returns the id of a schedule entry for `at`, in milliseconds since 1970. Ids sort by time. `unique` makes the id
 * different from all others, so that deleting one entry never deletes another.
 */
export function entryId(at: number, unique: string): string {
  return `${String(Math.min(LAST_TIME, Math.max(0, Math.floor(at)))).padStart(DIGITS, "0")}-${unique}`;
}

/** Returns the time of an entry in milliseconds since 1970. */
export function entryTime(due: string): number {
  return Number(due.slice(0, DIGITS));
}

/** Returns a fresh, unique string. */
type Random = () => string;

/** The portal's record with the work of one more delivery, or other work, that is due at `at`; see {@linkcode scheduled}. */
export function withWork(record: PortalRecord, at: number, random: Random): RecordChange {
  return scheduled({ ...record, inboxSequence: (record.inboxSequence ?? 0) + 1 }, at, random);
}

/**
 * Returns the change that schedules a portal for `at`, in milliseconds since 1970, unless it is scheduled by then. Each call
 * makes an entry of its own.
 */
export function scheduled(record: PortalRecord, at: number, random: Random): RecordChange {
  const { memberId, due: existing } = record;
  if (existing !== undefined && entryTime(existing) <= at) return { record };
  const due = entryId(at, random());
  return {
    record: { ...record, due },
    before: [putEntry(due, memberId)],
    after: existing === undefined ? [] : [{ delete: dueKey(existing, memberId) }],
  };
}

/**
 * Returns `change` with a schedule entry for `at` that the record does not name, unless it puts one anyway: after a crash in
 * the middle of it, a tick looks for what the record does not know of. Otherwise the tick deletes the entry.
 */
export function withLookout(change: RecordChange, at: number, random: Random): RecordChange {
  const { record: { memberId }, before = [] } = change;
  if (before.some((operation) => "put" in operation && operation.put[0] === SCHEDULE[0])) return change;
  return { ...change, before: [putEntry(entryId(at, random()), memberId), ...before] };
}

/**
 * Returns the change that leaves a portal with one schedule entry for `nextAt`, or with none. Times in milliseconds since
 * 1970.
 *
 * An existing entry is kept if its time is in the second half of the wait until `nextAt`: a useless look at a portal now
 * and then costs less than an entry for each event.
 */
export function rescheduled(
  { due: existing, ...record }: PortalRecord,
  nextAt: number | undefined,
  now: number,
  random: Random,
): RecordChange {
  const { memberId } = record;
  const at = existing === undefined ? NaN : entryTime(existing);
  if (nextAt !== undefined && at <= nextAt && at - now >= (nextAt - now) / 2) {
    return { record: { ...record, due: existing! } };
  }
  const after: WriteOperation[] = existing === undefined ? [] : [{ delete: dueKey(existing, memberId) }];
  if (nextAt === undefined) return { record, after };
  const due = entryId(nextAt, random());
  return { record: { ...record, due }, before: [putEntry(due, memberId)], after };
}

function putEntry(due: string, memberId: string): WriteOperation {
  return { put: dueKey(due, memberId), value: {} };
}

/** Options of the functions that write schedule entries. */
interface ScheduleOptions {
  readonly storage: Storage;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly random: Random;
  readonly log: Logger;
}

/** A change of a portal that causes work. */
export interface ScheduledChange {
  /** When the work is due, in milliseconds since 1970. */
  readonly at: number;
  /**
   * Returns the changed record; `undefined` if there is nothing to change, so that nothing is written. May be called
   * several times.
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
  const { storage, random } = options;
  let scheduled: RecordChange | undefined;
  const written = await writeRecord(storage, memberId, (record) => {
    const next = record && change(record);
    return scheduled = next && withWork(next, at, random);
  }, entry);
  if (scheduled?.before !== undefined) logScheduled(options, written!.value);
}

/** Logs that a portal has got a schedule entry. */
export function logScheduled({ log }: Pick<ScheduleOptions, "log">, { memberId, due }: PortalRecord): void {
  if (due === undefined) return;
  log.debug("portal scheduled", { event: "portal.scheduled", memberId, at: entryTime(due) });
}

/** Lists the entries that are due at `now`, the earliest first. Their keys contain everything; values are not read. */
export async function* listDue(storage: Storage, now: number): AsyncGenerator<ScheduleEntry> {
  for await (const key of listKeys(storage, SCHEDULE)) {
    const entry = scheduleEntryOf(key);
    if (entryTime(entry.due) > now) return;
    yield entry;
  }
}

/** Number of entries that are listed together. */
const PAGE_SIZE = 128;

/**
 * Lists the portals that are due at `now`, those that have been due longest first, with their due entries: more than one if
 * crashes have left some. A portal with many entries may come again.
 */
export async function* listDuePortals(
  storage: Storage,
  now: number,
): AsyncGenerator<readonly [memberId: string, entries: readonly ScheduleEntry[]]> {
  let page: ScheduleEntry[] = [];
  for await (const entry of listDue(storage, now)) {
    page.push(entry);
    if (page.length < PAGE_SIZE) continue;
    yield* byPortal(page);
    page = [];
  }
  yield* byPortal(page);
}

function byPortal(entries: readonly ScheduleEntry[]): ReadonlyMap<string, readonly ScheduleEntry[]> {
  const portals = new Map<string, ScheduleEntry[]>();
  for (const entry of entries) portals.set(entry.memberId, [...portals.get(entry.memberId) ?? [], entry]);
  return portals;
}

/** Returns the entry with this key. */
export function scheduleEntryOf(key: Key): ScheduleEntry {
  const [, due, memberId] = key as readonly [string, string, string];
  return { key, memberId, due };
}
