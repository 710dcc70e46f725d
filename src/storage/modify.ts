/** Read-modify-write on one key: the only way in which the core changes what is shared. */
import { StorageError } from "../errors.ts";
import type { Entry, Key, Storage } from "./storage.ts";

/** Each lost race means that another writer succeeded, so this many in a row is a storage that does not work. */
const ATTEMPTS = 100;

/**
 * Applies `change` to the value under `key` until no other writer comes between reading and writing. `change` may
 * run several times and must have no effects; when it returns what it was given, nothing is written.
 *
 * `known` is an entry read before, to save reading it again.
 *
 * @throws {StorageError} when the storage fails, or refuses every write
 */
export async function modify<T>(
  storage: Storage,
  key: Key,
  change: (entry: Entry<T> | null) => T,
  known?: Entry<T> | null,
): Promise<T> {
  let entry = known === undefined ? await storage.get<T>(key) : known;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const value = change(entry);
    if (value === entry?.value) return value;
    const result = await storage.put(key, value, { ifVersion: entry?.version ?? null });
    if (result.ok) return value;
    entry = await storage.get<T>(key);
  }
  throw new StorageError(`cannot write ${JSON.stringify(key)}: ${storage.name} refused ${ATTEMPTS} writes in a row`);
}
