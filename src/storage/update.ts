/** Read-modify-write on one key: the only way in which the core changes what is shared. */
import { createKeyedMutex, type KeyedMutex } from "../async/keyed_mutex.ts";
import { StorageError } from "../errors.ts";
import type { Entry, Key, Storage } from "./storage.ts";

/** Each lost race means that another process succeeded, so this many in a row is a storage that does not work. */
const ATTEMPTS = 100;

/**
 * Applies `change` to the entry under `key` until no other writer comes between reading and writing. `change` may
 * run several times and must have no effects; when it returns what it was given, or `undefined`, nothing is written.
 * Resolves to the entry then; to `null` when there is none.
 *
 * `known` is an entry read before, to save reading it again.
 *
 * @throws {StorageError} when the storage fails, or refuses every write
 */
export async function updateEntry<T>(
  storage: Storage,
  key: Key,
  change: (entry: Entry<T> | null) => T | undefined,
  known?: Entry<T> | null,
): Promise<Entry<T> | null> {
  // Keys that share a name share a mutex, which does no harm.
  return await mutexOf(storage)(key.join("\0"), async () => {
    let entry = known === undefined ? await storage.get<T>(key) : known;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const value = change(entry);
      if (value === undefined || value === entry?.value) return entry;
      const result = await storage.put(key, value, { ifVersion: entry?.version ?? null });
      if (result.ok) return { key, value, version: result.version };
      entry = await storage.get<T>(key);
    }
    throw new StorageError(`cannot write ${JSON.stringify(key)}: ${storage.name} refused ${ATTEMPTS} writes in a row`);
  });
}

const mutexes = new WeakMap<Storage, KeyedMutex>();

/**
 * Returns the mutex of a storage. Writers of one process queue, because of writers that race only one wins each round.
 * Compare-and-set is for races with other processes.
 */
function mutexOf(storage: Storage): KeyedMutex {
  const mutex = mutexes.get(storage) ?? createKeyedMutex();
  mutexes.set(storage, mutex);
  return mutex;
}
