/** Runs work under the lease of a portal outside the worker. What arrives in the meantime is processed afterwards. */
import type { Storage } from "../storage/storage.ts";
import { acquireLease, type LeaseOptions, type PortalLease } from "./lease.ts";
import { entryTime } from "./schedule.ts";

/** Options of {@linkcode withPortalLease}. */
export interface PortalLeaseOptions extends LeaseOptions {
  /** Makes the worker process a portal. */
  readonly wake: (memberId: string) => void;
}

/**
 * Runs `run` under the lease of a portal, then releases the lease. Resolves to `undefined`, without running anything, if
 * there is no such portal or another process holds its lease. Calls of one process run one after the other.
 */
export async function withPortalLease<T>(
  options: PortalLeaseOptions,
  memberId: string,
  run: (lease: PortalLease) => Promise<T>,
): Promise<{ readonly result: T } | undefined> {
  const running = runningOn(options.storage);
  const before = running.get(memberId);
  const finished = Promise.withResolvers<void>();
  running.set(memberId, finished.promise);
  try {
    await before;
    const lease = await acquireLease(options, memberId);
    if (lease === undefined) return undefined;
    const { inboxSequence } = lease.record();
    try {
      // The storage may have taken long.
      await lease.ensureHeld();
      return { result: await run(lease) };
    } finally {
      await releasePortal(options, lease, inboxSequence).catch(() => {});
      lease.stop();
    }
  } finally {
    if (running.get(memberId) === finished.promise) running.delete(memberId);
    finished.resolve();
  }
}

/** Returns whether a {@linkcode withPortalLease} of this process runs on the portal. */
export function isLeasedHere(storage: Storage, memberId: string): boolean {
  return runningOn(storage).has(memberId);
}

/** Resolves once no {@linkcode withPortalLease} of this process runs on the portal, so that its worker waits for it. */
export async function whenReleased(storage: Storage, memberId: string): Promise<void> {
  await runningOn(storage).get(memberId);
}

/** Calls of {@linkcode withPortalLease} in this process, by storage and portal. */
const runningByStorage = new WeakMap<Storage, Map<string, Promise<void>>>();

function runningOn(storage: Storage): Map<string, Promise<void>> {
  const running = runningByStorage.get(storage) ?? new Map<string, Promise<void>>();
  runningByStorage.set(storage, running);
  return running;
}

/** Releases a portal, and wakes the worker if deliveries have arrived since `inboxSequence` or the portal is due. */
async function releasePortal(
  { clock, leaseMs, wake }: PortalLeaseOptions,
  lease: PortalLease,
  inboxSequence: number | undefined,
): Promise<void> {
  await lease.release((record) => ({ record }));
  const { memberId, inboxSequence: latest, due } = lease.record();
  // A worker that wanted to process the portal meanwhile did not get the lease.
  if (latest !== inboxSequence || (due !== undefined && entryTime(due) <= clock() + leaseMs)) wake(memberId);
}
