/** Lists entries. */
import { compareKeys, type Entry, isExpired, type Key, type ListOptions } from "../../storage.ts";
import { callDatabase, type Context } from "./context.ts";
import { decodeEntry, toEntry } from "./entries.ts";
import { collect } from "./kv.ts";
import { readEntry } from "./reads.ts";

/** Max number of entries in one request. */
const PAGE_SIZE = 64;

/** Yields the entries under `prefix` in key order. One request a page, and two more for each entry in chunks. */
export async function* listEntries<T>(
  context: Context,
  prefix: readonly string[],
  { after, limit = Infinity, signal }: ListOptions,
): AsyncGenerator<Entry<T>> {
  signal?.throwIfAborted();
  const { kv, keyspace, clock } = context;
  const action = `list ${JSON.stringify(prefix)} in`;
  let { start, end } = keyspace.range(prefix);
  if (after !== undefined) {
    const { start: startAfter } = keyspace.range(prefix, after);
    if (compareKeys(after, prefix) >= 0) {
      if (!isUnder(after, prefix)) return;
      start = startAfter;
    }
  }
  for (let remaining = limit; remaining > 0;) {
    const size = Math.ceil(Math.min(remaining, PAGE_SIZE));
    const page = await callDatabase(context, action, signal, async (send) => {
      const entries = await send(() => collect(kv.list({ start, end }, { limit: size, batchSize: size })));
      return entries.map((entry) => decodeEntry(entry)!);
    });
    for (const stored of page) {
      if (isExpired(stored, clock())) continue;
      const entry = stored.chunks === undefined ? toEntry<T>(stored) : await callDatabase(
        context,
        action,
        signal,
        (send) => readEntry<T>(context, send, keyspace.entry(stored.key)),
      );
      if (entry === null) continue;
      yield entry;
      remaining--;
      signal?.throwIfAborted();
    }
    if (page.length < size) return;
    ({ start, end } = keyspace.range(prefix, page.at(-1)!.key));
  }
}

function isUnder(key: Key, prefix: readonly string[]): boolean {
  return prefix.every((part, i) => part === key[i]);
}
