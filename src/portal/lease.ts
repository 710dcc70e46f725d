/**
 * Leases: at most one worker works on a portal, across processes. The lease is in the portal's record, and its holder
 * writes only by a compare-and-set that finds its lease there. So once another process has acquired the lease, the former
 * holder cannot write, whatever its clock says.
 */
import { abortable } from "../async/abortable.ts";
import { createMutex } from "../async/keyed_mutex.ts";
import type { Time } from "../async/time.ts";
import type { Logger } from "../logger.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { abandon, abandonedOn } from "./abandoned_leases.ts";
import { type ChangeHeld, createHeldRecord } from "./held_record.ts";
import { LeaseLostError, leaseLostTo } from "./lease_lost.ts";
import type { PortalRecord } from "./record.ts";
import { type RecordChange, writeRecord } from "./record_store.ts";

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

/** Part of a lease that its holder relies on: the clocks of two processes may differ by the rest. */
const HELD_PART = 2 / 3;

/** The lease of a portal, until it is released or lost. */
export interface PortalLease {
  /** Returns the record as this holder last read or wrote it, with the staged changes. */
  readonly record: () => PortalRecord;
  /**
   * Resolves to the same with all token pairs of the portal, which are read if this process does not have them in memory.
   *
   * @throws {LeaseLostError} if the lease is lost
   */
  readonly open: () => Promise<PortalRecord>;
  /** Returns the record as this holder last read or wrote it. */
  readonly stored: () => PortalRecord;
  /** Fencing token: higher than that of every earlier lease of the portal, so that a write of an earlier holder can be told. */
  readonly fencingToken: number;
  /** Aborted if the lease is lost. */
  readonly signal: AbortSignal;
  /**
   * Renews the lease if it is nearly over, by the clock of this process or its monotonic one: the event loop may have been
   * blocked, the process paused, or the host suspended. Call it before code of the app begins without a write.
   *
   * @throws {LeaseLostError} if the lease is lost
   */
  readonly ensureHeld: () => Promise<void>;
  /**
   * Applies `change` to the record and renews the lease. Staged changes are written before it.
   *
   * @throws {LeaseLostError} if another process acquired the lease, or may have while the write took place
   */
  readonly update: (change: (record: PortalRecord) => PortalRecord) => Promise<PortalRecord>;
  /**
   * Reads the record, which other processes may have changed, and resolves to it. Cheaper than {@linkcode update}.
   *
   * @throws {LeaseLostError} if another process acquired the lease
   */
  readonly reread: () => Promise<PortalRecord>;
  /**
   * Applies `change` with the next write of this holder: {@linkcode update}, {@linkcode flush} or {@linkcode release}. A
   * crash before it loses the change. `onStored` is called once it is stored.
   */
  readonly stage: (change: ChangeHeld, onStored?: () => void) => void;
  /**
   * Writes the staged changes, if there are any.
   *
   * @throws {LeaseLostError} if another process acquired the lease
   */
  readonly flush: () => Promise<void>;
  /**
   * Applies `change` and releases the lease, unless `change` returns `undefined`. Resolves to whether it was released.
   *
   * @throws {LeaseLostError} if another process acquired the lease
   */
  readonly release: (change: (record: PortalRecord) => RecordChange | undefined) => Promise<boolean>;
  /**
   * Ends the work under the lease. If it was not released, this process can acquire it again at once, and others once it
   * expires.
   */
  readonly stop: () => void;
}

/** Takes the lease of a portal for `owner`, a unique string; `undefined` if another worker holds it. */
export function takeLease(
  { storage, clock, leaseMs }: Pick<LeaseOptions, "storage" | "clock" | "leaseMs">,
  record: PortalRecord,
  owner: string,
): PortalRecord | undefined {
  const now = clock();
  if (isLeased(storage, record, now)) return undefined;
  const fencingToken = (record.fencingToken ?? 0) + 1;
  return { ...withoutDeathAlone(storage, record), lease: { owner, until: now + leaseMs }, fencingToken };
}

/**
 * Returns the record as if the attempt that is under way had not been alone, if this process has made it: its process has not
 * ended, but the storage has failed, and such attempts must not park the portal.
 */
function withoutDeathAlone(storage: Storage, record: PortalRecord): PortalRecord {
  const { lease, run } = record;
  if (run?.underWay?.isAlone === undefined || lease === undefined) return record;
  if (!abandonedOn(storage).has(lease.owner)) return record;
  const { isAlone: _, ...underWay } = run.underWay;
  return { ...record, run: { ...run, underWay } };
}

/** Returns whether a worker holds the lease of the portal at `now`, in milliseconds since 1970. */
export function isLeased(storage: Storage, { lease }: PortalRecord, now: number): boolean {
  return lease !== undefined && lease.until > now && !abandonedOn(storage).has(lease.owner);
}

/**
 * Acquires the lease of a portal; resolves to `undefined` if there is no such portal, or another process holds the lease.
 */
export async function acquireLease(options: LeaseOptions, memberId: string): Promise<PortalLease | undefined> {
  const { storage, time, random } = options;
  const owner = random();
  let takenAt = 0;
  const acquired = await writeRecord(storage, memberId, (record) => {
    takenAt = time.monotonic();
    const taken = record && takeLease(options, record, owner);
    return taken && { record: taken };
  });
  if (acquired?.value.lease?.owner !== owner) return undefined;
  return holdLease(options, acquired, { owner, takenAt });
}

