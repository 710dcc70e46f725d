/**
 * Deletes the chunks of large values that a write without a condition has replaced: it does not read what it replaces. An
 * entry, its chunks and their marker are set by one atomic operation, which gives them the same versionstamp.
 */
import type { Key } from "../../storage.ts";
import type { Context, Send } from "./context.ts";
import { MAX_CHUNKS } from "./entries.ts";
import { collect } from "./kv.ts";

/** Number of writes between two pages, and of markers in a page. So the sweep keeps up with the writes. */
const INTERVAL = 64;

/** Sweeps one page if there were enough writes since the last one. One request, and one more for each marker. */
export async function sweepSometimes(context: Context, send: Send, writes: number): Promise<void> {
  const { kv, keyspace, sweep } = context;
  sweep.writes += writes;
  if (sweep.writes < INTERVAL) return;
  sweep.writes = 0;
  const range = keyspace.markers(sweep.after);
  const page = await send(() => collect(kv.list(range, { limit: INTERVAL, batchSize: INTERVAL })));
  const keys = page.map(({ value }): Key => JSON.parse(new TextDecoder().decode(value as Uint8Array)));
  sweep.after = page.length < INTERVAL ? undefined : keys.at(-1);
  await Promise.all(page.map(({ versionstamp }, i) => sweepValue(context, send, keys[i]!, versionstamp)));
}

/** Deletes the large value of an entry with its marker, unless the entry and the marker have the same versionstamp. */
async function sweepValue(
  { kv, keyspace }: Context,
  send: Send,
  key: Key,
  versionstamp: string | null,
): Promise<void> {
  const entry = await send(() => kv.get(keyspace.entry(key)));
  if (entry.versionstamp === versionstamp) return;
  const { marker, chunk } = keyspace.large(key);
  let operation = kv.atomic().check({ key: marker, versionstamp }).delete(marker);
  for (let index = 0; index < MAX_CHUNKS; index++) operation = operation.delete(chunk(index));
  // Refused if another large value has been written since.
  await send(() => operation.commit());
}
