/** The finished runs of portals. Their steps stay in their journals, where a rollback finds them. */
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import { listKeys } from "../storage/list_keys.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { readJournals } from "./journal.ts";
import { journalPrefix, resultPrefix, runKey, runPrefix } from "./keys.ts";
import type { PortalLease } from "./lease.ts";
import type { AppliedUpgrade } from "./portal.ts";
import type { OpenRun, PortalRecord } from "./record.ts";
import type { RecordChange } from "./record_store.ts";

/** A finished run as it is stored. */
export interface StoredRun {
  readonly format: typeof RUN_FORMAT;
  /** The ids of a portal's runs sort in their order. */
  readonly id: string;
  /** Number of the installation. */
  readonly generation: number;
  /** Version of the portal when the run started. */
  readonly from: string;
  /** Version that the run reached. */
  readonly to: string;
  /** In milliseconds since 1970. */
  readonly startedAt: number;
  /** In milliseconds since 1970. */
  readonly finishedAt: number;
  /** Ids of the upgrades that it has started, in this order: those with a journal. */
  readonly upgrades: readonly string[];
  /** The upgrades that were applied, also those that were skipped, in order. */
  readonly applied: readonly AppliedUpgrade[];
  /** Number of calls that its upgrades have made, by name; absent if they made none. */
  readonly calls?: Readonly<Record<string, number>>;
  /** When its rollback ended, in milliseconds since 1970; absent if it was not rolled back. */
  readonly rolledBackAt?: number;
}

/** Raised if older code would misread a run. */
export const RUN_FORMAT = 1;

/** Number of finished runs that are kept for each portal. */
const MAX_RUNS = 20;

/** Returns the change that moves the version to `version`, the target of the run, and the run to the history. */
export function withRunFinished(record: PortalRecord, version: string, finishedAt: number): RecordChange {
  const { failure: _f, run, blocked: _b, mayPassPause: _p, ...rest } = record;
  // Upgrades up to the version are not due, so which of them were applied decides nothing.
  const finished = { ...rest, version, applied: [] };
  if (run === undefined) return { record: finished };
  const { id, from, startedAt, upgrades, calls } = run;
  const { memberId, generation, applied } = record;
  const name = nameOf(run, record);
  const value: StoredRun = {
    ...{ format: RUN_FORMAT, id, generation, from, to: version, startedAt, finishedAt, upgrades, applied },
    ...defined({ calls }),
  };
  return {
    record: { ...finished, runs: runsWith(record, name) },
    before: [{ put: runKey(memberId, name), value }],
  };
}

/**
 * Returns the name under which the holder of the lease stores the finished run. A former holder, which may have finished the
 * run with fewer upgrades, uses another one, which no record names. It is deleted with the runs of its time.
 */
function nameOf({ id }: OpenRun, { fencingToken = 0 }: PortalRecord): string {
  return `${id}-${fencingToken}`;
}

/** Returns the id of the run that is stored under a name. */
function idOf(name: string): string {
  return name.split("-")[0]!;
}

/** Returns the names of the finished runs that are kept once the run with this name has finished. */
function runsWith({ runs = [] }: PortalRecord, name: string): readonly string[] {
  return [...runs.filter((other) => idOf(other) !== idOf(name)), name].slice(-MAX_RUNS);
}

/**
 * Returns the finished runs of a portal, the latest first.
 *
 * @throws {FormatError} if newer code wrote one of them
 */
export async function listRuns(storage: Storage, { memberId, runs = [] }: PortalRecord): Promise<StoredRun[]> {
  const found: StoredRun[] = [];
  for await (const entry of storage.list<StoredRun>(runPrefix(memberId))) {
    if (runs.includes(entry.key.at(-1)!)) found.push(runOf(entry));
  }
  return found.reverse();
}

/**
 * Returns the latest finished run of a portal.
 *
 * @throws {FormatError} if newer code wrote it
 */
export async function latestRun(
  storage: Storage,
  { memberId, runs = [] }: PortalRecord,
): Promise<StoredRun | undefined> {
  const name = runs.at(-1);
  const entry = name === undefined ? null : await storage.get<StoredRun>(runKey(memberId, name));
  return entry === null ? undefined : runOf(entry);
}

/** Marks a finished run of a portal as rolled back at `at`, in milliseconds since 1970. One that never finished is not stored. */
export async function markRolledBack(
  storage: Storage,
  { memberId, runs = [] }: PortalRecord,
  runId: string,
  at: number,
): Promise<void> {
  const name = runs.find((name) => idOf(name) === runId);
  if (name === undefined) return;
  await updateEntry<StoredRun>(
    storage,
    runKey(memberId, name),
    (entry) => entry === null ? undefined : { ...runOf(entry), rolledBackAt: at },
  );
}

/** @throws {FormatError} if newer code wrote the run */
function runOf({ key, value }: Entry<StoredRun>): StoredRun {
  if (value.format !== RUN_FORMAT) throw new FormatError(`run ${key.slice(1).join(" ")}`, value.format, RUN_FORMAT);
  return value;
}

/**
 * Deletes what is stored of runs that are older than those that are kept once the current run has finished, also of runs that
 * were rolled back or abandoned. Reads nothing as long as all finished ones are kept.
 */
export async function deleteOldRuns(storage: Storage, record: PortalRecord): Promise<void> {
  const { memberId, run, runs = [] } = record;
  if (run === undefined || runs.length < MAX_RUNS) return;
  const kept = idOf(runsWith(record, nameOf(run, record)).toSorted()[0]!);
  for (const prefix of stepsAndRuns(memberId)) {
    for await (const key of listKeys(storage, prefix)) {
      if (key[2]! >= kept) break;
      await storage.delete(key);
    }
  }
}

/**
 * Deletes the step results of the open run that its journals do not name: an attempt ended between the two. Reads nothing if no
 * upgrade of the run was started again. Its caller has excluded former holders of the lease.
 */
export async function deleteUnnamedResults(
  storage: Storage,
  { record, reread }: Pick<PortalLease, "record" | "reread">,
): Promise<void> {
  const { memberId, run } = record();
  if (run?.isResumed !== true) return;
  const keys = await Array.fromAsync(listKeys(storage, [...resultPrefix(memberId), run.id]));
  if (keys.length === 0) return;
  // None of them is one that the next holder of the lease is about to name.
  await reread();
  const entries = [...(await readJournals(storage, memberId, run.id)).values()].flat();
  const named = new Set(entries.map(([, , kind, unique]) => kind === "large" ? unique : undefined));
  for (const key of keys) if (!named.has(key.at(-1)!)) await storage.delete(key);
}

/** Deletes the finished runs of a portal, its journals, and the stored results of steps. */
export async function deleteRuns(storage: Storage, memberId: string): Promise<void> {
  for (const prefix of stepsAndRuns(memberId)) {
    for await (const key of listKeys(storage, prefix)) await storage.delete(key);
  }
}

/** Returns the prefixes of keys whose third part starts with the id of a run: what a run refers to comes after it. */
function stepsAndRuns(memberId: string): readonly Key[] {
  return [runPrefix(memberId), journalPrefix(memberId), resultPrefix(memberId)];
}
