/** Leases that ended in this process without a release. */
import type { Storage } from "../storage/storage.ts";

/**
 * Owners of leases that ended in this process without a release, because the storage failed. No work runs
 * under them, so this process need not wait until they expire.
 */
const abandonedByStorage = new WeakMap<Storage, Set<string>>();

/** Maximum number of abandoned leases that are remembered. The others expire. */
const MAX_ABANDONED = 10_000;

/** Returns the owners of abandoned leases in a storage. */
export function abandonedOn(storage: Storage): Set<string> {
  const abandoned = abandonedByStorage.get(storage) ?? new Set<string>();
  abandonedByStorage.set(storage, abandoned);
  return abandoned;
}

/** Remembers the owner of a lease that ends without a release. */
export function abandon(storage: Storage, owner: string): void {
  const abandoned = abandonedOn(storage);
  abandoned.add(owner);
  if (abandoned.size > MAX_ABANDONED) abandoned.delete(abandoned.values().next().value!);
}
