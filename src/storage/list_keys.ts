/** Lists entries, whatever their values are. */
import { defined } from "../defined.ts";
import { StorageError } from "../errors.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";

/** The key of an entry whose value cannot be read, such as one whose encryption key is gone. */
export interface UnreadableEntry {
  readonly key: Key;
  readonly version?: undefined;
}

/** The options of {@linkcode Storage.list} that these functions take. */
type PageOptions = Pick<ListOptions, "after" | "limit">;

/** Lists the entries under a prefix, in order, also those whose values cannot be read. */
export function listEntries<T>(
  storage: Storage,
  prefix: readonly string[],
  options?: PageOptions,
): AsyncGenerator<Entry<T> | UnreadableEntry> {
  return listSelected(storage, prefix, options, (entry: Entry<T> | UnreadableEntry) => entry);
}

/** Lists the keys under a prefix, in order, also of values that cannot be read. */
export function listKeys(storage: Storage, prefix: readonly string[], options?: PageOptions): AsyncGenerator<Key> {
  return listSelected(storage, prefix, options, ({ key }) => key);
}

async function* listSelected<T, Selected>(
  storage: Storage,
  prefix: readonly string[],
  { after, limit }: PageOptions = {},
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
