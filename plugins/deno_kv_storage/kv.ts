/** The part of Deno KV that the storage uses. */
import { option, type OptionRules } from "../../mod.ts";

/** A key of Deno KV. */
export type KvKeyLike = readonly (string | number | boolean | Uint8Array)[];

/** The entry of Deno KV under a key; without a versionstamp if the key does not exist. */
export interface KvEntryLike {
  /** The value as it was set. */
  readonly value: unknown;
  /** Increases with every write. */
  readonly versionstamp: string | null;
}

/** The part of a `Deno.Kv`, or of a `Kv` of `npm:@deno/kv`, that is used. */
export interface KvLike {
  /** Reads one key. */
  readonly get: (key: KvKeyLike) => Promise<KvEntryLike>;
  /** Reads the keys from `start`, inclusive, to `end`, exclusive. */
  readonly list: (
    range: { readonly start: KvKeyLike; readonly end: KvKeyLike },
    options: { readonly limit: number; readonly batchSize: number },
  ) => AsyncIterable<KvEntryLike>;
  /** Starts an atomic operation. */
  readonly atomic: () => KvAtomicLike;
}

/** The rule of a database that is passed to the storage. */
export const KV_RULES: OptionRules<{ readonly kv: KvLike }> = {
  kv: option.required(option.value("an open database of Deno.openKv(), or of openKv() of @deno/kv", (kv) => {
    const { get, list, atomic } = Object(kv) as Partial<KvLike>;
    return [get, list, atomic].every((member) => typeof member === "function");
  })),
};

/** The part of a `Deno.AtomicOperation` that is used. Each method except `commit` returns the operation. */
export interface KvAtomicLike {
  /** Adds a condition: the key has this versionstamp; `null`: there is no entry. */
  readonly check: (check: { readonly key: KvKeyLike; readonly versionstamp: string | null }) => KvAtomicLike;
  /** Sets a key. The backend removes it `expireIn` milliseconds later, or some time after that. */
  readonly set: (key: KvKeyLike, value: unknown, options: { readonly expireIn?: number }) => KvAtomicLike;
  /** Deletes a key. */
  readonly delete: (key: KvKeyLike) => KvAtomicLike;
  /** Does everything, or nothing if a condition does not hold. */
  readonly commit: () => Promise<{ readonly ok: true; readonly versionstamp: string } | { readonly ok: false }>;
}

/** Result of an atomic operation. */
export type CommitResult = Awaited<ReturnType<KvAtomicLike["commit"]>>;

/** Returns all entries of a listing. */
export async function collect(entries: AsyncIterable<KvEntryLike>): Promise<KvEntryLike[]> {
  const collected: KvEntryLike[] = [];
  for await (const entry of entries) collected.push(entry);
  return collected;
}
