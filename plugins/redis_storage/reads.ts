/** Reads entries. */
import { type Entry, isExpired, type Key } from "../../storage.ts";
import type { Context } from "./context.ts";
import { decodeEntry } from "./entries.ts";
import type { Operation } from "./script_runner.ts";
import { GET } from "./scripts.ts";

/** Resolves to the entry, or `null` if there is none or it has expired. One request. */
export async function readEntry<T>(
  { runScript, keyspace, clock }: Context,
  operation: Operation,
  key: Key,
): Promise<Entry<T> | null> {
  const text = await runScript({
    operation,
    script: GET,
    keys: [keyspace.entry(key)],
    args: () => [],
    parse: (reply) => reply,
  });
  if (text === null) return null;
  const entry = decodeEntry<T>(key, String(text));
  // The server removes expired entries by its own clock only.
  return clock !== undefined && isExpired(entry, clock()) ? null : entry;
}
