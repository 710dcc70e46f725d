/**
 * One worker a portal, across processes. The lease is inside the portal's record, and all that its holder writes goes
 * through a compare-and-set that finds the lease there: once another has taken it over, whatever the clocks say, the
 * old holder writes nothing more.
 */
import type { Time } from "../async/time.ts";
import { StorageError } from "../errors.ts";
import { updateEntry } from "../storage/update.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { type PortalRecord, readRecord } from "./record.ts";
import { portalKey } from "./keys.ts";

/** Another worker has taken the portal over, or the lease could not be renewed in time. */
export class LeaseLostError extends StorageError {
  /** `why` ends the message. */
  constructor(memberId: string, why: string, options?: ErrorOptions) {
    super(`cannot go on with portal ${memberId}: ${why}`, options);
  }
}

/** What leases are made with. */
export interface LeaseOptions {
  readonly storage: Storage;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly time: Pick<Time, "monotonic" | "setTimer">;
  /** A fresh, unguessable text. */
  readonly random: () => string;
  /** How long a lease lasts that is not renewed, in milliseconds. */
  readonly leaseMs: number;
}

/** A portal that this worker alone works on, until it is released or the lease is lost. */
export interface PortalLease {
  /** As this worker last wrote or read it. */
  readonly record: () => PortalRecord;
  /** Higher than that of every holder before. */
  readonly fencingToken: number;
  /** As what the portal was counted when it was taken. Until it is given back, its record does not say: a holder may end. */
  readonly indexedAs: string | undefined;
  /** Aborted when the lease is lost. */
  readonly signal: AbortSignal;
  /**
   * Applies `change` to the record and renews the lease.
   *
   * @throws {LeaseLostError} when another worker has the portal
   */
  readonly update: (change: (record: PortalRecord) => PortalRecord) => Promise<PortalRecord>;
  /**
   * Applies `change` and gives the lease back, unless `change` gives `undefined`. Resolves to whether it did.
   *
   * @throws {LeaseLostError} when another worker has the portal
   */
  readonly release: (change: (record: PortalRecord) => PortalRecord | undefined) => Promise<boolean>;
  /** Stops renewing: a lease that was not released runs out. */
  readonly stop: () => void;
}

/** A program that has nothing left but leases to renew may end. */
const LET_GO = { keepAlive: false };

/** Takes a portal; `undefined` when there is none, or another worker has it. `known` saves reading it. */
export async function acquireLease(
  { storage, clock, time, random, leaseMs }: LeaseOptions,
  memberId: string,
  known?: Entry<PortalRecord>,
): Promise<PortalLease | undefined> {
  const owner = random();
  const key = portalKey(memberId);
  const lost = new AbortController();
  const lose = (why: string, options?: ErrorOptions): LeaseLostError => {
    const error = new LeaseLostError(memberId, why, options);
    lost.abort(error);
    return error;
  };
  const leased = (record: PortalRecord): PortalRecord => ({ ...record, lease: { owner, until: clock() + leaseMs } });

  let indexedAs: string | undefined;
  const taken = await updateEntry<PortalRecord>(storage, key, (entry) => {
    const record = readRecord(entry);
    if (record === undefined || (record.lease !== undefined && record.lease.until > clock())) return undefined;
    const { indexedAs: before, ...rest } = record;
    indexedAs = before;
    return { ...leased(rest), fencingToken: (record.fencingToken ?? 0) + 1 };
  }, known);
  if (taken?.value.lease?.owner !== owner) return undefined;

  let entry = taken;
  /** By the clock of this process, which nobody sets. */
  let renewedAt = time.monotonic();

  async function write(change: (record: PortalRecord) => PortalRecord | undefined): Promise<PortalRecord> {
    lost.signal.throwIfAborted();
    let writtenAt = renewedAt;
    const written = await updateEntry<PortalRecord>(storage, key, (found) => {
      const record = readRecord(found);
      // The lease counts from here, however long the storage takes.
      writtenAt = time.monotonic();
      if (record?.lease?.owner !== owner) throw lose("another worker has taken it over");
      return change(record);
    }, entry);
    entry = written!;
    renewedAt = writtenAt;
    return entry.value;
  }

  const late = (options?: ErrorOptions): LeaseLostError => lose("its lease could not be renewed in time", options);

  async function renew(): Promise<void> {
    // A storage that hangs says nothing. After a standstill it is to say first whether somebody has taken the portal.
    const left = Math.max(leaseMs / 3, leaseMs - (time.monotonic() - renewedAt));
    const cancel = time.setTimer(() => late(), left, LET_GO);
    try {
      await write(leased);
    } catch (error) {
      // One that failed is tried again with the next, as long as nobody else can have taken the portal.
      if (time.monotonic() - renewedAt > leaseMs) late({ cause: error });
    } finally {
      cancel();
    }
  }

  let stop = (): void => {};
  const renewLater = (): void => {
    stop = time.setTimer(
      () => {
        renewLater();
        void renew();
      },
      leaseMs / 3,
      LET_GO,
    );
  };
  renewLater();
  return {
    record: () => entry.value,
    fencingToken: entry.value.fencingToken!,
    indexedAs,
    signal: lost.signal,
    update: (change) => write((record) => leased(change(record))),
    release: async (change) => {
      const after = await write((record) => {
        const changed = change(record);
        if (changed === undefined) return undefined;
        const { lease: _, ...rest } = changed;
        return rest;
      });
      const released = after.lease?.owner !== owner;
      if (released) stop();
      return released;
    },
    stop: () => stop(),
  };
}
