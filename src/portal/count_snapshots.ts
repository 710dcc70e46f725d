/** Hourly snapshots of the numbers of portals by version and state, from which their course can be drawn. */
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { snapshotKey, snapshotPrefix } from "./keys.ts";
import { listReadable } from "./list_readable.ts";
import type { PortalCount } from "./totals.ts";

/** The numbers of portals at a time. */
export interface CountSnapshot {
  /** When they were counted, in milliseconds since 1970. */
  readonly at: number;
  /** As `app.admin.counts()` returned them. */
  readonly counts: readonly PortalCount[];
}

/** The times between two snapshots. Those of hours are kept for 90 days, those of days for two years. */
export type SnapshotInterval = "hour" | "day";

interface StoredSnapshot extends CountSnapshot {
  readonly format: typeof SNAPSHOT_FORMAT;
}

/** Raised if older code would misread a snapshot. */
const SNAPSHOT_FORMAT = 1;

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** Time (ms) between two snapshots, and the time that they are kept. */
const INTERVALS: Readonly<Record<SnapshotInterval, { readonly ms: number; readonly ttlMs: number }>> = {
  hour: { ms: HOUR_MS, ttlMs: 90 * DAY_MS },
  day: { ms: DAY_MS, ttlMs: 730 * DAY_MS },
};

/** Takes the snapshots of an app. */
export interface Snapshots {
  /**
   * Stores the snapshot of this hour, and that of this day, unless a process has done so. Does nothing while no portal is
   * known.
   *
   * @throws {StorageError} if the storage fails
   */
  readonly take: () => Promise<void>;
}

/** Options of {@linkcode createSnapshots}. */
export interface SnapshotsOptions {
  readonly storage: Storage;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** Returns what takes the snapshots of an app. */
export function createSnapshots(
  { storage, clock }: SnapshotsOptions,
  readCounts: () => Promise<readonly PortalCount[]>,
): Snapshots {
  /** The hour whose snapshot is stored, as far as this process knows. */
  let lastHour = -1;
  return {
    take: async () => {
      const at = clock();
      const hour = Math.floor(at / HOUR_MS);
      if (hour === lastHour) return;
      if (await storage.get(keyAt("hour", at)) === null) {
        const counts = await readCounts();
        const isFirst = counts.length > 0 && await put(storage, "hour", { at, counts });
        // The process that has won the hour is the only one that looks at the day.
        if (isFirst && await storage.get(keyAt("day", at)) === null) await put(storage, "day", { at, counts });
      }
      lastHour = hour;
    },
  };
}

async function put(storage: Storage, interval: SnapshotInterval, snapshot: CountSnapshot): Promise<boolean> {
  const value: StoredSnapshot = { format: SNAPSHOT_FORMAT, ...snapshot };
  const { ttlMs } = INTERVALS[interval];
  return (await storage.put(keyAt(interval, snapshot.at), value, { ifVersion: null, ttlMs })).ok;
}

/** Returns the snapshots that were taken in the hours or days from that of `from` to that of `to`, the oldest first. */
export async function listSnapshots(
  runtime: { readonly storage: Storage; readonly log: Pick<Logger, "warn"> },
  interval: SnapshotInterval,
  from: number,
  to: number,
): Promise<CountSnapshot[]> {
  const snapshots: CountSnapshot[] = [];
  const { ms } = INTERVALS[interval];
  const after = from < ms ? undefined : keyAt(interval, from - ms);
  const last = nameOf(interval, to);
  for await (const found of listReadable(runtime, snapshotPrefix(interval), snapshotOf, defined({ after }))) {
    if (found.name > last) break;
    snapshots.push(found.snapshot);
  }
  return snapshots;
}

/** @throws {FormatError} if newer code wrote the snapshot */
function snapshotOf(
  { key, value: { format, at, counts } }: Entry<StoredSnapshot>,
): { readonly name: string; readonly snapshot: CountSnapshot } {
  const name = key.at(-1)!;
  if (format !== SNAPSHOT_FORMAT) throw new FormatError(`snapshot ${name}`, format, SNAPSHOT_FORMAT);
  return { name, snapshot: { at, counts } };
}

function keyAt(interval: SnapshotInterval, at: number): ReturnType<typeof snapshotKey> {
  return snapshotKey(interval, nameOf(interval, at));
}

/** Returns the name of an hour or a day: `2026-11-30T12` or `2026-11-30`. Names sort by time. */
function nameOf(interval: SnapshotInterval, at: number): string {
  return new Date(at).toISOString().slice(0, interval === "hour" ? 13 : 10);
}