/** A lease that was taken by a write. */
export interface Taking {
  readonly owner: string;
  /** Monotonic time before the write. */
  readonly takenAt: number;
}

/** Returns the lease that was taken by writing `acquired`, and renews it from now on. */
export function holdLease(
  { storage, clock, time, leaseMs, log }: LeaseOptions,
  acquired: Entry<PortalRecord>,
  { owner, takenAt }: Taking,
): PortalLease {
  const { memberId, fencingToken } = acquired.value;
  const lost = new AbortController();
  const mutex = createMutex();
  const held = createHeldRecord(storage, acquired);
  /** Monotonic: changes of the system clock do not matter. */
  let renewedAt = takenAt;
  log.debug("lease acquired", { event: "lease.acquired", memberId, fencingToken });

  function lose(error: LeaseLostError): LeaseLostError {
    lost.abort(error);
    return error;
  }

  function expire(options?: ErrorOptions): void {
    lose(new LeaseLostError(memberId, "it could not be renewed in time", options));
  }

  function renewed(change: RecordChange): RecordChange {
    return { ...change, record: { ...change.record, lease: { owner, until: clock() + leaseMs } } };
  }

  /** Returns whether so much of the lease has passed that its holder no longer relies on it. */
  function isNearlyOver(passedMs = time.monotonic() - renewedAt): boolean {
    return passedMs > leaseMs * HELD_PART;
  }

  function assertOwned(record: PortalRecord | undefined): void {
    if (record?.lease?.owner !== owner) throw lose(leaseLostTo(record, { memberId, fencingToken: fencingToken! }));
  }

  /** Writes the staged changes and `change`, one writer after the other: staged changes must not be applied twice. */
  async function write(change: (record: PortalRecord) => RecordChange | undefined): Promise<PortalRecord> {
    // A write before it may hang.
    return await abortable(mutex(() => writeNow(change)), lost.signal);
  }

  async function writeNow(change: (record: PortalRecord) => RecordChange | undefined): Promise<PortalRecord> {
    lost.signal.throwIfAborted();
    let startedAt = renewedAt;
    const onStored = await held.write(change, (record) => {
      // The lease lasts from here on, however long the storage takes.
      startedAt = time.monotonic();
      assertOwned(record);
    });
    renewedAt = startedAt;
    onStored();
    return held.stored();
  }

  function assertHeld(): void {
    lost.signal.throwIfAborted();
    if (isNearlyOver()) throw lose(new LeaseLostError(memberId, "this process was paused for too long"));
  }

  async function update(change: (record: PortalRecord) => PortalRecord): Promise<PortalRecord> {
    const record = await write((record) => renewed({ record: change(record) }));
    // Nothing may start because of a write whose reply came late.
    assertHeld();
    return record;
  }

  async function ensureHeld(): Promise<void> {
    lost.signal.throwIfAborted();
    // The monotonic clock stands still while the host is suspended; the other one may be set, which costs a write at most.
    const passedMs = clock() + leaseMs - (held.stored().lease?.until ?? -Infinity);
    if (isNearlyOver() || isNearlyOver(passedMs)) await update((record) => record);
  }

  async function rereadNow(): Promise<PortalRecord> {
    lost.signal.throwIfAborted();
    return await held.reread(assertOwned);
  }

  async function renew(): Promise<void> {
    // If the storage hangs, the lease expires. If this process was paused, the storage first gets time to answer.
    const left = Math.max(leaseMs / 3, leaseMs - (time.monotonic() - renewedAt));
    const cancel = time.setTimer(() => expire(), left, { keepAlive: false });
    try {
      await write((record) => renewed({ record }));
    } catch (error) {
      // The next renewal tries again, as long as no other process can have acquired the lease.
      if (time.monotonic() - renewedAt > leaseMs) expire({ cause: error });
    } finally {
      cancel();
    }
  }

  const stopRenewing = repeat(time, leaseMs / 3, () => void renew());
  let isReleased = false;
  return {
    record: held.record,
    open: () => abortable(mutex(held.open), lost.signal),
    stored: held.stored,
    fencingToken: fencingToken!,
    signal: lost.signal,
    ensureHeld,
    // After the write under way: otherwise it could read the record as it was before it.
    reread: async () => {
      const record = await abortable(mutex(rereadNow), lost.signal);
      assertHeld();
      return record;
    },
    update,
    stage: held.stage,
    flush: async () => {
      if (held.hasStaged()) await write((record) => renewed({ record }));
    },
    release: async (change) => {
      const after = await write((record) => {
        const changed = change(record);
        if (changed === undefined) return undefined;
        const { lease: _, ...rest } = changed.record;
        return { ...changed, record: rest };
      });
      if (after.lease?.owner === owner) return false;
      isReleased = true;
      stopRenewing();
      log.debug("lease released", { event: "lease.released", memberId, fencingToken });
      return true;
    },
    stop: () => {
      stopRenewing();
      if (!isReleased && !lost.signal.aborted) abandon(storage, owner);
    },
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
