/** Storages with one bug each, as adapters have them, and the requirements that must detect it. */
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { compareKeys, encodeKey, type Entry, type Key, type ListOptions } from "@b24/onappupdate/storage";
import type { Faults } from "@b24/onappupdate/testing";

export interface Broken {
  /** Completes the sentence "a storage that …". */
  readonly does: string;
  /** Returns the members that replace those of a correct `storage`. */
  readonly make: (storage: Storage, clock: () => number) => Partial<Storage>;
  /** Numbers of requirements that fail. Others may fail, too. */
  readonly caught: readonly string[];
}

/** The same for a storage with injected faults. */
export interface BrokenUnderFaults {
  readonly does: string;
  readonly make: (storage: Storage, faults: Faults) => Partial<Storage>;
  readonly caught: readonly string[];
}

type GetOptions = Parameters<Storage["get"]>[1];

const refusal = { ok: false } as const;

/** Returns a `get` and a `list` that apply `change` to each entry. */
function reading(
  { get, list }: Storage,
  change: <T>(entry: Entry<T>, from: "get" | "list") => Entry<T> | null,
): Pick<Storage, "get" | "list"> {
  return {
    get: async <T>(key: Key, options?: GetOptions) => {
      const entry = await get<T>(key, options);
      return entry && change(entry, "get");
    },
    list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
      for await (const entry of list<T>(prefix, options)) {
        const changed = change(entry, "list");
        if (changed !== null) yield changed;
      }
    },
  };
}

/** Returns a `list` that yields what `choose` returns for all entries. */
function listing(
  { list }: Storage,
  choose: <T>(entries: Entry<T>[], prefix: readonly string[], options: ListOptions) => readonly Entry<T>[],
): Pick<Storage, "list"> {
  return {
    list: async function* <T>(prefix: readonly string[], options: ListOptions = {}): AsyncGenerator<Entry<T>> {
      // Throws for invalid arguments.
      for await (const _ of list(prefix, options)) break;
      const entries: Entry<T>[] = [];
      for await (const entry of list<T>([])) entries.push(entry);
      yield* choose(entries, prefix, options);
    },
  };
}

/** Returns what a correct `list` yields, in the order of `entries`. */
function select<T>(entries: readonly Entry<T>[], prefix: readonly string[], options: ListOptions): Entry<T>[] {
  const { after, limit } = options;
  return entries
    .filter(({ key }) => prefix.every((part, i) => part === key[i]) && (!after || compareKeys(key, after) > 0))
    .slice(0, limit);
}

const joined = (key: readonly string[]): Key => [key.join("/")];

