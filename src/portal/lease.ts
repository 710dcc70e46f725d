/**
 * Leases: at most one worker works on a portal, across processes. The lease is in the portal's record, and its holder
 * writes only by a compare-and-set that finds its lease there. So once another process has acquired the lease, the former
 * holder cannot write, whatever its clock says.
 */
import type { Time } from "../async/time.ts";
import { StorageError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { portalKey } from "./keys.ts";
import { type PortalRecord, readRecord } from "./record.ts";

/** Another process acquired the lease, or it could not be renewed in time. */
export class LeaseLostError extends StorageError {
  /** `reason` ends the message. */
  constructor(memberId: string, reason: string, options?: ErrorOptions) {
    super(`lost the lease of portal ${memberId}: ${reason}`, options);
  }
}

/** Options of {@linkcode acquireLease}. */
export interface LeaseOptions {
  readonly storage: Storage;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly time: Pick<Time, "monotonic" | "setTimer">;
  /** Returns a fresh, unguessable string. */
  readonly random: () => string;
  /** Time (ms) after which a lease that is not renewed expires. */
  readonly leaseMs: number;
  readonly log: Logger;
}

/** The lease of a portal, until it is released or lost. */
export interface PortalLease {
  /** Returns the record as this holder last read or wrote it. */
  readonly record: () => PortalRecord;
  /** Fencing token: higher than that of every earlier lease of the portal, so that a write of an earlier holder can be told. */
  readonly fencingToken: number;
  /**
   * Index value at acquisition. It is removed from the record while the lease is held, so that a crash of the holder
   * makes the next one update the index.
   */
  readonly indexedAs: string | undefined;
  /** Aborted if the lease is lost. */
  readonly signal: AbortSignal;
  /**
   * Applies `change` to the record and renews the lease.
   *
   * @throws {LeaseLostError} if another process acquired the lease
   */
  readonly update: (change: (record: PortalRecord) => PortalRecord) => Promise<PortalRecord>;
  /**
   * Applies `change` and releases the lease, unless `change` returns `undefined`. Resolves to whether it was released.
   *
   * @throws {LeaseLostError} if another process acquired the lease
   */
  readonly release: (change: (record: PortalRecord) => PortalRecord | undefined) => Promise<boolean>;
  /** Stops renewing, so that a lease that was not released expires. */
  readonly stop: () => void;
}

/**
 * Acquires the lease of a portal; resolves to `undefined` if there is no such portal, or another process holds the lease.
 * `entry` is the record as it was read before, to save reading it again.
 */
export async function acquireLease(
  options: LeaseOptions,
  memberId: string,
  entry?: Entry<PortalRecord>,
): Promise<PortalLease | undefined> {
  const { storage, clock, random, leaseMs, log } = options;
  const owner = random();
  let indexedAs: string | undefined;
  const acquired = await updateEntry<PortalRecord>(storage, portalKey(memberId), (found) => {
    const record = readRecord(found);
    if (record === undefined || (record.lease !== undefined && record.lease.until > clock())) return undefined;
    const { indexedAs: indexedBefore, ...rest } = record;
    indexedAs = indexedBefore;
    return { ...rest, lease: { owner, until: clock() + leaseMs }, fencingToken: (record.fencingToken ?? 0) + 1 };
  }, entry);
  if (acquired?.value.lease?.owner !== owner) return undefined;
  log.debug("lease acquired", { event: "lease.acquired", memberId, fencingToken: acquired.value.fencingToken });
  return holdLease(options, owner, acquired, indexedAs);
}

function holdLease(
  { storage, clock, time, leaseMs, log }: LeaseOptions,
  owner: string,
  acquired: Entry<PortalRecord>,
  indexedAs: string | undefined,
): PortalLease {
  const { memberId, fencingToken } = acquired.value;
  const lost = new AbortController();
  let entry = acquired;
  /** Monotonic: changes of the system clock do not matter. */
  let renewedAt = time.monotonic();

  function lose(reason: string, options?: ErrorOptions): LeaseLostError {
    const error = new LeaseLostError(memberId, reason, options);
    lost.abort(error);
    return error;
  }

  function expire(options?: ErrorOptions): void {
    lose("it could not be renewed in time", options);
  }

  function renewed(record: PortalRecord): PortalRecord {
    return { ...record, lease: { owner, until: clock() + leaseMs } };
  }

  async function write(change: (record: PortalRecord) => PortalRecord | undefined): Promise<PortalRecord> {
    lost.signal.throwIfAborted();
    let startedAt = renewedAt;
    const written = await updateEntry<PortalRecord>(storage, portalKey(memberId), (found) => {
      const record = readRecord(found);
      // The lease lasts from here on, however long the storage takes.
      startedAt = time.monotonic();
      if (record?.lease?.owner !== owner) throw lose("another process acquired it");
      return change(record);
    }, entry);
    entry = written!;
    renewedAt = startedAt;
    return entry.value;
  }

  async function renew(): Promise<void> {
    // If the storage hangs, the lease expires. If this process was paused, the storage first gets time to answer.
    const left = Math.max(leaseMs / 3, leaseMs - (time.monotonic() - renewedAt));
    const cancel = time.setTimer(() => expire(), left, { keepAlive: false });
    try {
      await write(renewed);
    } catch (error) {
      // The next renewal tries again, as long as no other process can have acquired the lease.
      if (time.monotonic() - renewedAt > leaseMs) expire({ cause: error });
    } finally {
      cancel();
    }
  }

  const stop = repeat(time, leaseMs / 3, () => void renew());
  return {
    record: () => entry.value,
    fencingToken: fencingToken!,
    indexedAs,
    signal: lost.signal,
    update: (change) => write((record) => renewed(change(record))),
    release: async (change) => {
      const after = await write((record) => {
        const changed = change(record);
        if (changed === undefined) return undefined;
        const { lease: _, ...rest } = changed;
        return rest;
      });
      if (after.lease?.owner === owner) return false;
      stop();
      log.debug("lease released", { event: "lease.released", memberId, fencingToken });
      return true;
    },
    stop,
  };
}

/** Calls `run` every `ms` milliseconds until the returned function is called. Does not keep the process alive. */
function repeat(time: Pick<Time, "setTimer">, ms: number, run: () => void): () => void {
  let cancel: () => void;
  const next = (): void => {
    cancel = time.setTimer(
      () => {
        next();
        run();
      },
      ms,
      { keepAlive: false },
    );
  };
  next();
  return () => cancel();
}
