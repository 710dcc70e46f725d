/**
 * The rolling recount: repairs index entries, schedule entries and totals after crashes. Each tick looks at one page: first at
 * the index entries, then at the schedule entries, which records may no longer name, then at the records, whose index entries
 * may be missing, and counts them. Portals that cannot be read here, such as those that newer code wrote, are left to the recount
 * of other processes.
 */
import { delay } from "../async/time.ts";
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { assertRightKey, findRecord, listRecords } from "../portal/find_record.ts";
import { DELIVERIES, dueKey, INDEX, portalKey, PORTALS, RECOUNT, SCHEDULE } from "../portal/keys.ts";
import { indexKeysOf, isIndexedAs } from "../portal/portal_index.ts";
import { readCredentials } from "../portal/credentials_record.ts";
import type { PortalRecord } from "../portal/record.ts";
import { type ChangeRecord, writeRecord } from "../portal/record_store.ts";
import { entryId, type ScheduleEntry, scheduleEntryOf } from "../portal/schedule.ts";
import { addToCounts, type Counts, FLUSH_MS, readTotals, replaceTotal, shardOf, totalNames } from "../portal/totals.ts";
import { encodeKey } from "../storage/key.ts";
import { listEntries, listKeys } from "../storage/list_keys.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { isStored, isUnreadable } from "../storage/unreadable.ts";

/** Number of portals in a page. */
const PORTALS_A_PAGE = 256;
/** Number of index or schedule entries in a page. A portal has three to five in the index. */
const ENTRIES_A_PAGE = 1024;
/** Number of portals that are looked at concurrently. */
const CONCURRENCY = 32;
/** Minimum time (ms) between two rounds. */
const REST_MS = 60 * 60 * 1000;
/** Time (ms) after which every process has added the changes that it had gathered. */
const SETTLED_MS = 3 * FLUSH_MS;

/** The stored progress of a round. */
interface Progress {
  readonly format: typeof RECOUNT_FORMAT;
  /** When this was written, in milliseconds since 1970. */
  readonly at: number;
  /** The last key of the round so far; absent before the first page and after the last. */
  readonly after?: Key;
  /** The portals of the last shard so far. */
  readonly counting?: Counted;
  /**
   * Counts that differ from the total. They replace it at the next tick if it has not changed: a change of a portal may
   * have been counted whose process had not added it to the total yet.
   */
  readonly differing?: readonly Counted[];
  readonly isDone?: true;
}

/** The counted portals of a shard, and the version that its total had before; `null`: there was none. */
interface Counted {
  readonly shard: string;
  readonly counts: Counts;
  readonly version: string | null;
  /** Some of the portals cannot be read: another process counts the shard. */
  readonly isPartial?: true;
}

/** Raised if older code would misread the progress. */
const RECOUNT_FORMAT = 1;

/** The result of a page. */
type Page = Pick<Progress, "after" | "counting" | "differing" | "isDone">;

/** The recount, as one app does it. */
export interface Recount {
  /** Recounts the next page. It does nothing for an hour after a round. */
  readonly page: () => Promise<void>;
  /** Begins a new round, and resolves when it is done. */
  readonly all: () => Promise<void>;
}

/** Returns the recount of an app. */
export function createRecount(runtime: AppRuntime): Recount {
  const { storage, clock, time, signal, log } = runtime;
  let doneAt = -Infinity;

  async function page(): Promise<void> {
    if (isWithin(doneAt, clock(), REST_MS)) return;
    const entry = await storage.get<Progress>(RECOUNT);
    const progress = readProgress(entry);
    const { differing = [], at } = progress;
    if (differing.length > 0) {
      if (isWithin(at, clock(), SETTLED_MS)) return;
      for (const { shard, counts, version } of differing) {
        if (!await replaceTotal(storage, shard, counts, version)) continue;
        log.info("total repaired", { event: "recount.total_repaired", shard });
      }
    } else if (progress.isDone && isWithin(at, clock(), REST_MS)) {
      doneAt = at;
      return;
    }
    await assertRightKey(storage);
    const isRepaired = progress.isDone && differing.length > 0;
    const next = isRepaired ? { isDone: true as const } : await nextPage(runtime, progress);
    // If another process has written since, it has looked at the same page.
    const value: Progress = { format: RECOUNT_FORMAT, at: clock(), ...next };
    await storage.put(RECOUNT, value, { ifVersion: entry?.version ?? null });
  }

  return {
    page,
    all: async () => {
      await storage.delete(RECOUNT);
      doneAt = -Infinity;
      while (doneAt === -Infinity) {
        await page();
        const { differing = [], at } = readProgress(await storage.get<Progress>(RECOUNT));
        // Other processes add their changes before the totals are replaced.
        if (differing.length > 0 && isWithin(at, clock(), SETTLED_MS)) await delay(time, SETTLED_MS, signal);
      }
    },
  };
}

