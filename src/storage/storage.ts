/**
 * The storage contract: four methods over keys and values, and one guarantee, compare-and-set on one key. Two more methods
 * are optional: `write` only saves time, and `close` releases what the storage holds open.
 * `docs/storage-contract.md` lists the requirements; `storageConformance` of `@b24/onappupdate/testing` tests them.
 */

/** A key: one or more parts. Each part is any well-formed string, including the empty one. */
export type Key = readonly [string, ...string[]];

/** An entry: a key with its value. */
export interface Entry<T> {
  /** The key, with the parts that it was written with. */
  readonly key: Key;
  /** A copy of the value. */
  readonly value: T;
  /** Opaque. Changes with every write and is never used again for this key, not even after a deletion. */
  readonly version: string;
  /** When the entry expires, in milliseconds since 1970: from this instant on it is absent. Absent: it never expires. */
  readonly expiresAt?: number;
}

/** Options of {@linkcode Storage.put}. */
export interface PutOptions {
  /** Condition of the write. A version: the entry still has it; `null`: there is no entry; absent: no condition. */
  readonly ifVersion?: string | null;
  /**
   * Milliseconds until the entry expires. From then on it is absent for every method, even before the backend removes
   * it. Absent: the entry never expires, whatever the entry that it replaces did.
   */
  readonly ttlMs?: number;
  /** Rejects the call with the signal's reason. The write may happen nevertheless. */
  readonly signal?: AbortSignal;
}

/** Result of {@linkcode Storage.put}. `ok: false` means that the condition did not hold and nothing was written. */
export type PutResult = { readonly ok: true; readonly version: string } | { readonly ok: false };

/** One operation of {@linkcode Storage.write}: a `put` or a `delete` with its options. */
export type WriteOperation =
  | ({ readonly put: Key; readonly value: unknown } & Omit<PutOptions, "signal">)
  | { readonly delete: Key; readonly ifVersion?: string };

/** Options of {@linkcode Storage.write}. */
export interface WriteOptions {
  /** Rejects the call with the signal's reason. All operations, some or none may be applied nevertheless. */
  readonly signal?: AbortSignal;
}

/**
 * Result of {@linkcode Storage.write}.
 *
 * - `ok: true`: all operations are applied. `versions` has the new version of each `put`, and `undefined` for each
 *   `delete`.
 * - `ok: false`: the condition of operation `failedAt`, counted from 0, did not hold. Neither it nor a later one is
 *   applied. The ones before it are applied or not: read again.
 */
export type WriteResult =
  | { readonly ok: true; readonly versions: readonly (string | undefined)[] }
  | { readonly ok: false; readonly failedAt: number };

/** Options of {@linkcode Storage.list}. */
export interface ListOptions {
  /** Lists only keys after this one. It need not exist. */
  readonly after?: Key;
  /**
   * Max number of entries.
   *
   * @default Infinity
   */
  readonly limit?: number;
  /** Ends the listing with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Guarantees and limits of a storage. */
export interface StorageCapabilities {
  /** Whether a resolved `put` survives a crash of the process and of the host. */
  readonly durable: boolean;
  /** Which processes share the entries: one, those of one host, or any on the network. */
  readonly scope: "process" | "host" | "network";
  /** Max size of a value, in bytes of its JSON in UTF-8. Absent: the storage has no limit of its own. */
  readonly maxValueBytes?: number;
  /** Whether the backend sees values only encrypted. If not, an app on a durable storage warns at startup. */
  readonly encrypted?: boolean;
}

/**
 * A store of keys and values with compare-and-set.
 *
 * Failure semantics are:
 *
 * 1. Every method throws `StorageError` if the backend fails. A failed read is an error, never "absent".
 * 2. `{ ok: false }` means that the condition did not hold and nothing was written. If a write may have been done but
 *    its reply was lost, the storage finds out, or throws `StorageError`: then the outcome is unknown.
 * 3. Every method throws `TypeError` for an invalid key, and `put` for a value that JSON cannot represent.
 * 4. A signal that is already aborted rejects the call with its reason, and nothing is done.
 *
 * Values are JSON, and are copied when `put` is called; `undefined` members are dropped, as in JSON.
 *
 * Members are function properties, not methods, so that the compiler checks their variance.
 */
export interface Storage {
  /** Name for logs and errors, such as `memory`. */
  readonly name: string;
  /** Guarantees and limits. */
  readonly capabilities: StorageCapabilities;
  /** Returns the entry, or `null` if there is none or it has expired. */
  readonly get: <T>(key: Key, options?: { readonly signal?: AbortSignal }) => Promise<Entry<T> | null>;
  /** Writes the entry if `ifVersion` holds. If the storage is durable, the entry is when the promise resolves. */
  readonly put: <T>(key: Key, value: T, options?: PutOptions) => Promise<PutResult>;
  /** Deletes the entry if it has the version `ifVersion`. Without `ifVersion` it is `ok` even if there is no entry. */
  readonly delete: (
    key: Key,
    options?: { readonly ifVersion?: string; readonly signal?: AbortSignal },
  ) => Promise<{ readonly ok: boolean }>;
  /**
   * Applies the operations in order and stops at the first whose condition does not hold. May apply all of them
   * atomically. Optional: `writeInOrder` calls `put` and `delete` one by one on a storage without it.
   *
   * If it rejects with a `StorageError`, nothing is applied, or a prefix of the operations, or all of them. Rejects with
   * a `TypeError` and applies nothing if an operation is invalid or two have the same key.
   */
  readonly write?: (operations: readonly WriteOperation[], options?: WriteOptions) => Promise<WriteResult>;
  /**
   * Lists the entries whose keys start with all parts of `prefix`, including one under exactly `prefix`. They are in key
   * order: part by part, each by code point. Writes during the listing may or may not be seen; no key is listed twice.
   */
  readonly list: <T>(prefix: readonly string[], options?: ListOptions) => AsyncIterable<Entry<T>>;
  /** Releases what the storage holds open. May be called again; later calls of other methods reject or work as before. */
  readonly close?: () => Promise<void>;
}
