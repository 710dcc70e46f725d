/** The memory that the steps of a rehearsal are recorded in, so that nothing is written. */
import type { Journal, JournalEntry, JournalId } from "../../portal/journal.ts";
import type { PortalRecord } from "../../portal/record.ts";
import type { Entry, Key, Storage } from "../../storage/storage.ts";
import type { Installation } from "../installation.ts";

/** Returns an installation whose changes stay in memory. */
export function inMemoryInstallation(record: PortalRecord, signal: AbortSignal): Installation {
  let current = record;
  return {
    record: () => current,
    update: (change) => Promise.resolve(current = change(current)),
    reread: () => Promise.resolve(current),
    ensureHeld: () => Promise.resolve(),
    stage: (change, onStored) => {
      current = change(current).record;
      onStored?.();
    },
    flush: () => Promise.resolve(),
    fencingToken: (record.fencingToken ?? 0) + 1,
    signal,
  };
}

/** Results of steps that are too large for their journal, by key. */
export type LargeResults = Map<string, Entry<unknown>>;

/** Returns a journal in memory, with the entries that an earlier attempt has recorded. */
export function inMemoryJournal(id: JournalId, recorded: readonly JournalEntry[], large: LargeResults): Journal {
  const steps = new Map<string, JournalEntry>();
  const set = (entry: JournalEntry): void => {
    steps.delete(entry[0]);
    steps.set(entry[0], entry);
  };
  recorded.forEach(set);
  return {
    id,
    get: (name) => steps.get(name),
    entries: () => [...steps.values()],
    finished: () => steps.size,
    append: (entry, before = []) => {
      for (const operation of before) {
        if (!("put" in operation)) continue;
        // As a storage would return it.
        const value: unknown = JSON.parse(JSON.stringify(operation.value));
        large.set(keyOf(operation.put), { key: operation.put, value, version: "0" });
      }
      set(entry);
      return Promise.resolve();
    },
  };
}

/** Returns the storage with the results in memory over it. */
export function withLargeResults(storage: Storage, large: LargeResults): Storage {
  return {
    name: storage.name,
    capabilities: storage.capabilities,
    get: async <T>(key: Key, options?: Parameters<Storage["get"]>[1]) =>
      large.get(keyOf(key)) as Entry<T> | undefined ?? await storage.get<T>(key, options),
    put: (...args) => storage.put(...args),
    delete: (...args) => storage.delete(...args),
    list: (...args) => storage.list(...args),
  };
}

function keyOf(key: Key): string {
  return JSON.stringify(key);
}
