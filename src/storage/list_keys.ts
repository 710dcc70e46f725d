/** Lists entries, whatever their values are. */
import { defined } from "../defined.ts";
import { StorageError } from "../errors.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";

/** The key of an entry whose value cannot be read, such as one whose encryption key is missing. */
export interface UnreadableEntry {
  /** The key of the entry. */
  readonly key: Key;
  /** Absent: it tells such an entry from one that was read. */
  readonly version?: undefined;
  /** Absent. */
  readonly value?: undefined;
}

/**
 * Lists the entries under a prefix, in order. An entry whose value cannot be read, such as one whose encryption key is
 * missing, is listed without a version and a value, and does not end the list as it does with {@linkcode Storage.list}.
 *
 * @throws {StorageError} if the storage cannot be reached
 *
 * @example
 * ```ts
 * import { encrypted, listEntries, memoryStorage } from "@b24/onappupdate/storage";
 * import assert from "node:assert/strict";
 *
 * const backend = memoryStorage();
 * const keys = { "2027": "m+VwmUZhcRdpDFPjYrXuFpUHtOMqdXDB/TL85MQzDIE=" };
 * const storage = encrypted(backend, { keys, current: "2027" });
 * await storage.put(["note", "a"], "call the customer");
 * await backend.put(["note", "b"], "from before the encryption");
 *
 * const notes = await Array.fromAsync(listEntries<string>(storage, ["note"]), ({ key, value }) => [key.at(-1), value]);
 * assert.deepEqual(notes, [["a", "call the customer"], ["b", undefined]]);
 * ```
 */
export function listEntries<T>(
  storage: Storage,
  prefix: readonly string[],
  options?: Pick<ListOptions, "after" | "limit">,
): AsyncGenerator<Entry<T> | UnreadableEntry> {
  return listSelected(storage, prefix, options, (entry: Entry<T> | UnreadableEntry) => entry);
}

/** Lists the keys under a prefix, in order, also of values that cannot be read. */
export function listKeys(
  storage: Storage,
  prefix: readonly string[],
  options?: Pick<ListOptions, "after" | "limit">,
): AsyncGenerator<Key> {
  return listSelected(storage, prefix, options, ({ key }) => key);
}

async function* listSelected<T, Selected>(
  storage: Storage,
  prefix: readonly string[],
  { after, limit }: Pick<ListOptions, "after" | "limit"> = {},
  select: (entry: Entry<T> | UnreadableEntry) => Selected,
): AsyncGenerator<Selected> {
  let last = after;
  let left = limit;
  while (left === undefined || left > 0) {
    try {
      for await (const entry of storage.list<T>(prefix, defined({ after: last, limit: left }))) {
        last = entry.key;
        if (left !== undefined) left--;
        yield select(entry);
      }
      return;
    } catch (error) {
      if (!(error instanceof StorageError) || error.unreadableKey === undefined) throw error;
      last = error.unreadableKey;
      if (left !== undefined) left--;
      yield select({ key: last });
    }
  }
}
