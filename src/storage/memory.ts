// deno-lint-ignore-file require-await -- `async` turns a thrown error into a rejection
/** A storage in memory, the reference implementation of the storage contract. */
import { checkOptions, option } from "../check_options.ts";
import { assertKey, compareKeys, compareStrings } from "./key.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";
import { decodeValue, encodeValue, expiryOf, isExpired } from "./value.ts";
import { encodeOperations } from "./write.ts";

/** Options of {@linkcode memoryStorage}. */
export interface MemoryStorageOptions {
  /**
   * Returns the time in milliseconds since 1970. Entries expire by it.
   *
   * @default Date.now
   */
  readonly clock?: () => number;
}

/**
 * Creates a storage in the memory of this process, for tests and development. Each call creates a storage of its own.
 * Nothing survives the process, including the events that the app has already acknowledged.
 *
 * `put` throws `TypeError` for a value that JSON cannot represent, such as `undefined`, a function or a cycle, and for a
 * `ttlMs` that is not a finite number.
 *
 * @example
 * ```ts
 * import { memoryStorage } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * const storage = memoryStorage();
 * const created = await storage.put(["portal", "a223"], { version: "2.0.0" }, { ifVersion: null });
 * assert.equal(created.ok, true);
 * assert.deepEqual(await storage.put(["portal", "a223"], {}, { ifVersion: null }), { ok: false });
 *
 * const entry = await storage.get<{ version: string }>(["portal", "a223"]);
 * assert.equal(entry?.value.version, "2.0.0");
 * ```
 */
export function memoryStorage(options: MemoryStorageOptions = {}): Storage {
  checkOptions("cannot store in memory", options, { clock: option.function() });
  const { clock = Date.now } = options;
  const { root, live, holds, set, remove } = createEntries(clock);

  return {
    name: "memory",
    capabilities: { durable: false, scope: "process" },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      assertKey(key);
      const stored = live(root.find(key));
      return stored === undefined ? null : toEntry<T>(stored);
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      assertKey(key);
      const text = encodeValue(key, value);
      const expiresAt = expiryOf(key, clock(), ttlMs);
      return holds(key, ifVersion) ? { ok: true, version: set(key, text, expiresAt) } : { ok: false };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      assertKey(key);
      if (!holds(key, ifVersion)) return { ok: false };
      remove(key);
      return { ok: true };
    },

    write: async (operations, { signal } = {}) => {
      signal?.throwIfAborted();
      const encoded = encodeOperations(operations);
      const failedAt = encoded.findIndex(({ key, ifVersion }) => !holds(key, ifVersion));
      if (failedAt >= 0) return { ok: false, failedAt };
      const versions = encoded.map(({ key, json, ttlMs }) =>
        json === undefined ? remove(key) : set(key, json, expiryOf(key, clock(), ttlMs))
      );
      return { ok: true, versions };
    },

    list: async function* <T>(
      prefix: readonly string[],
      { after, limit = Infinity, signal }: ListOptions = {},
    ): AsyncGenerator<Entry<T>> {
      signal?.throwIfAborted();
      if (prefix.length > 0) assertKey(prefix);
      if (after !== undefined) assertKey(after);
      if (!(limit > 0)) return;
      let count = 0;
      for (const branch of root.walkUnder(prefix, after)) {
        signal?.throwIfAborted();
        const stored = live(branch);
        if (stored === undefined) continue;
        yield toEntry<T>(stored);
        if (++count >= limit) return;
      }
    },
  };
}

/** The entries of a storage, and operations on one of them. */
interface Entries {
  readonly root: Branch;
  /** Returns the entry at `branch`, unless it has expired: then drops it. */
  readonly live: (branch: Branch | undefined) => StoredEntry | undefined;
  /** Returns whether the condition of a write holds. */
  readonly holds: (key: Key, ifVersion: string | null | undefined) => boolean;
  /** Writes an entry and returns its version. */
  readonly set: (key: Key, text: string, expiresAt: number | undefined) => string;
  readonly remove: (key: Key) => undefined;
}

