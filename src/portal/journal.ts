/**
 * The journal of an upgrade in a run: its finished steps, in chunks under keys of their own, so that a step is one write that
 * does not depend on what else is stored of the portal.
 *
 * A chunk is written by compare-and-set, and a full one never again. So the next holder of a portal's lease first rewrites the
 * last chunk, or creates the next one: then the former holder's next write, which is of that chunk, does not succeed.
 */
import { FormatError, StorageError } from "../errors.ts";
import type { Entry, Key, Storage, WriteOperation } from "../storage/storage.ts";
import { writeInOrder } from "../storage/write.ts";
import { journalKey, journalPrefix } from "./keys.ts";
import type { PortalLease } from "./lease.ts";

/**
 * When work was recorded, in milliseconds since 1970, how long it took, in milliseconds, and the number of failed attempts, if
 * there were some. Of pages: since the first one began, and of all of them. A number: it is not known how long it took.
 */
export type EntryTime = number | readonly [at: number, tookMs: number, failed?: number];

/** A record of one step. Of several entries with the same name the last one holds. `at`: milliseconds since 1970. */
export type JournalEntry =
  | readonly [name: string, time: EntryTime, kind: "step", result?: unknown]
  /** The result of the step is under a key of its own, which ends with `unique`. */
  | readonly [name: string, time: EntryTime, kind: "large", unique: string]
  /** `page` pages are finished, with `done` items, and the next one has `cursor`. */
  | readonly [name: string, time: EntryTime, kind: "page", page: number, done: number, cursor: unknown]
  | readonly [name: string, time: EntryTime, kind: "pages", page: number, done: number]
  | readonly [name: string, at: number, kind: "sleep", wakeAt: number]
  /** Rolled back by its `undo`. */
  | readonly [name: string, at: number, kind: "undone"];

/** A chunk as it is stored. */
interface Chunk {
  readonly format: typeof JOURNAL_FORMAT;
  readonly entries: readonly JournalEntry[];
}

/** Raised if older code would misread a journal. */
export const JOURNAL_FORMAT = 1;

/** Maximum number of entries of a chunk. */
const MAX_ENTRIES = 16;

/** Length of the JSON of a chunk from which on it is full, so that it stays below 4 KiB unless names or cursors are long. */
const FULL_LENGTH = 3072;

/** Identifies a journal. */
export interface JournalId {
  readonly memberId: string;
  readonly runId: string;
  readonly upgradeId: string;
}

/** The journal of an upgrade, in the hands of the holder of the portal's lease. */
export interface Journal {
  readonly id: JournalId;
  /** Returns the last entry of a step. */
  readonly get: (name: string) => JournalEntry | undefined;
  /** Returns the last entry of each step, in the order in which they were recorded. */
  readonly entries: () => readonly JournalEntry[];
  /** Returns the number of finished steps and pages. */
  readonly finished: () => number;
  /**
   * Records an entry. `before` is written before it, in the same ordered write. Reads the portal's record meanwhile, so that
   * no further step starts if the app was removed from the portal.
   *
   * @throws {LeaseLostError} if another process has taken the lease; the entry is not recorded
   */
  readonly append: (entry: JournalEntry, before?: readonly WriteOperation[]) => Promise<void>;
}

/** Options of the functions that return a journal. */
export interface JournalOptions {
  readonly storage: Storage;
  readonly lease: Pick<PortalLease, "reread">;
}

/** Returns the journal of an upgrade that its run has not started before. Reads and writes nothing. */
export function newJournal(options: JournalOptions, id: JournalId): Journal {
  return journalFrom(options, id, []);
}

/**
 * Returns the journal of an upgrade that its run has started before, after excluding earlier holders of the lease: none of
 * them can record a step from now on.
 *
 * @throws {FormatError} if newer code wrote it
 */
export async function openJournal(options: JournalOptions, id: JournalId): Promise<Journal> {
  return journalFrom(options, id, await takeOver(options, id));
}

/**
 * Returns all entries of the journals of a run by upgrade, in the order in which they were recorded.
 *
 * @throws {FormatError} if newer code wrote one of them
 */
export async function readJournals(
  storage: Storage,
  memberId: string,
  runId: string,
): Promise<ReadonlyMap<string, readonly JournalEntry[]>> {
  const journals = new Map<string, JournalEntry[]>();
  for await (const chunk of storage.list<Chunk>([...journalPrefix(memberId), runId])) {
    const upgradeId = chunk.key[3]!;
    journals.set(upgradeId, [...journals.get(upgradeId) ?? [], ...entriesOf(chunk)]);
  }
  return journals;
}

/** Returns whether the work of an entry is done at `now`: its step is finished, and its sleep is over. */
export function isDone(entry: JournalEntry, now: number): boolean {
  const [, , kind] = entry;
  return kind === "sleep" ? entry[3] <= now : kind !== "page" && kind !== "undone";
}

/** The last chunk of a journal, as its holder knows it. */
interface Tail {
  readonly n: number;
  readonly entries: readonly JournalEntry[];
  /** `null`: it does not exist yet. */
  readonly version: string | null;
}

