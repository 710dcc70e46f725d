/** Taking a portal for something other than its work: nobody works on it meanwhile, and what comes is taken up after. */
import { indexKeyOf, updateIndex } from "./state_index.ts";
import type { Storage } from "../storage/storage.ts";
import { acquireLease, type LeaseOptions, type PortalLease } from "./lease.ts";
import { entryTime } from "./schedule.ts";

/** What portals are borrowed with. */
export interface PortalLeaseOptions extends LeaseOptions {
  /** Has the work of a portal begun. */
  readonly wake: (memberId: string) => void;
}

/** Runs `use` while no worker is at the portal; resolves to `undefined`, and does nothing, when one is. */
export async function withPortalLease<T>(
  borrower: PortalLeaseOptions,
  memberId: string,
  use: (held: PortalLease) => Promise<T>,
): Promise<{ readonly result: T } | undefined> {
  const here = borrowedOf(borrower.storage);
  await here.get(memberId);
  const over = Promise.withResolvers<void>();
  here.set(memberId, over.promise);
  try {
    const held = await acquireLease(borrower, memberId);
    if (held === undefined) return undefined;
    const { inboxSequence } = held.record();
    try {
      return { result: await use(held) };
    } finally {
      // One that was lost is another's.
      await releasePortal(borrower, held, inboxSequence).catch(() => {});
      held.stop();
    }
  } finally {
    if (here.get(memberId) === over.promise) here.delete(memberId);
    over.resolve();
  }
}

/** Resolves when this process has not borrowed the portal, or not any more: a worker of its own waits for that. */
export async function whenReleased(storage: Storage, memberId: string): Promise<void> {
  await borrowedOf(storage).get(memberId);
}

/** What this process has borrowed, by storage. */
const borrowed = new WeakMap<Storage, Map<string, Promise<void>>>();

function borrowedOf(storage: Storage): Map<string, Promise<void>> {
  const known = borrowed.get(storage) ?? new Map<string, Promise<void>>();
  borrowed.set(storage, known);
  return known;
}

/** Gives a portal back as it is now, counted, and has taken up what has come since `inboxSequence`, or was to be just now. */
async function releasePortal(
  { storage, clock, leaseMs, wake }: PortalLeaseOptions,
  held: PortalLease,
  inboxSequence: number | undefined,
): Promise<void> {
  const indexedAs = indexKeyOf(held.record());
  if (indexedAs !== held.indexedAs) await updateIndex(storage, held.record());
  await held.release((record) => ({ ...record, indexedAs }));
  const { memberId, inboxSequence: now, due } = held.record();
  // Whoever wanted to do it found the portal taken.
  if (now !== inboxSequence || (due !== undefined && entryTime(due) <= clock() + leaseMs)) wake(memberId);
}
