/** A storage in memory whose operations are points of a process, and its entries, which all processes share. */
import { StorageError } from "@b24/onappupdate/errors";
import {
  compareKeys,
  type Entry,
  type Key,
  type ListOptions,
  type Storage,
  type WriteOperation,
  type WriteResult,
} from "@b24/onappupdate/storage";
import type { SimulatedProcess } from "./_process.ts";

/**
 * The way in which a storage applies an ordered write: it has no `write`, so that `put` and `delete` are called one by one; all or
 * nothing; or one by one, of which a fault leaves a prefix.
 */
export type Writes = "none" | "atomic" | "prefix";

/** An entry. It is never changed, so that copies of the entries can share it. */
export interface StoredEntry {
  readonly key: Key;
  readonly json: string;
  readonly version: string;
  readonly expiresAt: number | undefined;
}

/** An operation of a write. `json` is absent if it deletes. */
interface Change {
  readonly key: Key;
  readonly json?: string;
  readonly ifVersion: string | null | undefined;
  readonly ttlMs: number | undefined;
}

/** A write that was applied. `after` is absent if the entry was deleted. */
export interface AppliedWrite {
  readonly writer: string;
  readonly before: StoredEntry | undefined;
  readonly after: StoredEntry | undefined;
}

export class Entries {
  readonly #entries: Map<string, StoredEntry>;
  #versions: number;
  clock: () => number = () => 0;
  onWrite: (write: AppliedWrite) => void = () => {};

  constructor(other?: Entries) {
    this.#entries = new Map(other === undefined ? [] : other.#entries);
    this.#versions = other === undefined ? 0 : other.#versions;
  }

  get(key: Key): StoredEntry | undefined {
    const stored = this.#entries.get(key.join("\0"));
    return stored?.expiresAt !== undefined && stored.expiresAt <= this.clock() ? undefined : stored;
  }

  list(prefix: readonly string[] = []): StoredEntry[] {
    const found: StoredEntry[] = [];
    for (const { key } of this.#entries.values()) {
      if (!prefix.every((part, i) => part === key[i])) continue;
      const stored = this.get(key);
      if (stored !== undefined) found.push(stored);
    }
    return found.sort((a, b) => compareKeys(a.key, b.key));
  }

  /** Returns whether the condition of a change holds. */
  holds({ key, ifVersion }: Change): boolean {
    return ifVersion === undefined || ifVersion === (this.get(key)?.version ?? null);
  }

  /** Applies a change whose condition holds, and returns the version of what it put. */
  apply(writer: string, { key, json, ttlMs }: Change): string | undefined {
    const before = this.get(key);
    let after: StoredEntry | undefined;
    if (json === undefined) {
      this.#entries.delete(key.join("\0"));
    } else {
      const expiresAt = ttlMs === undefined ? undefined : this.clock() + ttlMs;
      after = { key, json, version: String(++this.#versions), expiresAt };
      this.#entries.set(key.join("\0"), after);
    }
    if (before !== undefined || after !== undefined) this.onWrite({ writer, before, after });
    return after?.version;
  }
}

/** Returns the storage of one process. */
export function simulatedStorage(entries: Entries, writes: Writes, { id, operate }: SimulatedProcess): Storage {
  const error = (label: string) => (): StorageError => new StorageError(`cannot ${label}: the simulation lost it`);
  const read = <T>(label: string, run: () => T): Promise<T> =>
    operate(label, { parts: 0, apply: run, error: error(label) });

  /** Applies the first `parts` operations, up to the first whose condition does not hold. */
  function applyInOrder(operations: readonly Change[], parts: number): WriteResult {
    const versions: (string | undefined)[] = [];
    for (const [i, operation] of operations.slice(0, parts).entries()) {
      if (!entries.holds(operation)) return { ok: false, failedAt: i };
      versions.push(entries.apply(id, operation));
    }
    return { ok: true, versions };
  }

  function applyAtOnce(operations: readonly Change[], parts: number): WriteResult {
    const failedAt = operations.findIndex((operation) => !entries.holds(operation));
    if (failedAt >= 0) return { ok: false, failedAt };
    return applyInOrder(operations, parts === 0 ? 0 : operations.length);
  }

  async function write(operations: readonly WriteOperation[]): Promise<WriteResult> {
    // Copied now: the caller may change values later.
    const changes = operations.map(changeOf);
    const label = changes.map(({ key, json }) => `${json === undefined ? "delete" : "put"} ${key.join("/")}`).join(
      ", ",
    );
    const isAtomic = writes !== "prefix" || changes.length === 1;
    return await operate(label, {
      parts: isAtomic ? 1 : changes.length,
      apply: (parts) => isAtomic ? applyAtOnce(changes, parts) : applyInOrder(changes, parts),
      error: error(label),
    });
  }

  return {
    name: "simulated",
    capabilities: { durable: true, scope: "network", encrypted: true },
    get: async <T>(key: Key) => await read(`get ${key.join("/")}`, () => entryOf<T>(entries.get(key))),
    put: async (key, value, options) => {
      const result = await write([{ put: key, value, ...options }]);
      return result.ok ? { ok: true, version: result.versions[0]! } : { ok: false };
    },
    delete: async (key, options) => {
      const { ok } = await write([{ delete: key, ...options }]);
      return { ok };
    },
    ...writes === "none" ? {} : { write },
    list: async function* <T>(
      prefix: readonly string[],
      { after, limit = Infinity }: ListOptions = {},
    ): AsyncGenerator<Entry<T>> {
      const found = await read(`list ${prefix.join("/")}`, () => entries.list(prefix));
      let count = 0;
      for (const stored of found) {
        if (after !== undefined && compareKeys(stored.key, after) <= 0) continue;
        if (count++ >= limit) return;
        yield entryOf<T>(stored)!;
      }
    },
  };
}

function changeOf(operation: WriteOperation): Change {
  const { ifVersion } = operation;
  if (!("put" in operation)) return { key: [...operation.delete], ifVersion, ttlMs: undefined };
  const { put, value, ttlMs } = operation;
  return { key: [...put], json: JSON.stringify(value), ifVersion, ttlMs };
}

function entryOf<T>(stored: StoredEntry | undefined): Entry<T> | null {
  if (stored === undefined) return null;
  const { key, json, version, expiresAt } = stored;
  return { key: [...key], value: JSON.parse(json), version, ...expiresAt !== undefined && { expiresAt } };
}
