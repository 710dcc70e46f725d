/**
 * The storage contract: four methods over keys and values, and one guarantee, compare-and-set on one key.
 * Whoever writes an adapter runs `storageConformance` of `@b24/onappupdate/testing` against it.
 */

/** One or more parts. Any well-formed text is allowed in a part, also the empty one. */
export type Key = readonly [string, ...string[]];

/** What is stored under a key. */
export interface Entry<T> {
  /** The key, part by part as it was written. */
  readonly key: Key;
  /** The value: a copy of the caller's own. */
  readonly value: T;
  /** Opaque; another one after every write, and never used again for this key, not even after a deletion. */
  readonly version: string;
  /** When the entry ends, in milliseconds since 1970: at this instant it is absent already. Without it: never. */
  readonly expiresAt?: number;
}

/** Options of {@linkcode Storage.put}. */
export interface PutOptions {
  /** `undefined`: write whatever is there; `null`: only if absent; else: only if the version is still this one. */
  readonly ifVersion?: string | null;
  /** Milliseconds from now after which the entry is absent for every method, even before the backend removes it. */
  readonly ttlMs?: number;
  /** Gives up waiting. The write may have happened all the same. */
  readonly signal?: AbortSignal;
}

/** Whether {@linkcode Storage.put} wrote; `ok: false` means that the condition did not hold. */
export type PutResult = { readonly ok: true; readonly version: string } | { readonly ok: false };

/** Options of {@linkcode Storage.list}. */
export interface ListOptions {
  /** Only keys after this one. */
  readonly after?: Key;
  /** At most this many entries; default all. */
  readonly limit?: number;
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
}

/** What a storage promises. */
export interface StorageCapabilities {
  /** A resolved `put` survives the end of the process and of the host. */
  readonly durable: boolean;
  /** Who shares the entries. */
  readonly scope: "process" | "host" | "network";
  /** Largest value in bytes of its JSON; absent: no limit of its own. */
  readonly maxValueBytes?: number;
  /** Who reads the backend cannot read the values. An app on a storage that outlives it and lacks this warns of it. */
  readonly encrypted?: boolean;
}

/**
 * Keys and values with compare-and-set. Values are what JSON can say, copied when `put` is called; `undefined` members
 * are dropped as JSON drops them, and what JSON cannot say at all is a `TypeError`. Every method throws `StorageError`
 * when the backend fails: a failed read is an error, never "absent". A `signal` that is aborted already rejects with its
 * reason, and nothing is done.
 *
 * Members are function properties, not methods, so that the compiler checks their variance.
 */
export interface Storage {
  /** For logs, such as `memory`. */
  readonly name: string;
  /** What it promises. */
  readonly capabilities: StorageCapabilities;
  /** The entry, or `null` when there is none or it has expired. */
  readonly get: <T>(key: Key, options?: { readonly signal?: AbortSignal }) => Promise<Entry<T> | null>;
  /** Writes if `ifVersion` holds, all or nothing. Durable, where the storage is, before it resolves. */
  readonly put: <T>(key: Key, value: T, options?: PutOptions) => Promise<PutResult>;
  /** Removes if `ifVersion` holds. Without `ifVersion` it is `ok` also when there was nothing. */
  readonly delete: (
    key: Key,
    options?: { readonly ifVersion?: string; readonly signal?: AbortSignal },
  ) => Promise<{ readonly ok: boolean }>;
  /**
   * The entries whose key begins with all parts of `prefix`, in key order: part by part, each by code point.
   * An entry under exactly `prefix` belongs to it. Writes during the listing may or may not be seen, each
   * entry at most once.
   */
  readonly list: <T>(prefix: readonly string[], options?: ListOptions) => AsyncIterable<Entry<T>>;
  /** Lets go of what the storage holds open. May be called again; after it, the other methods reject or go on as before. */
  readonly close?: () => Promise<void>;
}
