/** Read-modify-write on one key: the only way in which the core changes what is shared. */
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
  const leave = await takeTurn(storage, key);
  try {
    let entry = known === undefined ? await storage.get<T>(key) : known;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const value = change(entry);
      if (value === undefined || value === entry?.value) return entry;
      const result = await storage.put(key, value, { ifVersion: entry?.version ?? null });
      if (result.ok) return { key, value, version: result.version };
      entry = await storage.get<T>(key);
    }
  } finally {
    leave();
  }
  throw new StorageError(`cannot write ${JSON.stringify(key)}: ${storage.name} refused ${ATTEMPTS} writes in a row`);
}

/** The last writer in line for each key, by storage. */
const lines = new WeakMap<Storage, Map<string, Promise<void>>>();

/**
 * Writers of one process wait for one another: racing, each round of them would have one winner. Races with other
 * processes are what compare-and-set is for.
 */
async function takeTurn(storage: Storage, key: Key): Promise<() => void> {
  const line = lines.get(storage) ?? new Map<string, Promise<void>>();
  lines.set(storage, line);
  // Keys that share a name share a line, which does no harm.
  const name = key.join("\0");
  const before = line.get(name);
  let leave: (() => void) | undefined;
  const turn = new Promise<void>((resolve) => leave = resolve);
  line.set(name, turn);
  await before;
  return () => {
    if (line.get(name) === turn) line.delete(name);
    leave!();
  };
}
