/** Lists keys, whatever their values are. */
import { StorageError } from "../errors.ts";
import type { Key, Storage } from "./storage.ts";

/** Keys under a prefix, in order, also of values that cannot be read, such as those whose encryption key is gone. */
export async function* listKeys(storage: Storage, prefix: Key): AsyncGenerator<Key> {
  let after: Key | undefined;
  while (true) {
    try {
      for await (const { key } of storage.list(prefix, after === undefined ? {} : { after })) yield key;
      return;
    } catch (error) {
      if (!(error instanceof StorageError) || error.unreadableKey === undefined) throw error;
      after = error.unreadableKey;
      yield after;
    }
  }
}