/** Clocks differ between processes: a time in the future is not waited for. */
function isWithin(since: number, now: number, ms: number): boolean {
  return since <= now && now - since < ms;
}

function readProgress(entry: Entry<Progress> | null): Progress {
  if (entry === null) return { format: RECOUNT_FORMAT, at: 0 };
  const { format } = entry.value;
  if (format !== RECOUNT_FORMAT) throw new FormatError("the recount", format, RECOUNT_FORMAT);
  return entry.value;
}

async function nextPage(runtime: AppRuntime, { after, counting }: Progress): Promise<Page> {
  if (after?.[0] === PORTALS[0]) return await checkPortals(runtime, after, counting);
  const isIndex = after === undefined || after[0] === INDEX[0];
  const last = isIndex ? await checkEntries(runtime, after) : undefined;
  // The records come after the last entry.
  return { after: last ?? await checkSchedule(runtime, isIndex ? undefined : after) ?? PORTALS };
}

/** Deletes the entries of a page that records do not name. Resolves to the last key; `undefined` at the end. */
async function checkEntries(runtime: AppRuntime, after: Key | undefined): Promise<Key | undefined> {
  const { storage } = runtime;
  const byPortal = new Map<string, Entry<unknown>[]>();
  let last: Key | undefined;
  let count = 0;
  for await (const entry of listEntries(storage, INDEX, { limit: ENTRIES_A_PAGE, ...defined({ after }) })) {
    const memberId = entry.key.at(-1)!;
    if (entry.version !== undefined) byPortal.set(memberId, [...byPortal.get(memberId) ?? [], entry]);
    last = entry.key;
    count++;
  }
  await forEach(runtime, byPortal, ([memberId, entries]) => deleteUnnamed(runtime, memberId, entries));
  return count < ENTRIES_A_PAGE ? undefined : last;
}

async function deleteUnnamed(
  { storage, log }: AppRuntime,
  memberId: string,
  entries: readonly Entry<unknown>[],
): Promise<void> {
  const entry = await findRecord(storage, memberId);
  if (entry === "unreadable") return;
  const record = entry?.value;
  const named = await encodedKeysOf(record);
  const unnamed = entries.filter(({ key }) => !named.has(encodeKey(key)));
  if (unnamed.length === 0) return;
  // A write that has put its new entries and not yet its record is refused from now on, and puts its entries again. That of
  // a new portal cannot be refused: if its entries are deleted, the second half of the round puts them.
  const written = await writeRecord(
    storage,
    memberId,
    (current) =>
      current !== undefined && isIndexedAs(current.indexedAs, record?.indexedAs)
        ? { record: { ...current } }
        : undefined,
  );
  if (!isIndexedAs(written?.value.indexedAs, record?.indexedAs)) return;
  for (const { key, version } of unnamed) await storage.delete(key, { ifVersion: version });
  log.info("index repaired", { event: "recount.index_repaired", memberId });
}

async function encodedKeysOf(record: PortalRecord | undefined): Promise<ReadonlySet<string>> {
  return new Set((record === undefined ? [] : await indexKeysOf(record)).map(encodeKey));
}

/** Time (ms) until which schedule entries are left to the ticks that find them. */
const SOON_MS = 60 * 60 * 1000;

/**
 * Deletes the later schedule entries of a page that records do not name. Resolves to the last key; `undefined` at the end.
 */
async function checkSchedule(runtime: AppRuntime, after: Key | undefined): Promise<Key | undefined> {
  const { storage, clock } = runtime;
  const start = after ?? [...SCHEDULE, entryId(clock() + SOON_MS, "")];
  const entries: ScheduleEntry[] = [];
  for await (const key of listKeys(storage, SCHEDULE, { limit: ENTRIES_A_PAGE, after: start })) {
    entries.push(scheduleEntryOf(key));
  }
  await forEach(
    runtime,
    entries.map((entry) => [entry.memberId, entry]),
    ([, entry]) => deleteOrphaned(runtime, entry),
  );
  return entries.length < ENTRIES_A_PAGE ? undefined : entries.at(-1)!.key;
}

/** Deletes an entry that the record does not name. If there are deliveries that it may not know of, a tick looks for them. */
async function deleteOrphaned(
  { storage, clock, random, log }: AppRuntime,
  { key, memberId, due }: ScheduleEntry,
): Promise<void> {
  const entry = await findRecord(storage, memberId);
  if (entry === "unreadable" || entry === null || entry.value.due === due) return;
  const deliveries = await Array.fromAsync(listKeys(storage, [...DELIVERIES, memberId], { limit: 1 }));
  const before = deliveries.map(() => ({ put: dueKey(entryId(clock(), random()), memberId), value: {} }));
  // A write that has put the entry and not yet its record is refused from now on, and puts another one.
  const change: ChangeRecord = (current) =>
    current === undefined || current.due === due ? undefined : { record: { ...current }, before };
  const written = await writeRecord(storage, memberId, change, entry);
  if (written === null || written.value.due === due) return;
  await storage.delete(key);
  log.info("schedule repaired", { event: "recount.schedule_repaired", memberId });
}