export const BROKEN: readonly Broken[] = [
  {
    does: "returns an entry under a key for the key itself",
    make: ({ get, list }) => ({
      get: async <T>(key: Key, options?: GetOptions) => {
        const entry = await get<T>(key, options);
        if (entry === null) { for await (const under of list<T>(key)) return under; }
        return entry;
      },
    }),
    caught: ["1.1", "4.4"],
  },
  {
    does: "returns no version with the entry",
    make: (storage) => reading(storage, (entry) => ({ ...entry, version: "" })),
    caught: ["1.2", "3.5"],
  },
  {
    does: "joins the parts of a key",
    make: ({ get, put, delete: remove }) => ({
      get: (key, options) => get(joined(key), options),
      put: (key, value, options) => put(joined(key), value, options),
      delete: (key, options) => remove(joined(key), options),
    }),
    caught: ["1.2", "1.3", "6.1"],
  },
  {
    does: "accepts strings that are not well-formed",
    make: ({ get, put }) => ({
      get: (key, options) => get([key[0].toWellFormed(), ...key.slice(1)], options),
      put: (key, value, options) => put([key[0].toWellFormed(), ...key.slice(1)], value, options),
    }),
    caught: ["1.4"],
  },
  {
    does: "treats a stored null as absent",
    make: (storage) => reading(storage, (entry) => entry.value === null ? null : entry),
    caught: ["2.1"],
  },
  {
    does: "truncates long strings",
    make: ({ put }) => ({
      put: (key, value, options) => put(key, typeof value === "string" ? value.slice(0, 16384) : value, options),
    }),
    caught: ["2.2"],
  },
  {
    does: "accepts values above its maxValueBytes",
    make: ({ capabilities }) => ({ capabilities: { ...capabilities, maxValueBytes: 60_000 } }),
    caught: ["2.8"],
  },
  {
    does: "does not state the size of a value that is too large",
    make: (storage) => limited(storage, () => new RangeError("cannot put: wanted 60000 bytes at most")),
    caught: ["2.8"],
  },
  {
    does: "writes the beginning of a value that is too large, and rejects it",
    make: (storage) => {
      const refusing = limited(storage, (bytes) => new RangeError(`cannot put ${bytes} bytes: wanted 60000 at most`));
      return {
        ...refusing,
        put: (key, value, options) =>
          refusing.put!(key, value, options).catch(async (error) => {
            await storage.put(key, String(value).slice(0, 50_000), options);
            throw error;
          }),
      };
    },
    caught: ["2.8"],
  },
  {
    does: "copies a value in another way than JSON",
    make: (storage) => {
      const values = new Map<string, unknown>();
      return {
        ...reading(
          storage,
          <T>(entry: Entry<T>) => ({ ...entry, value: structuredClone(values.get(entry.version)) as T }),
        ),
        put: async (key, value, options) => {
          const copy = typeof value === "object" ? structuredClone(value) : value;
          const result = await storage.put(key, value, options);
          if (result.ok) values.set(result.version, copy);
          return result;
        },
      };
    },
    caught: ["2.3"],
  },
  {
    does: "copies members by assignment, which sets the prototype for __proto__",
    make: ({ put }) => ({
      put: (key, value, options) => {
        const members = Object.entries(value && typeof value === "object" && !("toJSON" in value) ? value : {});
        const copy = Object.fromEntries(members.filter(([name]) => name !== "__proto__"));
        return put<unknown>(key, members.length > 0 && !Array.isArray(value) ? copy : value, options);
      },
    }),
    caught: ["2.4"],
  },
  {
    does: "copies a value after put has returned",
    make: ({ put }) => ({
      put: async (key, value, options) => {
        await Promise.resolve();
        return await put(key, value, options);
      },
    }),
    caught: ["2.5"],
  },
  {
    does: "returns references",
    make: (storage) => {
      const values = new Map<string, unknown>();
      return {
        ...reading(storage, <T>(entry: Entry<T>) => ({ ...entry, value: values.get(entry.version) as T })),
        put: async (key, value, options) => {
          const result = await storage.put(key, value, options);
          if (result.ok) values.set(result.version, value);
          return result;
        },
      };
    },
    caught: ["2.5", "2.6"],
  },
  {
    does: "stores null for a value that JSON cannot represent",
    make: ({ put }) => ({
      put: (key, value, options) => put<unknown>(key, value, options).catch(() => put(key, null, options)),
    }),
    caught: ["2.7"],
  },
  {
    does: "does not overwrite without ifVersion",
    make: ({ put }) => ({ put: (key, value, options) => put(key, value, { ifVersion: null, ...options }) }),
    caught: ["3.1"],
  },
  {
    does: "treats ifVersion null as no condition",
    make: ({ put }) => ({
      put: (key, value, { ifVersion, ...options } = {}) =>
        put(key, value, ifVersion ? { ...options, ifVersion } : options),
    }),
    caught: ["3.2", "3.5"],
  },
  {
    does: "creates the entry if that with the expected version is absent",
    make: ({ get, put }) => ({
      put: async (key, value, options = {}) => {
        const gone = options.ifVersion != null && await get(key, options) === null;
        return await put(key, value, gone ? { ...options, ifVersion: null } : options);
      },
    }),
    caught: ["3.3", "5.3"],
  },
  {
    does: "changes the expiry even if it refuses",
    make: ({ get, put }) => ({
      put: async (key, value, options = {}) => {
        const result = await put(key, value, options);
        const entry = result.ok ? null : await get(key, options);
        if (entry !== null && options.ttlMs !== undefined) await put(key, entry.value, { ttlMs: options.ttlMs });
        return result;
      },
    }),
    caught: ["3.4"],
  },
  {
    does: "reads, compares and then writes",
    make: ({ get, put }) => ({
      put: async (key, value, { ifVersion, ...options } = {}) => {
        const entry = await get(key, options);
        if (ifVersion !== undefined && ifVersion !== (entry?.version ?? null)) return refusal;
        return await put(key, value, options);
      },
    }),
    caught: ["3.5", "3.6"],
  },
  {
    does: "refuses every second write that should succeed",
    make: ({ put }) => {
      let writes = 0;
      return {
        put: async (key, value, options) =>
          options?.ifVersion && writes++ % 2 === 0 ? refusal : await put(key, value, options),
      };
    },
    caught: ["3.3"],
  },
  {
    does: "refuses every write with a version",
    make: ({ put }) => ({
      put: async (key, value, options) => options?.ifVersion ? refusal : await put(key, value, options),
    }),
    caught: ["3.3", "3.6"],
  },
  {
    does: "derives the version from the value",
    make: (storage) => {
      const actual = async (key: Key, version: string): Promise<string> => {
        const entry = await storage.get(key);
        return entry !== null && JSON.stringify(entry.value) === version ? entry.version : "none";
      };
      return {
        ...reading(storage, (entry) => ({ ...entry, version: JSON.stringify(entry.value) })),
        put: async (key, value, options = {}) => {
          const ifVersion = options.ifVersion && await actual(key, options.ifVersion);
          const result = await storage.put(key, value, ifVersion ? { ...options, ifVersion } : options);
          return result.ok ? { ok: true, version: JSON.stringify(value) } : result;
        },
        delete: async (key, { ifVersion, ...options } = {}) =>
          await storage.delete(key, ifVersion ? { ...options, ifVersion: await actual(key, ifVersion) } : options),
      };
    },
    caught: ["3.7", "3.8"],
  },
  {
    does: "refuses to delete an absent key",
    make: ({ get, delete: remove }) => ({
      delete: async (key, options) => await get(key, options) === null ? refusal : await remove(key, options),
    }),
    caught: ["4.1"],
  },
  {
    does: "ignores the version when it deletes",
    make: ({ delete: remove }) => ({ delete: (key, { ifVersion: _, ...options } = {}) => remove(key, options) }),
    caught: ["3.8", "4.2", "5.4"],
  },
  {
    does: "reads, compares and then deletes",
    make: ({ get, delete: remove }) => ({
      delete: async (key, { ifVersion, ...options } = {}) => {
        const entry = await get(key, options);
        if (ifVersion !== undefined && entry?.version !== ifVersion) return refusal;
        return await remove(key, options);
      },
    }),
    caught: ["4.3"],
  },
  {
    does: "deletes the keys under a key with it",
    make: ({ delete: remove, list }) => ({
      delete: async (key, options) => {
        const result = await remove(key, options);
        if (result.ok) { for await (const entry of list(key)) await remove(entry.key); }
        return result;
      },
    }),
    caught: ["4.4"],
  },
  {
    does: "ignores ttlMs",
    make: ({ put }) => ({ put: (key, value, { ttlMs: _, ...options } = {}) => put(key, value, options) }),
    caught: ["5.1", "5.2", "5.3", "5.4", "5.5", "5.6"],
  },
  {
    does: "treats ttlMs as seconds",
    make: ({ put }) => ({
      put: (key, value, options) =>
        put(key, value, options?.ttlMs === undefined ? options : { ...options, ttlMs: options.ttlMs * 1000 }),
    }),
    caught: ["5.1", "5.2"],
  },
  {
    does: "removes expired entries once a minute",
    make: (_, clock) => memoryStorage({ clock: () => wholeMinute(clock()) }),
    caught: ["5.2", "5.3", "5.4", "5.5", "5.6"],
  },
  {
    does: "removes expired entries once a minute, and filters them only in get and list",
    make: (_, clock) => {
      const late = memoryStorage({ clock: () => wholeMinute(clock()) });
      return { ...late, ...reading(late, (entry) => (entry.expiresAt ?? Infinity) <= clock() ? null : entry) };
    },
    caught: ["5.3", "5.4", "5.5"],
  },
  {
    does: "keeps the expiry when it overwrites",
    make: ({ get, put }, clock) => ({
      put: async (key, value, options = {}) => {
        const end = (await get(key, options))?.expiresAt;
        return await put(key, value, end === undefined ? options : { ttlMs: end - clock(), ...options });
      },
    }),
    caught: ["5.6"],
  },
  {
    does: "compares the prefix as a string",
    make: (storage) =>
      listing(
        storage,
        (entries, prefix, options) =>
          select(entries.filter(({ key }) => key.join("/").startsWith(prefix.join("/"))), [], options),
      ),
    caught: ["6.1", "6.3"],
  },
  {
    does: "omits the entry whose key is the prefix",
    make: (storage) =>
      listing(
        storage,
        (entries, prefix, options) => select(entries.filter(({ key }) => key.length > prefix.length), prefix, options),
      ),
    caught: ["6.2"],
  },
  {
    does: "lists nothing under the empty prefix",
    make: (storage) =>
      listing(storage, (entries, prefix, options) => prefix.length > 0 ? select(entries, prefix, options) : []),
    caught: ["6.3"],
  },
  {
    does: "lists in the order of writing",
    make: (storage) =>
      listing(
        storage,
        (entries, prefix, options) =>
          select(entries.toSorted((a, b) => Number(a.version) - Number(b.version)), prefix, options),
      ),
    caught: ["6.4"],
  },
  {
    does: "sorts by UTF-16 code units",
    make: (storage) =>
      listing(
        storage,
        (entries, prefix, options) =>
          select(entries, prefix, options).toSorted((a, b) => encodeKey(a.key) < encodeKey(b.key) ? -1 : 1),
      ),
    caught: ["6.4"],
  },
  {
    does: "sorts by joined parts",
    make: (storage) =>
      listing(
        storage,
        (entries, prefix, options) =>
          select(entries, prefix, options).toSorted((a, b) => compareKeys(joined(a.key), joined(b.key))),
      ),
    caught: ["6.4"],
  },
  {
    does: "ignores `after`",
    make: (storage) =>
      listing(storage, (entries, prefix, { after: _, ...options }) => select(entries, prefix, options)),
    caught: ["6.5", "6.7"],
  },
  {
    does: "starts again if the entry `after` does not exist",
    make: (storage) =>
      listing(storage, (entries, prefix, { after, limit }) => {
        const at = after === undefined ? -1 : entries.findIndex(({ key }) => compareKeys(key, after) === 0);
        return select(entries.slice(at + 1), prefix, limit === undefined ? {} : { limit });
      }),
    caught: ["6.5"],
  },
  {
    does: "lists from `after` on, even if that is before the prefix",
    make: (storage) =>
      listing(storage, (entries, prefix, options) => {
        const upTo = entries.findLastIndex(({ key }) => prefix.every((part, i) => part === key[i]));
        return select(entries.slice(0, upTo + 1), options.after ? [] : prefix, options);
      }),
    caught: ["6.5"],
  },
  {
    does: "ignores `limit`",
    make: (storage) =>
      listing(storage, (entries, prefix, { limit: _, ...options }) => select(entries, prefix, options)),
    caught: ["6.6"],
  },
  {
    does: "treats limit 0 as no limit",
    make: (storage) =>
      listing(
        storage,
        (entries, prefix, { limit, ...options }) => select(entries, prefix, limit ? { ...options, limit } : options),
      ),
    caught: ["6.6"],
  },
  {
    does: "lists one page",
    make: (storage) => listing(storage, (entries, prefix, options) => select(entries, prefix, options).slice(0, 100)),
    caught: ["6.7", "6.9"],
  },
  {
    does: "shares one cursor among all listings",
    make: ({ list }) => {
      let cursor: AsyncIterator<Entry<unknown>>;
      return {
        list: <T>(prefix: readonly string[], options?: ListOptions) => ({
          [Symbol.asyncIterator]: (): AsyncIterator<Entry<T>> => {
            cursor = list(prefix, options)[Symbol.asyncIterator]();
            return { next: () => cursor.next() as Promise<IteratorResult<Entry<T>>> };
          },
        }),
      };
    },
    caught: ["6.8"],
  },
  {
    does: "lists pages by offset",
    make: ({ list }) => ({
      list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
        for (let offset = 0, size = 10;; offset += size) {
          const entries: Entry<T>[] = [];
          for await (const entry of list<T>(prefix, options)) entries.push(entry);
          yield* entries.slice(offset, offset + size);
          if (entries.length <= offset + size) return;
        }
      },
    }),
    caught: ["6.9"],
  },
  {
    does: "ignores the signal",
    make: ({ get, put, delete: remove, list }) => ({
      get: (key) => get(key),
      put: (key, value, { signal: _, ...options } = {}) => put(key, value, options),
      delete: (key, { signal: _, ...options } = {}) => remove(key, options),
      list: (prefix, { signal: _, ...options } = {}) => list(prefix, options),
    }),
    caught: ["7.1"],
  },
  {
    does: "checks the signal only after it has written",
    make: ({ put }) => ({
      put: async (key, value, { signal, ...options } = {}) => {
        const result = await put(key, value, options);
        signal?.throwIfAborted();
        return result;
      },
    }),
    caught: ["7.1"],
  },
  {
    does: "is empty after close",
    make: (storage) => {
      let current = storage;
      return {
        get: (key, options) => current.get(key, options),
        put: (key, value, options) => current.put(key, value, options),
        close: () => {
          current = memoryStorage();
          return Promise.resolve();
        },
      };
    },
    caught: ["7.2"],
  },
];

