/**
 * Which portals have work, and from when on: an index beside the records, so that finding work costs what there is to
 * do. An entry that no record speaks of is harmless; a record that has work and no entry would be forgotten.
 */
import type { Key, Storage } from "../storage/storage.ts";
import type { PortalRecord } from "./record.ts";

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
 * Puts a portal that is to have work into the schedule while its record is not written yet: `record` is what was read of
 * it before. What it gives is to be called once the record is written, and makes entry and record agree.
 */
export async function planVisit(
  storage: Storage,
  memberId: string,
  at: number,
  record: PortalRecord | undefined,
): Promise<(now: { readonly clock: () => number }, written: PortalRecord) => Promise<void>> {
  const isPlanned = record?.due === undefined || record.due > at;
  if (isPlanned) await schedule(storage, at, memberId);
  return async ({ clock }, { due }) => {
    // Had this process stood still, somebody may have found an entry without work, and have removed it.
    if (due === at && (!isPlanned || clock() >= at)) await schedule(storage, at, memberId);
    if (due !== at && isPlanned) await unschedule(storage, at, memberId);
  };
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
