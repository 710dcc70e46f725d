/** Writes and deletes entries, each in one atomic operation with the chunks of its value. */
import { isExpired, type PutResult } from "../../storage.ts";
import type { Context, Send } from "./context.ts";
import { decodeVersion, type EncodedEntry, encodeVersion, type EntryRef } from "./entries.ts";
import type { CommitResult, KvAtomicLike, KvKeyLike } from "./kv.ts";
import { findEntry } from "./reads.ts";

/**
 * Returns the entry that a write replaces according to its condition: `null` if the condition is not a version, and
 * `undefined` if no unexpired entry can have this version.
 */
export function expectedEntry({ clock }: Context, ifVersion: string | null | undefined): EntryRef | null | undefined {
  if (typeof ifVersion !== "string") return null;
  const ref = decodeVersion(ifVersion);
  return ref === undefined || isExpired(ref, clock()) ? undefined : ref;
}

/** Writes an entry if the condition holds. One request if the stored entry is `expected`. */
export async function putEntry(
  context: Context,
  send: Send,
  kvKey: KvKeyLike,
  encoded: EncodedEntry,
  { ifVersion, expected }: { readonly ifVersion: string | null | undefined; readonly expected: EntryRef | null },
): Promise<PutResult> {
  for (let replaced = expected;;) {
    let failure: { readonly error: unknown } | undefined;
    try {
      const result = await send(() => commitPut(context, kvKey, replaced, encoded));
      if (result.ok) return { ok: true, version: encodeVersion({ ...encoded, ...result }) };
    } catch (error) {
      failure = { error };
    }
    // After a failure the write may be done, and a refusal may be the reply to a request that was sent twice.
    const stored = await findEntry(context, send, kvKey).catch((error) => {
      throw failure === undefined ? error : failure.error;
    });
    if (stored?.writeId === encoded.writeId) return { ok: true, version: encodeVersion(stored) };
    if (failure !== undefined) throw failure.error;
    if (typeof ifVersion === "string") return { ok: false };
    if (ifVersion === null && stored !== null && !isExpired(stored, context.clock())) return { ok: false };
    replaced = stored;
  }
}

/** Deletes an entry: if `expected` is not null, only that one, in one request, otherwise any, in two. */
export async function deleteEntry(
  context: Context,
  send: Send,
  kvKey: KvKeyLike,
  expected: EntryRef | null,
): Promise<{ readonly ok: boolean }> {
  for (;;) {
    const deleted = expected ?? await findEntry(context, send, kvKey);
    if (deleted === null) return { ok: true };
    const { ok } = await send(() => commitDelete(context, kvKey, deleted));
    if (ok || expected !== null) return { ok };
  }
}

/** Replaces `replaced`. The entry is set after its chunks and before the old ones are deleted, so it is always complete. */
function commitPut(
  context: Context,
  kvKey: KvKeyLike,
  replaced: EntryRef | null,
  { writeId, bytes, chunkBytes, setOptions }: EncodedEntry,
): Promise<CommitResult> {
  const { kv, keyspace } = context;
  let operation = kv.atomic().check({ key: kvKey, versionstamp: replaced?.versionstamp ?? null });
  for (const [i, chunk] of chunkBytes.entries()) {
    operation = operation.set(keyspace.chunk(writeId, i), chunk, setOptions);
  }
  return deleteChunks(context, operation.set(kvKey, bytes, setOptions), replaced).commit();
}

function commitDelete(context: Context, kvKey: KvKeyLike, deleted: EntryRef): Promise<CommitResult> {
  const operation = context.kv.atomic().check({ key: kvKey, versionstamp: deleted.versionstamp }).delete(kvKey);
  return deleteChunks(context, operation, deleted).commit();
}

function deleteChunks({ keyspace }: Context, operation: KvAtomicLike, ref: EntryRef | null): KvAtomicLike {
  for (let i = 0; i < (ref?.chunks ?? 0); i++) operation = operation.delete(keyspace.chunk(ref!.writeId, i));
  return operation;
}
