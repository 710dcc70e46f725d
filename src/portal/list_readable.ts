/** Lists the entries that this process can read: an unreadable one must not hide the others. */
import { FormatError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { listEntries } from "../storage/list_keys.ts";
import type { Entry, Key, ListOptions, Storage } from "../storage/storage.ts";

/**
 * Lists the results of `read` for the entries under a prefix, in key order. Unreadable entries are skipped and logged: their
 * encryption key is missing, or `read` throws `FormatError` because newer code wrote them.
 */
export async function* listReadable<T, Item>(
  { storage, log }: { readonly storage: Storage; readonly log: Pick<Logger, "warn"> },
  prefix: Key,
  read: (entry: Entry<T>) => Item,
  options?: Pick<ListOptions, "after" | "limit">,
): AsyncGenerator<Item> {
  for await (const entry of listEntries<T>(storage, prefix, options)) {
    const item = entry.version === undefined ? undefined : readOrUndefined(entry, read);
    if (item === undefined) log.warn("entry not readable", { event: "storage.unreadable", key: entry.key.join("/") });
    else yield item.value;
  }
}

function readOrUndefined<T, Item>(
  entry: Entry<T>,
  read: (entry: Entry<T>) => Item,
): { readonly value: Item } | undefined {
  try {
    return { value: read(entry) };
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
