/** Lists entries, whatever their values are. */
import { defined } from "../defined.ts";
import { StorageError } from "../errors.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";

/** The key of an entry whose value cannot be read, such as one whose encryption key is gone. */
export interface UnreadableEntry {
  readonly key: Key;
  readonly version?: undefined;
}

/**
 * Lists the entries under a prefix, in order, also those whose values cannot be read. Options are those of
 * {@linkcode Storage.list}.
 */
export async function* listEntries<T>(
  storage: Storage,
  prefix: readonly string[],
  { after, limit }: Pick<ListOptions, "after" | "limit"> = {},
): AsyncGenerator<Entry<T> | UnreadableEntry> {
  let last = after;
  let left = limit;
  while (left === undefined || left > 0) {
    try {
      for await (const entry of storage.list<T>(prefix, defined({ after: last, limit: left }))) {
        last = entry.key;
        if (left !== undefined) left--;
        yield entry;
      }
      return;
    } catch (error) {
      if (!(error instanceof StorageError) || error.unreadableKey === undefined) throw error;
      last = error.unreadableKey;
      if (left !== undefined) left--;
      yield { key: last };
    }
  }
}

/** Lists the keys under a prefix: see {@linkcode listEntries}. */
export async function* listKeys(
  storage: Storage,
  prefix: readonly string[],
  options?: Pick<ListOptions, "after" | "limit">,
): AsyncGenerator<Key> {
  for await (const { key } of listEntries(storage, prefix, options)) yield key;
}
