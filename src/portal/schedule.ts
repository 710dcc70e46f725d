/**
 * Which portals have work, and from when on: an index beside the records, so that finding work costs what there is to
 * do. An entry that no record speaks of is harmless; a record that has work and no entry would be forgotten.
 */
import { modify } from "../storage/modify.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { portalKey, type PortalRecord, readRecord } from "./record.ts";

/** One portal that has work. */
export interface Due {
  readonly key: Key;
  readonly memberId: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

const SCHEDULE = ["due"] as const;

/** In order of time as text, up to the year 5138. */
function dueKey(at: number, memberId: string): Key {
  return [...SCHEDULE, String(Math.max(0, Math.floor(at))).padStart(14, "0"), memberId];
}

/** Has the portal looked at from `at` on. */
export async function schedule(storage: Storage, at: number, memberId: string): Promise<void> {
  await storage.put(dueKey(at, memberId), {});
}

/** Takes back what {@linkcode schedule} did. */
export async function unschedule(storage: Storage, at: number, memberId: string): Promise<void> {
  await storage.delete(dueKey(at, memberId));
}

/**
 * Puts a portal that is to have work at `at` into the schedule, before its record says so. `record` is what was read of
 * it: one that is due by then needs no more. Resolves to whether it did; {@linkcode writeDue} wants to know.
 */
export async function planVisit(
  storage: Storage,
  memberId: string,
  at: number,
  record: PortalRecord | undefined,
): Promise<boolean> {
  const isPlanned = record?.due === undefined || record.due > at;
  if (isPlanned) await schedule(storage, at, memberId);
  return isPlanned;
}

/** Applies `change`, after which the portal may be due at `at`, and makes schedule and record agree. */
export async function writeDue(
  core: { readonly storage: Storage; readonly clock: () => number },
  memberId: string,
  { at, isPlanned }: { readonly at: number; readonly isPlanned: boolean },
  change: (record: PortalRecord | undefined) => PortalRecord | undefined,
  known?: Entry<PortalRecord> | null,
): Promise<Entry<PortalRecord> | null> {
  const { storage, clock } = core;
  let isMissing = false;
  const written = await modify<PortalRecord>(storage, portalKey(memberId), (entry) => {
    const next = change(readRecord(entry));
    // Whoever was at the portal has left it since, and has taken along what the schedule had. Were the record written
    // first, a crash would leave it due at a time of which the schedule does not know, and nobody would come.
    isMissing = !isPlanned && next?.due === at;
    return isMissing ? undefined : next;
  }, known);
  if (isMissing) {
    await schedule(storage, at, memberId);
    return await writeDue(core, memberId, { at, isPlanned: true }, change, written);
  }
  const isDue = written?.value.due === at;
  // Had this process stood still, somebody may have found an entry without work, and have removed it.
  if (isPlanned && isDue && clock() >= at) await schedule(storage, at, memberId);
  if (isPlanned && !isDue) await unschedule(storage, at, memberId);
  return written;
}

/** The record of a portal that has one more delivery, and is to be looked at from `at` on. */
export function arrived(record: PortalRecord, at: number): PortalRecord {
  return { ...record, arrivals: (record.arrivals ?? 0) + 1, due: Math.min(record.due ?? at, at) };
}

/** The portals that are due at `now`, the longest waiting ones first. */
export async function* listDue(storage: Storage, now: number): AsyncGenerator<Due> {
  for await (const { key } of storage.list(SCHEDULE)) {
    const at = Number(key[1]);
    if (at > now) return;
    yield { key, memberId: key[2]!, at };
  }
}
