/** Read-modify-write on one key, by compare-and-set. */
import { createKeyedMutex, type KeyedMutex } from "../async/keyed_mutex.ts";
import { defined } from "../defined.ts";
import { StorageError } from "../errors.ts";
import type { Entry, Key, Storage } from "./storage.ts";

/** Each refused write means that another process succeeded, so this many in a row mean a broken storage. */
const MAX_ATTEMPTS = 100;

/**
 * Applies `change` to the value under `key`. Repeats if another process writes between reading and writing, so `change`
 * must have no side effects. Writes nothing if `change` returns `undefined` or the value that it received.
 *
 * `known` is the entry if the caller has read it, which saves a read. It may be stale. Without `ttlMs`, the entry does not
 * expire.
 *
 * @returns the entry as it is stored afterwards, `null` if there is none
 * @throws {StorageError} if the storage fails, or refuses 100 writes in a row
 */
export async function updateEntry<T>(
  storage: Storage,
  key: Key,
  change: (entry: Entry<T> | null) => T | undefined,
  known?: Entry<T> | null,
  { ttlMs }: { readonly ttlMs?: number } = {},
): Promise<Entry<T> | null> {
  // Keys that share a name share a mutex, which does no harm.
  return await mutexOf(storage)(key.join("\0"), async () => {
    let entry = known === undefined ? await storage.get<T>(key) : known;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const value = change(entry);
      if (value === undefined || value === entry?.value) return entry;
      const result = await storage.put(key, value, { ifVersion: entry?.version ?? null, ...defined({ ttlMs }) });
      if (result.ok) return { key, value, version: result.version };
      entry = await storage.get<T>(key);
    }
    throw new StorageError(
      `cannot write ${JSON.stringify(key)}: ${storage.name} refused ${MAX_ATTEMPTS} writes in a row`,
    );
  });
}

const mutexes = new WeakMap<Storage, KeyedMutex>();

/**
 * Returns the mutex of a storage. Writers of one process queue, because only one of several racing writers would succeed
 * each round. Compare-and-set is for races with other processes.
 */
function mutexOf(storage: Storage): KeyedMutex {
  const mutex = mutexes.get(storage) ?? createKeyedMutex();
  mutexes.set(storage, mutex);
  return mutex;
}
