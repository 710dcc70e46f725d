/** Lists entries. */
import { compareKeys, type Entry, isExpired, type ListOptions } from "../../storage.ts";
import { type Context, read } from "./context.ts";
import { decodeRow, encodeEntryKey, rangeUnder } from "./entries.ts";

/** Max number of rows in memory. */
const PAGE_SIZE = 64;

/**
 * Yields the entries under `prefix` in key order. Each page is a statement of its own: one statement that stays open while
 * the caller works would keep SQLite from checkpointing the write-ahead log.
 */
export async function* listEntries<T>(
  context: Context,
  prefix: readonly string[],
  { after, limit = Infinity, signal }: ListOptions,
): AsyncGenerator<Entry<T>> {
  signal?.throwIfAborted();
  const { file, clock, database: { statements } } = context;
  const action = `list ${JSON.stringify(prefix)} in ${file}`;
  let { above, below } = rangeUnder(prefix);
  if (after !== undefined) {
    const bytes = encodeEntryKey(after);
    if (compareKeys(after, prefix) >= 0) above = bytes;
  }
  for (let remaining = limit; remaining > 0;) {
    signal?.throwIfAborted();
    const size = Math.ceil(Math.min(remaining, PAGE_SIZE));
    const page = read(context, action, () => statements.page.all(above, below, clock(), size));
    for (const row of page) {
      const entry = read(context, action, () => decodeRow<T>(file, row));
      // It may have expired since the page was read.
      if (isExpired(entry, clock())) continue;
      yield entry;
      remaining--;
      signal?.throwIfAborted();
    }
    if (page.length < size) return;
    above = page.at(-1)!["key"] as Uint8Array;
  }
}