/** Puts the missing entries of a page of portals, and counts the portals by shard. */
async function checkPortals(runtime: AppRuntime, after: Key, started: Counted | undefined): Promise<Page> {
  const { storage } = runtime;
  // Before the records: a total that changes from now on is left for the next round.
  const totals = await readTotals(storage);
  const portals = await Array.fromAsync(listRecords(storage, { limit: PORTALS_A_PAGE, after }));
  await forEach(runtime, portals, async ([, entry]) => {
    if (entry === "unreadable") return;
    await putMissing(runtime, entry.value);
    await deleteLeftCredentials(runtime, entry.value);
  });

  const differing: Counted[] = [];
  let counting = started;
  const finish = (): void => {
    if (counting === undefined || counting.isPartial) return;
    if (!isSame(totals.get(counting.shard)?.counts ?? {}, counting.counts)) differing.push(counting);
  };
  for (const [memberId, entry] of portals) {
    const shard = shardOf(memberId);
    if (counting?.shard !== shard) {
      finish();
      counting = { shard, counts: {}, version: totals.get(shard)?.version ?? null };
    }
    if (entry === "unreadable") {
      counting = { ...counting, isPartial: true };
      continue;
    }
    const { indexedAs } = entry.value;
    if (indexedAs === undefined) continue;
    const counts = new Map(Object.entries(counting.counts));
    for (const name of totalNames(indexedAs)) addToCounts(counts, name, 1);
    counting = { ...counting, counts: Object.fromEntries(counts) };
  }
  const isDone = portals.length < PORTALS_A_PAGE;
  if (isDone) finish();
  const found = differing.length > 0 ? { differing } : {};
  return isDone ? { isDone, ...found } : { after: portalKey(portals.at(-1)![0]), ...found, ...defined({ counting }) };
}

async function putMissing({ storage, log }: AppRuntime, record: PortalRecord): Promise<void> {
  const { memberId, indexedAs } = record;
  const missing = await missingOf(storage, record);
  if (missing.length === 0 && indexedAs !== undefined) return;
  await writeRecord(
    storage,
    memberId,
    (current) =>
      current !== undefined && isIndexedAs(current.indexedAs, indexedAs)
        ? { record: { ...current }, before: missing.map((put) => ({ put, value: {} })) }
        : undefined,
  );
  log.info("index repaired", { event: "recount.index_repaired", memberId });
}

async function missingOf(storage: Storage, record: PortalRecord): Promise<Key[]> {
  const keys = await indexKeysOf(record);
  const areStored = await Promise.all(keys.map((key) => isStored(storage, key)));
  return keys.filter((_, i) => !areStored[i]);
}

function isSame(a: Counts, b: Counts): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** An item of a portal: an entry of it, its record, or its schedule entry. */
type OfPortal<T> = readonly [memberId: string, item: T];

/** Calls `work` for all items, some at a time. A portal whose entries cannot be read must not end the round. */
async function forEach<T>(
  { log }: AppRuntime,
  portals: Iterable<OfPortal<T>>,
  work: (portal: OfPortal<T>) => Promise<void>,
): Promise<void> {
  const all = [...portals];
  const tryOne = async (portal: OfPortal<T>): Promise<void> => {
    try {
      await work(portal);
    } catch (err) {
      if (!isUnreadable(err)) throw err;
      log.warn("portal not readable", { event: "recount.skipped", memberId: portal[0], err });
    }
  };
  for (let i = 0; i < all.length; i += CONCURRENCY) await Promise.all(all.slice(i, i + CONCURRENCY).map(tryOne));
}

/**
 * Deletes the credentials of a removed portal. A process that crashed may have put them after the removal was handled, on a
 * storage that does not write several entries at once: it did not come to the record, which would have been refused.
 */
async function deleteLeftCredentials({ storage, log }: AppRuntime, record: PortalRecord): Promise<void> {
  const { memberId, status, purgeAt, forgottenAt } = record;
  if (status !== "uninstalled" || (purgeAt === undefined && forgottenAt === undefined)) return;
  if (await readCredentials(storage, memberId) === null) return;
  // The write of a removed portal's record deletes the credentials that were read.
  const isRemoved = (current: PortalRecord | undefined): boolean => current?.status === "uninstalled";
  await writeRecord(storage, memberId, (current) => isRemoved(current) ? { record: { ...current! } } : undefined);
  log.info("credentials of a removed portal deleted", { event: "recount.credentials_deleted", memberId });
}
