/**
 * Totals: the numbers of portals by version and state, and by what stops them. They are not a part of the writes of portals, which would compete for
 * them: each process gathers its changes and adds them at most once a second. A crash loses what was not added yet; the
 * recount of `worker/recount.ts` repairs that.
 */
import { createMutex } from "../async/keyed_mutex.ts";
import type { Time } from "../async/time.ts";
import { defined } from "../defined.ts";
import { type BlockedReason, FormatError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { totalKey, TOTALS } from "./keys.ts";
import type { PortalState } from "./portal.ts";
import type { IndexedAs } from "./record.ts";

/** The number of portals that are on one version in one state. */
export interface PortalCount {
  /** Absent for portals whose version is not known. */
  readonly version?: string;
  /** The state of these portals. `"held"`: they are on an earlier target, and a rollout has not raised it yet. */
  readonly status: PortalState | "held";
  /** At least 1. */
  readonly count: number;
}

/** The number of portals in one state that stand still, or are tried again, for one cause. */
export interface CauseCount {
  readonly status: StuckState;
  /** The need of blocked portals. */
  readonly blockedOn?: BlockedReason;
  /** Fingerprint of the last failure; absent if there was none, or an operator has caused it by a rollback. */
  readonly fingerprint?: string;
  /** At least 1. */
  readonly count: number;
}

/** The states of portals that something stops. `upgrading`: an attempt has failed, and another one follows. */
export type StuckState = Extract<PortalState, "parked" | "blocked" | "upgrading">;

/** Numbers of portals by {@linkcode totalNames}. */
export type Counts = Readonly<Record<string, number>>;

/** The stored numbers of the portals of one shard. */
interface Total {
  readonly format: typeof TOTAL_FORMAT;
  readonly counts: Counts;
}

/** Raised if older code would misread a total. */
const TOTAL_FORMAT = 1;

/** Milliseconds that changes are gathered. */
export const FLUSH_MS = 1000;

/** Digits of `member_id` that name a shard: 256 shards, so that counting costs the same for any number of portals. */
const SHARD_DIGITS = 2;

/** Returns the shard of a portal. The shards are in the order of portals. */
export function shardOf(memberId: string): string {
  return memberId.slice(0, SHARD_DIGITS);
}

/** Begins the names of causes. No state begins with it. */
const CAUSE = "!";

/** Maximum number of causes that are counted in a shard, so that its total stays small whatever errors say. */
const MAX_CAUSES = 500;

/** Returns the names under which a portal is counted: that of its version and state, and that of its cause if it is stuck. */
export function totalNames({ state, version = "", blocked = "", fingerprint = "" }: IndexedAs): readonly string[] {
  const names = [`${state} ${version}`];
  const isStuck = state === "parked" || state === "blocked" || (state === "upgrading" && fingerprint !== "");
  if (isStuck) names.push(`${CAUSE}${state} ${state === "blocked" ? blocked : ""} ${fingerprint}`);
  return names;
}

/** Adds to a number of one shard. Further causes than are counted are left out. */
export function addToCounts(counts: Map<string, number>, name: string, times: number): void {
  const before = counts.get(name);
  if (before === undefined && isCause(name)) {
    if (times < 0 || [...counts.keys()].filter(isCause).length >= MAX_CAUSES) return;
  }
  counts.set(name, (before ?? 0) + times);
}

function isCause(name: string): boolean {
  return name.startsWith(CAUSE);
}

/** Changes that were made through one storage object, which each app has its own of, and that are not stored yet. */
interface Pending {
  /** By shard and name. */
  readonly changes: Map<string, Map<string, number>>;
  /** A count never runs while changes are being added: it would miss them or count them twice. */
  readonly mutex: ReturnType<typeof createMutex>;
  /** Called after each change. */
  readonly listeners: Set<() => void>;
}

const pendingByStorage = new WeakMap<Storage, Pending>();

function pendingOf(storage: Storage): Pending {
  const pending = pendingByStorage.get(storage) ??
    { changes: new Map(), mutex: createMutex(), listeners: new Set() };
  pendingByStorage.set(storage, pending);
  return pending;
}

/** Notes that a portal is indexed otherwise than before. */
export function noteIndexed(
  storage: Storage,
  memberId: string,
  before: IndexedAs | undefined,
  after: IndexedAs | undefined,
): void {
  const [from, to] = [before, after].map((values) => values === undefined ? [] : totalNames(values)) as [
    readonly string[],
    readonly string[],
  ];
  const [left, entered] = [from.filter((name) => !to.includes(name)), to.filter((name) => !from.includes(name))];
  if (left.length === 0 && entered.length === 0) return;
  const pending = pendingOf(storage);
  for (const name of left) add(pending, shardOf(memberId), name, -1);
  for (const name of entered) add(pending, shardOf(memberId), name, 1);
  for (const listener of pending.listeners) listener();
}

function add({ changes }: Pending, shard: string, name: string, times: number): void {
  const ofShard = changes.get(shard) ?? new Map<string, number>();
  changes.set(shard, ofShard);
  ofShard.set(name, (ofShard.get(name) ?? 0) + times);
}

/** The totals, as one app reads and changes them. */
export interface Totals {
  /**
   * Returns the counts in the order of state and version, with the changes that are not added yet.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly counts: () => Promise<PortalCount[]>;
  /**
   * Returns the causes of portals that are stuck, the most frequent first, with the changes that are not added yet.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly causes: () => Promise<CauseCount[]>;
  /** Adds the changes now. Never rejects: what cannot be added is kept for the next call. */
  readonly flush: () => Promise<void>;
  /** Adds the changes, and no longer waits for others. */
  readonly close: () => Promise<void>;
}

/** Options of {@linkcode createTotals}. */
export interface TotalsOptions {
  readonly storage: Storage;
  readonly time: Pick<Time, "setTimer">;
  readonly log: Logger;
}

/** Returns the totals. From now on, changes that are made through this storage object are added within a second. */
export function createTotals({ storage, time, log }: TotalsOptions): Totals {
  const pending = pendingOf(storage);
  const { changes, mutex, listeners } = pending;
  let cancel: (() => void) | undefined;

  async function flush(): Promise<void> {
    await mutex(async () => {
      const taken = [...changes];
      changes.clear();
      await Promise.all(taken.map(async ([shard, ofShard]) => {
        try {
          await addToShard(storage, shard, ofShard);
        } catch (err) {
          // If this was stored in spite of the error, it is added twice, until the recount.
          for (const [name, times] of ofShard) add(pending, shard, name, times);
          log.warn("failed to add to totals", { event: "totals.add_failed", shard, err });
        }
      }));
    });
  }

  const arm = (): void => {
    cancel ??= time.setTimer(
      () => {
        cancel = undefined;
        void flush();
      },
      FLUSH_MS,
      { keepAlive: false },
    );
  };
  listeners.add(arm);

  const sums = (): Promise<readonly (readonly [string, number])[]> =>
    mutex(async () => {
      const all = new Map<string, number>();
      for (const { counts } of (await readTotals(storage)).values()) addAll(all, Object.entries(counts));
      for (const ofShard of changes.values()) addAll(all, ofShard);
      return [...all].filter(([, count]) => count > 0).sort(byName);
    });

  return {
    counts: async () => (await sums()).filter(([name]) => !isCause(name)).map(portalCount),
    causes: async () =>
      (await sums()).filter(([name]) => isCause(name)).map(causeCount).toSorted((a, b) => b.count - a.count),
    flush,
    close: async () => {
      listeners.delete(arm);
      cancel?.();
      await flush();
    },
  };
}

/** A stored total of one shard. */
export interface StoredTotal {
  readonly counts: Counts;
  readonly version: string;
}

/** Reads the totals of all shards. */
export async function readTotals(storage: Storage): Promise<Map<string, StoredTotal>> {
  const totals = new Map<string, StoredTotal>();
  for await (const entry of storage.list<Total>(TOTALS)) {
    totals.set(entry.key.at(-1)!, { counts: readTotal(entry).counts, version: entry.version });
  }
  return totals;
}

/** Replaces the total of a shard, unless it has changed since it had `version`; `null`: there was none. */
export async function replaceTotal(
  storage: Storage,
  shard: string,
  counts: Counts,
  version: string | null,
): Promise<boolean> {
  return (await storage.put<Total>(totalKey(shard), { format: TOTAL_FORMAT, counts }, { ifVersion: version })).ok;
}

async function addToShard(storage: Storage, shard: string, changes: ReadonlyMap<string, number>): Promise<void> {
  if ([...changes.values()].every((times) => times === 0)) return;
  await updateEntry<Total>(storage, totalKey(shard), (entry) => {
    const counts = new Map(Object.entries(entry === null ? {} : readTotal(entry).counts));
    // What has left comes first, so that there is room for other causes.
    for (const [name, times] of [...changes].sort(([, a], [, b]) => a - b)) addToCounts(counts, name, times);
    return { format: TOTAL_FORMAT, counts: Object.fromEntries([...counts].filter(([, count]) => count !== 0)) };
  });
}

function addAll(sums: Map<string, number>, changes: Iterable<readonly [string, number]>): void {
  for (const [name, times] of changes) sums.set(name, (sums.get(name) ?? 0) + times);
}

function readTotal({ key, value }: Entry<Total>): Total {
  if (value.format !== TOTAL_FORMAT) throw new FormatError(`total ${key.at(-1)}`, value.format, TOTAL_FORMAT);
  return value;
}

function byName([a]: readonly [string, number], [b]: readonly [string, number]): number {
  return a < b ? -1 : 1;
}

function causeCount([name, count]: readonly [string, number]): CauseCount {
  const [status, blockedOn, fingerprint] = name.slice(CAUSE.length).split(" ") as [StuckState, BlockedReason, string];
  return {
    status,
    count,
    ...defined({
      blockedOn: status === "blocked" ? blockedOn : undefined,
      fingerprint: fingerprint === "" ? undefined : fingerprint,
    }),
  };
}

function portalCount([name, count]: readonly [string, number]): PortalCount {
  const end = name.indexOf(" ");
  const [status, version] = [name.slice(0, end) as PortalState, name.slice(end + 1)];
  return { status, count, ...defined({ version: version === "" ? undefined : version }) };
}
