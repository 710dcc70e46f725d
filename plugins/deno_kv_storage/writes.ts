/** Writes and deletes entries by atomic operations, together with the chunks of their values. */
import { isExpired, type WriteResult } from "../../storage.ts";
import { createBatches } from "./batches.ts";
import type { Context, Send } from "./context.ts";
import {
  decodeVersion,
  encodeVersion,
  type EntryRef,
  type EntryWrite,
  MAX_CHUNKS,
  type StoredEntry,
} from "./entries.ts";
import type { CommitResult, KvAtomicLike } from "./kv.ts";
import { findEntry } from "./reads.ts";
import { sweepSometimes } from "./sweep.ts";

const encoder = new TextEncoder();

/**
 * Applies the writes in order, as many as possible in each atomic operation, and stops at the first whose condition does
 * not hold. One request for each atomic operation; if a condition does not hold, one more for each condition.
 */
export async function writeEntries(context: Context, send: Send, writes: readonly EntryWrite[]): Promise<WriteResult> {
  await sweepSometimes(context, send, writes.length);
  const versions: (string | undefined)[] = [];
  for (const batch of createBatches(context.keyspace, writes)) {
    const result = await writeBatch(context, send, batch);
    if (!result.ok) return { ok: false, failedAt: versions.length + result.failedAt };
    versions.push(...result.versions);
  }
  return { ok: true, versions };
}

/** Applies all writes of a batch in one atomic operation, or none. */
async function writeBatch(context: Context, send: Send, batch: readonly EntryWrite[]): Promise<WriteResult> {
  const { clock } = context;
  const succeed = (versionstamp: string): WriteResult => ({
    ok: true,
    versions: batch.map(({ encoded }) => encoded && encodeVersion({ ...encoded, versionstamp })),
  });
  /** The entries that the writes with a condition replace; `null`: none; `undefined`: no entry has this version. */
  let replaced = batch.map(({ ifVersion }) => expectedEntry(ifVersion, clock()));
  const firstPut = batch.findIndex(({ encoded }) => encoded !== undefined);
  if (replaced[0] === undefined) return { ok: false, failedAt: 0 };
  for (;;) {
    let failure: { readonly error: unknown } | undefined;
    if (!replaced.includes(undefined)) {
      try {
        const result = await send(() => commit(context, batch, replaced as (EntryRef | null)[]));
        if (result.ok) return succeed(result.versionstamp);
      } catch (error) {
        failure = { error };
      }
    }
    // After a failure the writes may be done, and a refusal may be the reply to a request that was sent twice.
    const stored = await Promise.all(
      batch.map(({ kvKey, ifVersion }, i) =>
        ifVersion !== undefined || i === firstPut ? findEntry(context, send, kvKey) : null
      ),
    ).catch((error) => {
      throw failure === undefined ? error : failure.error;
    });
    const own = stored.find((entry, i) => entry !== null && entry.writeId === batch[i]!.encoded?.writeId);
    if (own) return succeed(own.versionstamp);
    if (failure !== undefined) throw failure.error;
    const failedAt = batch.findIndex(({ ifVersion }, i) => !holds(ifVersion, stored[i]!, clock()));
    if (failedAt >= 0) return { ok: false, failedAt };
    // Entries have expired, or the ones that were in the way are gone.
    replaced = batch.map(({ ifVersion }, i) => ifVersion === null ? stored[i]! : replaced[i]);
  }
}

function expectedEntry(ifVersion: string | null | undefined, now: number): EntryRef | null | undefined {
  if (typeof ifVersion !== "string") return null;
  const ref = decodeVersion(ifVersion);
  return ref === undefined || isExpired(ref, now) ? undefined : ref;
}

function holds(ifVersion: string | null | undefined, stored: StoredEntry | null, now: number): boolean {
  if (ifVersion === undefined) return true;
  const live = stored !== null && !isExpired(stored, now) ? stored : undefined;
  if (ifVersion === null) return live === undefined;
  return live !== undefined && live.versionstamp === decodeVersion(ifVersion)?.versionstamp;
}

function commit(
  { kv, keyspace }: Context,
  batch: readonly EntryWrite[],
  replaced: readonly (EntryRef | null)[],
): Promise<CommitResult> {
  let operation: KvAtomicLike = kv.atomic();
  for (const [i, { key, kvKey, ifVersion, encoded }] of batch.entries()) {
    if (ifVersion !== undefined) {
      operation = operation.check({ key: kvKey, versionstamp: replaced[i]?.versionstamp ?? null });
    }
    const { bytes, chunkBytes = [], setOptions = {} } = encoded ?? {};
    operation = bytes === undefined ? operation.delete(kvKey) : operation.set(kvKey, bytes, setOptions);
    // Without a condition nothing is known of the old value. If that was large, the sweep deletes its chunks.
    const oldChunks = replaced[i]?.chunks ?? 0;
    if (chunkBytes.length + oldChunks === 0) continue;
    const { marker, chunk: chunkKey } = keyspace.large(key);
    operation = chunkBytes.length === 0
      ? operation.delete(marker)
      : operation.set(marker, encoder.encode(JSON.stringify(key)), setOptions);
    for (const [index, chunk] of chunkBytes.entries()) operation = operation.set(chunkKey(index), chunk, setOptions);
    // All others, because the sweep will no longer find chunks of older values.
    for (let index = chunkBytes.length; index < MAX_CHUNKS; index++) operation = operation.delete(chunkKey(index));
  }
  return operation.commit();
}
