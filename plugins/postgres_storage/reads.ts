/** Reads and lists entries. */
import { compareKeys, type Entry, isExpired, type Key, type ListOptions } from "../../storage.ts";
import { type Context, timeParameter } from "./context.ts";
import { decodeEntryKey, decodeRow, encodeEntryKey, rangeUnder } from "./entries.ts";
import { type Operation, repeated } from "./runner.ts";

/** Max number of entries in one page of a listing. */
const PAGE_SIZE = 64;

/** Resolves to the entry, or `null` if there is none or it has expired. */
export async function readEntry<T>(
  context: Context,
  operation: Operation,
  key: Key,
  encodedKey: string,
): Promise<Entry<T> | null> {
  const { run, statements } = context;
  const [row] = await run(
    operation,
    (query) => repeated(query, statements.get, [encodedKey, timeParameter(context)]),
  );
  return row === undefined ? null : decodeRow<T>(key, row);
}

/** Yields the entries under `prefix` in key order. Each page is a statement of its own: no cursor stays open. */
export async function* listEntries<T>(
  context: Context,
  prefix: readonly string[],
  { after, limit = Infinity, signal }: ListOptions,
): AsyncGenerator<Entry<T>> {
  signal?.throwIfAborted();
  const { run, statements, clock } = context;
  const operation: Operation = { describe: () => `list ${JSON.stringify(prefix)} in PostgreSQL`, signal };
  let { above, below } = rangeUnder(prefix);
  if (after !== undefined) {
    const bound = encodeEntryKey(after);
    if (compareKeys(after, prefix) >= 0) above = bound;
  }
  for (let remaining = limit; remaining > 0;) {
    const size = Math.ceil(Math.min(remaining, PAGE_SIZE));
    const page = await run(
      operation,
      (query) => repeated(query, statements.list, [above, timeParameter(context), below, String(size)]),
    );
    const readAt = performance.now();
    for (const row of page) {
      const entry = decodeRow<T>(decodeEntryKey(String(row["key"])), row);
      // It may have expired since the page was read.
      const now = clock?.() ?? Number(row["now"]) + performance.now() - readAt;
      if (isExpired(entry, now)) continue;
      yield entry;
      remaining--;
      signal?.throwIfAborted();
    }
    if (page.length < size) return;
    above = String(page.at(-1)!["key"]);
  }
}
