/** Splits writes into batches that each fit into one atomic operation. */
import { type EntryWrite, MAX_CHUNKS } from "./entries.ts";
import type { Keyspace } from "./keyspace.ts";

/** Limits of an atomic operation. `npm:@deno/kv` allows 10 checks, Deno 100. */
const LIMITS: Size = { checks: 10, mutations: 1000, keyBytes: 81_920, bytes: 819_200 };

interface Size {
  /** Number of conditions. */
  readonly checks: number;
  /** Number of keys that are set or deleted. */
  readonly mutations: number;
  /** Size of all keys. */
  readonly keyBytes: number;
  /** Size of all keys and values. */
  readonly bytes: number;
}

/** Yields the writes in batches, in order. A batch is as large as an atomic operation can be. */
export function* createBatches(
  keyspace: Keyspace,
  writes: readonly EntryWrite[],
): Generator<readonly EntryWrite[]> {
  let batch: EntryWrite[] = [];
  let size: Size = { checks: 0, mutations: 0, keyBytes: 0, bytes: 0 };
  for (const write of writes) {
    const added = sizeOf(keyspace, write);
    const next = plus(size, added);
    if (batch.length > 0 && !fits(next)) {
      yield batch;
      [batch, size] = [[write], added];
    } else {
      batch.push(write);
      size = next;
    }
  }
  if (batch.length > 0) yield batch;
}

/** Returns the max size of a write. */
function sizeOf(keyspace: Keyspace, { key, ifVersion, encoded }: EntryWrite): Size {
  const { bytes, chunkBytes = [] } = encoded ?? {};
  const checks = ifVersion === undefined ? 0 : 1;
  // The marker and all chunks, of the new or the old value. Nothing is known of the old one without a condition.
  const others = chunkBytes.length + checks > 0 ? 1 + MAX_CHUNKS : 0;
  const size = keyspace.sizes(key);
  const keyBytes = (checks + 1) * size.entry + others * size.other;
  // The value of the marker is the key.
  const markerBytes = chunkBytes.length > 0 ? JSON.stringify(key).length * 3 : 0;
  return {
    ...{ checks, mutations: 1 + others, keyBytes },
    bytes: chunkBytes.reduce((sum, chunk) => sum + chunk.length, keyBytes + markerBytes + (bytes?.length ?? 0)),
  };
}

function plus(a: Size, b: Size): Size {
  return {
    checks: a.checks + b.checks,
    mutations: a.mutations + b.mutations,
    keyBytes: a.keyBytes + b.keyBytes,
    bytes: a.bytes + b.bytes,
  };
}

function fits({ checks, mutations, keyBytes, bytes }: Size): boolean {
  return checks <= LIMITS.checks && mutations <= LIMITS.mutations && keyBytes <= LIMITS.keyBytes &&
    bytes <= LIMITS.bytes;
}
