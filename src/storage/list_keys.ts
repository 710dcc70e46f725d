/** Lists keys, whatever their values are. */
import { defined } from "../defined.ts";
import { StorageError } from "../errors.ts";
import type { Key, ListOptions, Storage } from "./storage.ts";

/**
 * Lists the keys under a prefix, in order, also of values that cannot be read, such as those whose encryption key is gone.
 * Options are those of {@linkcode Storage.list}.
 */
export async function* listKeys(
  storage: Storage,
  prefix: readonly string[],
  { after, limit }: Pick<ListOptions, "after" | "limit"> = {},
): AsyncGenerator<Key> {
  let last = after;
  let left = limit;
  while (left === undefined || left > 0) {
    try {
      for await (const { key } of storage.list(prefix, defined({ after: last, limit: left }))) {
        last = key;
        if (left !== undefined) left--;
        yield key;
      }
      return;
    } catch (error) {
      if (!(error instanceof StorageError) || error.unreadableKey === undefined) throw error;
      last = error.unreadableKey;
      if (left !== undefined) left--;
      yield last;
    }
  }
}