function journalFrom(options: JournalOptions, id: JournalId, chunks: readonly Entry<Chunk>[]): Journal {
  const { storage, lease } = options;
  let steps: Map<string, JournalEntry>;
  /** `undefined`: a write has failed, and may have been applied. */
  let tail: Tail | undefined;

  function load(chunks: readonly Entry<Chunk>[]): Tail {
    steps = new Map();
    for (const entry of chunks.flatMap(entriesOf)) setLast(steps, entry);
    const last = chunks.at(-1);
    const version = last?.version ?? null;
    return tail = { n: Math.max(0, chunks.length - 1), entries: last?.value.entries ?? [], version };
  }

  async function write(entry: JournalEntry, before: readonly WriteOperation[]): Promise<boolean> {
    const next = withEntry(tail ?? load(await takeOver(options, id)), entry);
    tail = undefined;
    const value = chunkOf(next.entries);
    const put: WriteOperation = { put: keyOf(id, next.n), value, ifVersion: next.version };
    const result = await writeInOrder(storage, [...before, put]);
    if (!result.ok) return false;
    tail = { ...next, version: result.versions.at(-1)! };
    setLast(steps, entry);
    return true;
  }

  load(chunks);
  return {
    id,
    get: (name) => steps.get(name),
    entries: () => [...steps.values()],
    finished: () => [...steps.values()].reduce((sum, entry) => sum + finishedBy(entry), 0),
    append: async (entry, before = []) => {
      const reread = lease.reread();
      // The outcome of the write is known first.
      reread.catch(() => {});
      for (let attempt = 0; !await write(entry, before); attempt++) {
        // Either the lease is lost, or a former holder, which did not know that it was one, took the journal over.
        await lease.reread();
        if (attempt === MAX_ATTEMPTS) throw refusedTooOften(id);
      }
      await reread;
    },
  };
}

/** Returns the chunk with one more entry: the same one, or the next one if it is full. */
function withEntry({ n, entries, version }: Tail, entry: JournalEntry): Tail {
  if (isFull(entries)) return { n: n + 1, entries: [entry], version: null };
  const [name, , kind] = entry;
  const last = entries.at(-1);
  // A step has any number of pages, and only the last one is needed.
  const isNextPage = last?.[0] === name && last[2] === "page" && (kind === "page" || kind === "pages");
  return { n, entries: [...isNextPage ? entries.slice(0, -1) : entries, entry], version };
}

function isFull(entries: readonly JournalEntry[]): boolean {
  return entries.length >= MAX_ENTRIES || JSON.stringify(chunkOf(entries)).length >= FULL_LENGTH;
}

function chunkOf(entries: readonly JournalEntry[]): Chunk {
  return { format: JOURNAL_FORMAT, entries };
}

/** Moves the step to the end, as recorded last. */
function setLast(steps: Map<string, JournalEntry>, entry: JournalEntry): void {
  steps.delete(entry[0]);
  steps.set(entry[0], entry);
}

function finishedBy(entry: JournalEntry): number {
  return entry[2] === "page" || entry[2] === "pages" ? entry[3] : 1;
}

function keyOf({ memberId, runId, upgradeId }: JournalId, n: number): Key {
  return journalKey(memberId, runId, upgradeId, n);
}

/** Each refused write means that the former holder of the lease wrote, and it writes only until it notices. */
const MAX_ATTEMPTS = 100;

function refusedTooOften({ memberId, upgradeId }: JournalId): StorageError {
  const problem = `other processes wrote it ${MAX_ATTEMPTS} times in a row`;
  return new StorageError(`cannot write the journal of upgrade "${upgradeId}" of portal ${memberId}: ${problem}`);
}

/** Excludes the former holders of the lease from a journal, and returns its chunks. */
async function takeOver({ storage, lease }: JournalOptions, id: JournalId): Promise<readonly Entry<Chunk>[]> {
  const chunks = await fence(storage, id);
  // If the lease is lost, its next holder may have done the same before.
  await lease.reread();
  return chunks;
}

/**
 * Rewrites the last chunk of a journal, or creates the next one if that is full or absent, and returns all chunks. No
 * process that has read the journal before can write it afterwards.
 */
async function fence(storage: Storage, id: JournalId): Promise<readonly Entry<Chunk>[]> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const chunks = await Array.fromAsync(storage.list<Chunk>(keyOf(id, 0).slice(0, -1)));
    for (const chunk of chunks) entriesOf(chunk);
    // A listing is no snapshot: chunks may have been written meanwhile.
    const isWhole = chunks.every(({ key }, n) => key.at(-1) === keyOf(id, n).at(-1)) &&
      chunks.slice(0, -1).every(({ value }) => isFull(value.entries));
    if (!isWhole) continue;
    const last = chunks.at(-1);
    const isNew = last === undefined || isFull(last.value.entries);
    const key = isNew ? keyOf(id, chunks.length) : last.key;
    const value = isNew ? chunkOf([]) : last.value;
    const result = await storage.put(key, value, { ifVersion: isNew ? null : last.version });
    if (result.ok) return [...isNew ? chunks : chunks.slice(0, -1), { key, value, version: result.version }];
  }
  throw refusedTooOften(id);
}

/** @throws {FormatError} if newer code wrote the chunk */
function entriesOf({ key, value: { format, entries } }: Entry<Chunk>): readonly JournalEntry[] {
  if (format !== JOURNAL_FORMAT) throw new FormatError(`journal ${key.slice(1).join(" ")}`, format, JOURNAL_FORMAT);
  return entries;
}