/** Returns members that accept at most 60,000 bytes of JSON, and reject more with the error of `refusalOf`. */
function limited({ capabilities, put }: Storage, refusalOf: (bytes: number) => Error): Partial<Storage> {
  return {
    capabilities: { ...capabilities, maxValueBytes: 60_000 },
    put: async (key, value, options) => {
      const bytes = new TextEncoder().encode(JSON.stringify(value)).length;
      if (bytes > 60_000) throw refusalOf(bytes);
      return await put(key, value, options);
    },
  };
}

/** Runs `run` again if it fails. */
async function retried<R>(run: () => Promise<R>): Promise<R> {
  try {
    return await run();
  } catch {
    return await run();
  }
}

export const BROKEN_UNDER_FAULTS: readonly BrokenUnderFaults[] = [
  {
    does: "tries again after a lost reply, and returns the second result",
    make: ({ put, delete: remove }) => ({
      put: (key, value, options) => retried(() => put(key, value, options)),
      delete: (key, options) => retried(() => remove(key, options)),
    }),
    caught: ["9.2", "9.3", "9.4"],
  },
  {
    does: "reports a lost reply as a refusal",
    make: ({ put, delete: remove }) => ({
      put: (key, value, options) => put(key, value, options).catch(() => refusal),
      delete: (key, options) => remove(key, options).catch(() => refusal),
    }),
    caught: ["9.1", "9.2", "9.3", "9.4"],
  },
  {
    does: "caches what it has read until a write of its own succeeds",
    make: ({ get, put }) => {
      const known = new Map<string, Entry<never> | null>();
      return {
        get: async <T>(key: Key, options?: GetOptions) => {
          const name = encodeKey(key);
          if (!known.has(name)) known.set(name, await get<never>(key, options));
          return known.get(name) as Entry<T> | null;
        },
        put: async (key, value, options) => {
          const result = await put(key, value, options);
          if (result.ok) known.delete(encodeKey(key));
          return result;
        },
      };
    },
    caught: ["9.5"],
  },
  {
    does: "reports an outage as absence",
    make: ({ get, list }) => ({
      get: (key, options) => get<never>(key, options).catch(() => null),
      list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
        try {
          yield* list<T>(prefix, options);
        } catch {
          // As if there were no more entries.
        }
      },
    }),
    caught: ["10.1", "10.2", "10.3"],
  },
  {
    does: "ends a listing where its backend went down",
    make: ({ list }) => ({
      list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
        let hasBegun = false;
        try {
          for await (const entry of list<T>(prefix, options)) {
            hasBegun = true;
            yield entry;
          }
        } catch (error) {
          if (!hasBegun) throw error;
        }
      },
    }),
    caught: ["10.2"],
  },
  {
    does: "never calls its backend again after an outage",
    make: ({ get }) => {
      let outage: unknown;
      return {
        get: (key, options) => {
          if (outage !== undefined) return Promise.reject(outage);
          return get<never>(key, options).catch((error) => {
            outage = error;
            throw error;
          });
        },
      };
    },
    caught: ["10.3"],
  },
  {
    does: "is empty after an outage",
    make: ({ get }, faults) => {
      let wasDown = false;
      return {
        get: (key, options) => {
          wasDown ||= faults.unavailable === 1;
          return wasDown && faults.unavailable === 0 ? Promise.resolve(null) : get<never>(key, options);
        },
      };
    },
    caught: ["10.3"],
  },
  {
    does: "throws the errors of its backend as they are",
    make: ({ get }) => ({
      get: (key, options) =>
        get<never>(key, options).catch((error) => {
          throw new Error(error.message);
        }),
    }),
    caught: ["10.1"],
  },
  {
    does: "checks the signal only before and after a call",
    make: ({ get, put, delete: remove, list }) => {
      const late = async <R>(signal: AbortSignal | undefined, run: () => Promise<R>): Promise<R> => {
        signal?.throwIfAborted();
        const result = await run();
        signal?.throwIfAborted();
        return result;
      };
      return {
        get: (key, { signal } = {}) => late(signal, () => get<never>(key)),
        put: (key, value, { signal, ...options } = {}) => late(signal, () => put(key, value, options)),
        delete: (key, { signal, ...options } = {}) => late(signal, () => remove(key, options)),
        list: (prefix, { signal: _, ...options } = {}) => list(prefix, options),
      };
    },
    caught: ["10.4"],
  },
  {
    does: "reports a slow read as absence",
    make: ({ get }, faults) => ({
      get: (key, options) => faults.delayMs ? Promise.resolve(null) : get<never>(key, options),
    }),
    caught: ["10.5"],
  },
  {
    does: "makes space by deleting the old entry",
    make: ({ put, delete: remove }) => ({
      put: async (key, value, options) => {
        try {
          return await put(key, value, options);
        } catch (error) {
          await remove(key);
          throw error;
        }
      },
    }),
    caught: ["10.6"],
  },
  {
    does: "writes as much as there is space for",
    make: (storage, faults) => ({
      put: (key, value, options) =>
        storage.put(key, value, options).catch(async (error) => {
          if (faults.full !== 1) throw error;
          faults.full = 0;
          await storage.put(key, String(value).slice(0, 100), options);
          faults.full = 1;
          throw error;
        }),
    }),
    caught: ["10.6"],
  },
  {
    does: "reports that it is too full to delete after it has deleted",
    make: ({ delete: remove }, faults) => ({
      delete: async (key, options) => {
        const result = await remove(key, options);
        if (faults.full === 1) throw new StorageError("cannot delete: it is full");
        return result;
      },
    }),
    caught: ["10.7"],
  },
  {
    does: "never writes again after it was full",
    make: ({ put }) => {
      let full: unknown;
      return {
        put: (key, value, options) => {
          if (full !== undefined) return Promise.reject(full);
          return put(key, value, options).catch((error) => {
            full = error;
            throw error;
          });
        },
      };
    },
    caught: ["10.8"],
  },
  {
    does: "silently drops entries that there is no space for",
    make: ({ put }) => ({
      put: (key, value, options) => put(key, value, options).catch(() => ({ ok: true, version: "none" })),
    }),
    caught: ["10.6", "10.8"],
  },
];

function wholeMinute(ms: number): number {
  return ms - ms % 60_000;
}
