/** Lists keys, whatever their values are. */
import { defined } from "../defined.ts";
import { StorageError } from "../errors.ts";
import type { Key, ListOptions, Storage } from "./storage.ts";

type Options = Pick<ListOptions, "after" | "limit">;

/** Lists the keys under a prefix as {@linkcode listAll} does. */
export async function* listKeys(storage: Storage, prefix: readonly string[], options?: Options): AsyncGenerator<Key> {
  for await (const { key } of listAll(storage, prefix, options)) yield key;
}

/**
 * Lists the entries under a prefix, in order, also those whose values cannot be read, such as values whose encryption key is gone:
 * without the value. Options are those of {@linkcode Storage.list}.
 */
export async function* listAll<T>(
  storage: Storage,
  prefix: readonly string[],
  { after, limit }: Options = {},
): AsyncGenerator<{ readonly key: Key; readonly value?: T }> {
  let last = after;
  let left = limit;
  while (left === undefined || left > 0) {
    try {
      for await (const { key, value } of storage.list<T>(prefix, defined({ after: last, limit: left }))) {
        last = key;
        if (left !== undefined) left--;
        yield { key, value };
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
