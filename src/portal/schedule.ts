/**
 * Which portals have work, and from when on: an index beside the records, so that finding work costs what there is to
 * do. An entry that no record speaks of is harmless; a record that has work and no entry would be forgotten.
 */
import { StorageError } from "../errors.ts";
import { modify } from "../storage/modify.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { portalKey, type PortalRecord, readRecord } from "./record.ts";

/** One portal that has work. */
export interface Due {
  readonly key: Key;
  readonly memberId: string;
  /** As the portal's record has it, if the two agree. */
  readonly due: string;
}

const SCHEDULE = ["due"] as const;
/** Of the time in milliseconds since 1970, up to the year 5138. */
const DIGITS = 14;

/**
 * A time from which on a portal is to be looked at, in milliseconds since 1970, as a text that sorts by time. `unique` is
 * a text that nothing else has: who takes his own entry away must not take another's with it.
 */
export function dueAt(at: number, unique: string): string {
  return `${String(Math.max(0, Math.floor(at))).padStart(DIGITS, "0")}-${unique}`;
}

/** The time of which {@linkcode dueAt} made `due`. */
export function timeOf(due: string): number {
  return Number(due.slice(0, DIGITS));
}

function dueKey(due: string, memberId: string): Key {
  return [...SCHEDULE, due, memberId];
}

/** Has the portal looked at from `due` on. */
export async function schedule(storage: Storage, due: string, memberId: string): Promise<void> {
  await storage.put(dueKey(due, memberId), {});
}

/** Takes back what {@linkcode schedule} did. */
export async function unschedule(storage: Storage, due: string, memberId: string): Promise<void> {
  await storage.delete(dueKey(due, memberId));
}

/**
 * Puts a portal that is to have work at `due` into the schedule, before its record says so. `record` is what was read of
 * it: one that is due by then needs no more. Resolves to whether it did; {@linkcode writeDue} wants to know.
 */
export async function planVisit(
  storage: Storage,
  memberId: string,
  due: string,
  record: PortalRecord | undefined,
): Promise<boolean> {
  const isPlanned = record?.due === undefined || record.due > due;
  if (isPlanned) await schedule(storage, due, memberId);
  return isPlanned;
}

/** Applies `change`, after which the portal may be due at `due`, and makes schedule and record agree. */
export async function writeDue(
  core: { readonly storage: Storage; readonly clock: () => number },
  memberId: string,
  { due, isPlanned }: { readonly due: string; readonly isPlanned: boolean },
  change: (record: PortalRecord | undefined) => PortalRecord | undefined,
  known?: Entry<PortalRecord> | null,
): Promise<Entry<PortalRecord> | null> {
  const { storage, clock } = core;
  let isMissing = false;
  const written = await modify<PortalRecord>(storage, portalKey(memberId), (entry) => {
    const next = change(readRecord(entry));
    // Whoever was at the portal has left it since, and has taken along what the schedule had. Were the record written
    // first, a crash would leave it due at a time of which the schedule does not know, and nobody would come.
    isMissing = !isPlanned && next?.due === due;
    return isMissing ? undefined : next;
  }, known);
  if (isMissing) {
    await schedule(storage, due, memberId);
    return await writeDue(core, memberId, { due, isPlanned: true }, change, written);
  }
  const isDue = written?.value.due === due;
  // Had this process stood still, somebody may have found an entry without work, and have removed it.
  if (isPlanned && isDue && clock() >= timeOf(due)) await schedule(storage, due, memberId);
  if (isPlanned && !isDue) await unschedule(storage, due, memberId);
  return written;
}

/** The record of a portal that has one more delivery, and is to be looked at from `due` on. */
export function arrived(record: PortalRecord, due: string): PortalRecord {
  const earliest = record.due !== undefined && record.due < due ? record.due : due;
  return { ...record, arrivals: (record.arrivals ?? 0) + 1, due: earliest };
}

/** The portals that are due at `now`, the longest waiting ones first. */
export async function* listDue(storage: Storage, now: number): AsyncGenerator<Due> {
  let after: Key | undefined;
  while (true) {
    try {
      for await (const { key } of storage.list(SCHEDULE, after === undefined ? {} : { after })) {
        const due = dueOf(key);
        if (timeOf(due.due) > now) return;
        yield due;
      }
      return;
    } catch (error) {
      // The key says all that there is to know: what cannot be decrypted must not keep the others from their turn.
      if (!(error instanceof StorageError) || error.unreadableKey === undefined) throw error;
      after = error.unreadableKey;
      const due = dueOf(after);
      if (timeOf(due.due) > now) return;
      yield due;
    }
  }
}

function dueOf(key: Key): Due {
  const [, due, memberId] = key as readonly [string, string, string];
  return { key, memberId, due };
}
