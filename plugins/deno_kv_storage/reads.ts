/** Reads entries. */
import { decodeValue, type Entry, isExpired } from "../../storage.ts";
import type { Context, Send } from "./context.ts";
import { decodeEntry, type StoredEntry, toEntry } from "./entries.ts";
import { collect, type KvKeyLike } from "./kv.ts";

/** Resolves to the stored entry, expired or not, without the chunks of its value. */
export async function findEntry({ kv }: Context, send: Send, kvKey: KvKeyLike): Promise<StoredEntry | null> {
  return decodeEntry(await send(() => kv.get(kvKey)));
}

/** Resolves to the entry, or `null` if there is none or it has expired. One request, two if its value is in chunks. */
export async function readEntry<T>(context: Context, send: Send, kvKey: KvKeyLike): Promise<Entry<T> | null> {
  let previous = "";
  for (;;) {
    const stored = await findEntry(context, send, kvKey);
    if (stored === null || isExpired(stored, context.clock())) return null;
    if (stored.chunks === undefined) return toEntry<T>(stored);
    const json = await readChunks(context, send, stored);
    if (json !== undefined) return toEntry<T>({ ...stored, value: decodeValue("Deno KV", stored.key, json) });
    // Chunks are missing if the entry was replaced between the two requests: read it again, unless it is unchanged.
    if (stored.versionstamp === previous) throw new Error("chunks of the stored value are missing");
    previous = stored.versionstamp;
  }
}

/** Resolves to the JSON of a value in chunks; `undefined` if a chunk is missing, or is one of another value. */
async function readChunks(
  { kv, keyspace }: Context,
  send: Send,
  { key, versionstamp, chunks: count = 0 }: StoredEntry,
): Promise<string | undefined> {
  const { chunk } = keyspace.large(key);
  const range = { start: chunk(0), end: chunk(count) };
  const chunks = await send(() => collect(kv.list(range, { limit: count, batchSize: count })));
  // An entry and its chunks are set by one atomic operation, which gives them the same versionstamp.
  if (chunks.length < count || chunks.some((chunk) => chunk.versionstamp !== versionstamp)) return undefined;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  return chunks.map(({ value }) => decoder.decode(value as Uint8Array, { stream: true })).join("") + decoder.decode();
}
