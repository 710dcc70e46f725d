/** Lists entries. */
import { compareKeys, decodeKey, type Entry, isExpired, type Key, type ListOptions } from "../../storage.ts";
import { type Context, syncClock } from "./context.ts";
import { decodeEntry } from "./entries.ts";
import { boundAfter, rangeUnder } from "./keyspace.ts";
import { readEntry } from "./reads.ts";
import type { Operation } from "./script_runner.ts";
import { LIST } from "./scripts.ts";
import { writeEntries } from "./writes.ts";

/** Max number of entries in one request. */
const PAGE_SIZE = 64;

/** Yields the entries under `prefix` in key order. One request a page. */
export async function* listEntries<T>(
  context: Context,
  prefix: readonly string[],
  { after, limit = Infinity, signal }: ListOptions,
): AsyncGenerator<Entry<T>> {
  signal?.throwIfAborted();
  const operation: Operation = { describe: () => `list ${JSON.stringify(prefix)} in Redis`, signal };
  let { from, to } = rangeUnder(prefix);
  if (after !== undefined) {
    const bound = boundAfter(after);
    if (compareKeys(after, prefix) >= 0) from = bound;
  }
  for (let remaining = limit; remaining > 0;) {
    const size = Math.ceil(Math.min(remaining, PAGE_SIZE));
    const { last, items } = await readPage(context, operation, from, to, size);
    for (let i = 0; i < items.length; i += 2) {
      const key = decodeKey(String(items[i]));
      const text = items[i + 1];
      const entry = text === null ? await repairKey<T>(context, operation, key) : decodeEntry<T>(key, String(text));
      // It may have expired since the page was read.
      if (entry === null || isExpired(entry, currentTime(context))) continue;
      yield entry;
      remaining--;
      signal?.throwIfAborted();
    }
    if (last === null) return;
    from = `(${last}`;
  }
}

interface Page {
  /** The last encoded key that the server looked at; `null` if the page is the last one. */
  readonly last: unknown;
  /** Encoded keys and entries in turn. An entry is `null` if only its key is there. */
  readonly items: readonly unknown[];
}

async function readPage(
  context: Context,
  operation: Operation,
  from: string,
  to: string,
  size: number,
): Promise<Page> {
  const { runScript, keyspace, clock } = context;
  const args = [from, to, String(size)];
  const [serverTime, last, ...items] = await runScript({
    operation,
    script: LIST,
    keys: [keyspace.keys, keyspace.expiry],
    args: () => clock === undefined ? args : [...args, String(clock())],
    parse: (reply) => reply as readonly unknown[],
  });
  syncClock(context, Number(serverTime));
  return { last, items };
}

/** The time by which entries expire. Call it after a reply that contained the server's time. */
function currentTime({ clock, serverAheadMs }: Context): number {
  return clock?.() ?? Date.now() + serverAheadMs!;
}

/** Reads the entry of a key that was listed without one. If there still is none, removes the key from the sorted sets. */
async function repairKey<T>(context: Context, operation: Operation, key: Key): Promise<Entry<T> | null> {
  const entry = await readEntry<T>(context, operation, key);
  if (entry === null) await writeEntries(context, operation, [{ key, ifVersion: null, ttlMs: undefined }]);
  return entry;
}
