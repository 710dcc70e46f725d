// deno-lint-ignore-file require-await -- `async` makes a rejection of what is thrown
/** Entries in the memory of this process: the reference for what a storage does. */
import { assertKey, compareKeys, compareText } from "./key.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";
import { decodeValue, encodeValue, expiryOf } from "./value.ts";

/** Options of {@linkcode memoryStorage}. */
export interface MemoryStorageOptions {
  /** The time in milliseconds since 1970, against which entries expire; default `Date.now`. */
  readonly clock?: () => number;
}

/**
 * Keeps entries until the process ends: for tests, and for apps that may forget. What is stored twice is not
 * shared: every call makes a storage of its own.
 *
 * `put` throws `TypeError` for a value that JSON cannot say, such as `undefined`, a function or a cycle, and for a
 * `ttlMs` that is no finite number.
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
export function memoryStorage({ clock = Date.now }: MemoryStorageOptions = {}): Storage {
  const root = new Branch();
  let versions = 0;
  let size = 0;
  let ttlWrites = 0;

  function drop(branch: Branch): void {
    branch.drop();
    size--;
  }

  /** What `branch` holds; what has expired is dropped on the way. */
  function live(branch: Branch | undefined): Stored | undefined {
    const stored = branch?.stored;
    if (stored?.expiresAt === undefined || stored.expiresAt > clock()) return stored;
    drop(branch!);
    return undefined;
  }

  /** Entries that expire and are never asked for again would pile up; at this rhythm a write pays for two of them. */
  function sweep(): void {
    if (++ttlWrites <= size / 2) return;
    ttlWrites = 0;
    for (const branch of root.walk()) live(branch);
  }

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
      const found = live(root.find(key));
      if (ifVersion !== undefined && ifVersion !== (found?.version ?? null)) return { ok: false };
      const version = String(++versions);
      if (found === undefined) size++;
      root.grow(key).stored = { key: [...key], text, version, expiresAt };
      if (expiresAt !== undefined) sweep();
      return { ok: true, version };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      assertKey(key);
      const branch = root.find(key);
      const found = live(branch);
      if (ifVersion !== undefined && ifVersion !== found?.version) return { ok: false };
      if (found !== undefined) drop(branch!);
      return { ok: true };
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

/** An entry as it is kept: JSON text cannot be shared with the caller by mistake. */
interface Stored {
  readonly key: Key;
  readonly text: string;
  readonly version: string;
  readonly expiresAt: number | undefined;
}

/**
 * One part of a key. An entry is at the branch of its last part, so that listing a prefix costs what is under it.
 * A branch without entry and children is taken out of its parent.
 */
class Branch {
  stored: Stored | undefined;
  readonly #parent: Branch | undefined;
  readonly #part: string;
  #children: Map<string, Branch> | undefined;
  /** Parts of the children in order; may name children that are gone, and is never changed: walks hold it. */
  #ordered: readonly string[] | undefined;

  constructor(parent?: Branch, part = "") {
    this.#parent = parent;
    this.#part = part;
  }

  find(key: readonly string[]): Branch | undefined {
    // deno-lint-ignore no-this-alias -- the walk starts here
    let branch: Branch = this;
    for (const part of key) {
      const child: Branch | undefined = branch.#children?.get(part);
      if (child === undefined) return undefined;
      branch = child;
    }
    return branch;
  }

  /** The branch of `key`, made if need be. */
  grow(key: readonly string[]): Branch {
    // deno-lint-ignore no-this-alias -- the walk starts here
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

  /** Takes the entry away, and every branch that this leaves empty. */
  drop(): void {
    this.stored = undefined;
    // deno-lint-ignore no-this-alias -- the walk starts here
    let branch: Branch = this;
    while (branch.#parent !== undefined && branch.stored === undefined && !branch.#children?.size) {
      branch.#parent.#remove(branch.#part);
      branch = branch.#parent;
    }
  }

  #remove(part: string): void {
    this.#children!.delete(part);
    // Sorting anew for every removal would make emptying a queue quadratic; names of the dead must not pile up either.
    if (this.#ordered !== undefined && this.#ordered.length > 2 * this.#children!.size) this.#ordered = undefined;
  }

  /** The branches with an entry under `prefix`, in key order; only those after `after`. */
  walkUnder(prefix: readonly string[], after: readonly string[] | undefined): Iterable<Branch> {
    const top = this.find(prefix);
    if (top === undefined) return [];
    if (after === undefined) return top.walk();
    if (prefix.every((part, i) => part === after[i])) return top.walk(after.slice(prefix.length));
    return compareKeys(after, prefix) < 0 ? top.walk() : [];
  }

  /** As {@linkcode walkUnder}, `after` relative to this branch: `[]` leaves out the entry of this branch alone. */
  *walk(after?: readonly string[]): Generator<Branch> {
    if (after === undefined && this.stored !== undefined) yield this;
    const [first] = after ?? [];
    const parts = this.#orderedParts();
    for (let i = first === undefined ? 0 : firstNotBefore(parts, first); i < parts.length; i++) {
      const part = parts[i]!;
      const child = this.#children?.get(part);
      if (child !== undefined) yield* child.walk(part === first ? after!.slice(1) : undefined);
    }
  }

  #orderedParts(): readonly string[] {
    return this.#ordered ??= this.#children === undefined ? [] : [...this.#children.keys()].sort(compareText);
  }
}

function firstNotBefore(parts: readonly string[], part: string): number {
  let from = 0, to = parts.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (compareText(parts[middle]!, part) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}

function toEntry<T>({ key, text, version, expiresAt }: Stored): Entry<T> {
  return {
    key: [...key],
    value: decodeValue<T>("memory", key, text),
    version,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}