function createEntries(clock: () => number): Entries {
  const root = new Branch();
  let versions = 0;
  let size = 0;
  /** Writes with a ttlMs since the last sweep. */
  let ttlWrites = 0;

  function drop(branch: Branch): void {
    branch.drop();
    size--;
  }

  function live(branch: Branch | undefined): StoredEntry | undefined {
    const stored = branch?.stored;
    if (stored === undefined || !isExpired(stored, clock())) return stored;
    drop(branch!);
    return undefined;
  }

  /** Drops expired entries, which would otherwise accumulate. Runs so rarely that each write pays for two entries. */
  function sweep(): void {
    if (++ttlWrites <= size / 2) return;
    ttlWrites = 0;
    for (const branch of root.walk()) live(branch);
  }

  function holds(key: Key, ifVersion: string | null | undefined): boolean {
    return ifVersion === undefined || ifVersion === (live(root.find(key))?.version ?? null);
  }

  function set(key: Key, text: string, expiresAt: number | undefined): string {
    const version = String(++versions);
    if (live(root.find(key)) === undefined) size++;
    root.ensure(key).stored = { key: [...key], text, version, expiresAt };
    if (expiresAt !== undefined) sweep();
    return version;
  }

  function remove(key: Key): undefined {
    const branch = root.find(key);
    if (live(branch) !== undefined) drop(branch!);
  }

  return { root, live, holds, set, remove };
}

/** An entry in memory. Its value is JSON, so that the caller and the storage share no object. */
interface StoredEntry {
  readonly key: Key;
  readonly text: string;
  readonly version: string;
  readonly expiresAt: number | undefined;
}

/**
 * A node of the tree of keys: one part of a key. An entry is at the branch of its last part, so the cost of listing a
 * prefix depends only on the entries under it. A branch without an entry and without children is removed.
 */
class Branch {
  stored: StoredEntry | undefined;
  readonly #parent: Branch | undefined;
  readonly #part: string;
  #children: Map<string, Branch> | undefined;
  /** Sorted parts of the children; may contain removed ones. Immutable, because listings in progress hold it. */
  #ordered: readonly string[] | undefined;

  constructor(parent?: Branch, part = "") {
    this.#parent = parent;
    this.#part = part;
  }

  find(key: readonly string[]): Branch | undefined {
    // deno-lint-ignore no-this-alias -- the loop starts here
    let branch: Branch = this;
    for (const part of key) {
      const child: Branch | undefined = branch.#children?.get(part);
      if (child === undefined) return undefined;
      branch = child;
    }
    return branch;
  }

  /** Returns the branch of `key`, and creates it if it does not exist. */
  ensure(key: readonly string[]): Branch {
    // deno-lint-ignore no-this-alias -- the loop starts here
    let branch: Branch = this;
    for (const part of key) branch = branch.#children?.get(part) ?? branch.#add(part);
    return branch;
  }

  #add(part: string): Branch {
    const child = new Branch(this, part);
    (this.#children ??= new Map()).set(part, child);
    this.#ordered = undefined;
    return child;
  }

  /** Removes the entry, and every branch that is then empty. */
  drop(): void {
    this.stored = undefined;
    // deno-lint-ignore no-this-alias -- the loop starts here
    let branch: Branch = this;
    while (branch.#parent !== undefined && branch.stored === undefined && !branch.#children?.size) {
      branch.#parent.#remove(branch.#part);
      branch = branch.#parent;
    }
  }

  #remove(part: string): void {
    this.#children!.delete(part);
    // Sorting again after every removal would make emptying a queue quadratic, but removed parts must not accumulate.
    if (this.#ordered !== undefined && this.#ordered.length > 2 * this.#children!.size) this.#ordered = undefined;
  }

  /** Returns the branches with an entry under `prefix` and after `after`, in key order. */
  walkUnder(prefix: readonly string[], after: readonly string[] | undefined): Iterable<Branch> {
    const top = this.find(prefix);
    if (top === undefined) return [];
    if (after === undefined) return top.walk();
    if (prefix.every((part, i) => part === after[i])) return top.walk(after.slice(prefix.length));
    return compareKeys(after, prefix) < 0 ? top.walk() : [];
  }

  /** Yields the branches with an entry, in key order. `after` is relative to this branch: `[]` skips only its own entry. */
  *walk(after?: readonly string[]): Generator<Branch> {
    if (after === undefined && this.stored !== undefined) yield this;
    const [first] = after ?? [];
    const parts = this.#orderedParts();
    for (let i = first === undefined ? 0 : lowerBound(parts, first); i < parts.length; i++) {
      const part = parts[i]!;
      const child = this.#children?.get(part);
      if (child !== undefined) yield* child.walk(part === first ? after!.slice(1) : undefined);
    }
  }

  #orderedParts(): readonly string[] {
    return this.#ordered ??= this.#children === undefined ? [] : [...this.#children.keys()].sort(compareStrings);
  }
}

/** Returns the index of the first of the sorted `parts` that does not come before `part`. */
function lowerBound(parts: readonly string[], part: string): number {
  let from = 0, to = parts.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (compareStrings(parts[middle]!, part) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}

function toEntry<T>({ key, text, version, expiresAt }: StoredEntry): Entry<T> {
  return {
    key: [...key],
    value: decodeValue<T>("memory", key, text),
    version,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}
