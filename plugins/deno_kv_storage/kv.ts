/** What is used of Deno KV. */

/** A key of Deno KV. */
export type KvKeyLike = readonly (string | number | boolean | Uint8Array)[];

/** What Deno KV gives for a key; without versionstamp there is nothing. */
export interface KvEntryLike {
  /** As it was set. */
  readonly value: unknown;
  /** Greater after every write. */
  readonly versionstamp: string | null;
}

/** What is used of a `Deno.Kv`, and of a `Kv` of `npm:@deno/kv`. */
export interface KvLike {
  /** Reads one key. */
  readonly get: (key: KvKeyLike) => Promise<KvEntryLike>;
  /** Reads the keys from `start` up to, and without, `end`. */
  readonly list: (
    range: { readonly start: KvKeyLike; readonly end: KvKeyLike },
    options: { readonly limit: number; readonly batchSize: number },
  ) => AsyncIterable<KvEntryLike>;
  /** Begins a write. */
  readonly atomic: () => KvAtomicLike;
}

/** What is used of a `Deno.AtomicOperation`: every step gives the operation with it. */
export interface KvAtomicLike {
  /** Only if the key has this versionstamp; `null`: only if there is nothing. */
  readonly check: (check: { readonly key: KvKeyLike; readonly versionstamp: string | null }) => KvAtomicLike;
  /** Sets a key; `expireIn` milliseconds later or some time after that, the backend removes it. */
  readonly set: (key: KvKeyLike, value: unknown, options: { readonly expireIn?: number }) => KvAtomicLike;
  /** Removes a key. */
  readonly delete: (key: KvKeyLike) => KvAtomicLike;
  /** Does all of it, or nothing when a check fails. */
  readonly commit: () => Promise<{ readonly ok: true; readonly versionstamp: string } | { readonly ok: false }>;
}

/** How an atomic operation ended. */
export type Committed = Awaited<ReturnType<KvAtomicLike["commit"]>>;

/** All of them. */
export async function collect(entries: AsyncIterable<KvEntryLike>): Promise<KvEntryLike[]> {
  const collected: KvEntryLike[] = [];
  for await (const entry of entries) collected.push(entry);
  return collected;
}
