/** Storages that do one thing wrong, as adapters do, and the clauses that have to find out. */
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { compareKeys, encodeKey, type Entry, type Key, type ListOptions } from "@b24/onappupdate/storage";
import type { Faults } from "@b24/onappupdate/testing";

export interface Broken {
  /** Ends the sentence "a storage that …". */
  readonly does: string;
  /** What replaces members of a right `storage`. */
  readonly make: (storage: Storage, clock: () => number) => Partial<Storage>;
  /** At least these clauses fail. */
  readonly caught: readonly string[];
}

/** What replaces members of a right storage whose faults the battery injects. */
export interface BrokenUnderFaults {
  readonly does: string;
  readonly make: (storage: Storage, faults: Faults) => Partial<Storage>;
  readonly caught: readonly string[];
}

type GetOptions = Parameters<Storage["get"]>[1];

const refusal = { ok: false } as const;

/** `get` and `list` that give what `change` makes of an entry. */
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

/** A `list` that gives what `choose` makes of all entries. */
function listing(
  { list }: Storage,
  choose: <T>(entries: Entry<T>[], prefix: readonly string[], options: ListOptions) => readonly Entry<T>[],
): Pick<Storage, "list"> {
  return {
    list: async function* <T>(prefix: readonly string[], options: ListOptions = {}): AsyncGenerator<Entry<T>> {
      // For what every listing refuses.
      for await (const _ of list(prefix, options)) break;
      const entries: Entry<T>[] = [];
      for await (const entry of list<T>([])) entries.push(entry);
      yield* choose(entries, prefix, options);
    },
  };
}

/** What a right `list` gives, in the order that `entries` have. */
function select<T>(entries: readonly Entry<T>[], prefix: readonly string[], options: ListOptions): Entry<T>[] {
  const { after, limit } = options;
  return entries
    .filter(({ key }) => prefix.every((part, i) => part === key[i]) && (!after || compareKeys(key, after) > 0))
    .slice(0, limit);
}

const joined = (key: readonly string[]): Key => [key.join("/")];

export const BROKEN: readonly Broken[] = [
  {
    does: "takes the beginning of a key for the key",
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
    does: "gives no version with the entry",
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
    does: "takes any text for well-formed",
    make: ({ get, put }) => ({
      get: (key, options) => get([key[0].toWellFormed(), ...key.slice(1)], options),
      put: (key, value, options) => put([key[0].toWellFormed(), ...key.slice(1)], value, options),
    }),
    caught: ["1.4"],
  },
  {
    does: "takes a stored null for nothing",
    make: (storage) => reading(storage, (entry) => entry.value === null ? null : entry),
    caught: ["2.1"],
  },
  {
    does: "cuts long texts",
    make: ({ put }) => ({
      put: (key, value, options) => put(key, typeof value === "string" ? value.slice(0, 16384) : value, options),
    }),
    caught: ["2.2"],
  },
  {
    does: "takes more than it says that it takes",
    make: ({ capabilities }) => ({ capabilities: { ...capabilities, maxValueBytes: 60_000 } }),
    caught: ["2.8"],
  },
  {
    does: "does not say how large what it refuses is",
    make: (storage) => limited(storage, () => new RangeError("cannot put: wanted 60000 bytes at most")),
    caught: ["2.8"],
  },
  {
    does: "writes as much of a value as there may be, and refuses it then",
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
    does: "copies a value otherwise than JSON",
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
    does: "copies a value by assignment, which makes a prototype of __proto__",
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
    does: "copies a value later than put is called",
    make: ({ put }) => ({
      put: async (key, value, options) => {
        await Promise.resolve();
        return await put(key, value, options);
      },
    }),
    caught: ["2.5"],
  },
  {
    does: "hands out references",
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
    does: "stores null for what JSON cannot say",
    make: ({ put }) => ({
      put: (key, value, options) => put<unknown>(key, value, options).catch(() => put(key, null, options)),
    }),
    caught: ["2.7"],
  },
  {
    does: "never overwrites unasked",
    make: ({ put }) => ({ put: (key, value, options) => put(key, value, { ifVersion: null, ...options }) }),
    caught: ["3.1"],
  },
  {
    does: "takes ifVersion null for none",
    make: ({ put }) => ({
      put: (key, value, { ifVersion, ...options } = {}) =>
        put(key, value, ifVersion ? { ...options, ifVersion } : options),
    }),
    caught: ["3.2", "3.5"],
  },
  {
    does: "creates when the entry of an expected version is gone",
    make: ({ get, put }) => ({
      put: async (key, value, options = {}) => {
        const gone = options.ifVersion != null && await get(key, options) === null;
        return await put(key, value, gone ? { ...options, ifVersion: null } : options);
      },
    }),
    caught: ["3.3", "5.3"],
  },
  {
    does: "moves the end also when it refuses",
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
    does: "refuses every second write that should win",
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
    does: "refuses every write to what is there",
    make: ({ put }) => ({
      put: async (key, value, options) => options?.ifVersion ? refusal : await put(key, value, options),
    }),
    caught: ["3.3", "3.6"],
  },
  {
    does: "makes the version of the value",
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
    does: "says no when there is nothing to delete",
    make: ({ get, delete: remove }) => ({
      delete: async (key, options) => await get(key, options) === null ? refusal : await remove(key, options),
    }),
    caught: ["4.1"],
  },
  {
    does: "deletes whatever the version is",
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
    does: "deletes what is under a key with it",
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
    does: "forgets that entries expire",
    make: ({ put }) => ({ put: (key, value, { ttlMs: _, ...options } = {}) => put(key, value, options) }),
    caught: ["5.1", "5.2", "5.3", "5.4", "5.5", "5.6"],
  },
  {
    does: "takes ttlMs for seconds",
    make: ({ put }) => ({
      put: (key, value, options) =>
        put(key, value, options?.ttlMs === undefined ? options : { ...options, ttlMs: options.ttlMs * 1000 }),
    }),
    caught: ["5.1", "5.2"],
  },
  {
    does: "looks for expired entries once a minute",
    make: (_, clock) => memoryStorage({ clock: () => wholeMinute(clock()) }),
    caught: ["5.2", "5.3", "5.4", "5.5", "5.6"],
  },
  {
    does: "looks for expired entries once a minute, and in get and list on its own",
    make: (_, clock) => {
      const late = memoryStorage({ clock: () => wholeMinute(clock()) });
      return { ...late, ...reading(late, (entry) => (entry.expiresAt ?? Infinity) <= clock() ? null : entry) };
    },
    caught: ["5.3", "5.4", "5.5"],
  },
  {
    does: "keeps the end when it overwrites",
    make: ({ get, put }, clock) => ({
      put: async (key, value, options = {}) => {
        const end = (await get(key, options))?.expiresAt;
        return await put(key, value, end === undefined ? options : { ttlMs: end - clock(), ...options });
      },
    }),
    caught: ["5.6"],
  },
  {
    does: "compares the prefix as text",
    make: (storage) =>
      listing(
        storage,
        (entries, prefix, options) =>
          select(entries.filter(({ key }) => key.join("/").startsWith(prefix.join("/"))), [], options),
      ),
    caught: ["6.1", "6.3"],
  },
  {
    does: "leaves out the entry under the prefix itself",
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
    does: "sorts by UTF-16 units",
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
    does: "starts anew when the entry `after` is gone",
    make: (storage) =>
      listing(storage, (entries, prefix, { after, limit }) => {
        const at = after === undefined ? -1 : entries.findIndex(({ key }) => compareKeys(key, after) === 0);
        return select(entries.slice(at + 1), prefix, limit === undefined ? {} : { limit });
      }),
    caught: ["6.5"],
  },
  {
    does: "lists from `after` on, also when that is before the prefix",
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
    does: "takes limit 0 for none",
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
    does: "has one cursor for all listings",
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
    does: "counts its way from page to page",
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
    does: "does not look at the signal",
    make: ({ get, put, delete: remove, list }) => ({
      get: (key) => get(key),
      put: (key, value, { signal: _, ...options } = {}) => put(key, value, options),
      delete: (key, { signal: _, ...options } = {}) => remove(key, options),
      list: (prefix, { signal: _, ...options } = {}) => list(prefix, options),
    }),
    caught: ["7.1"],
  },
  {
    does: "looks at the signal when it has written",
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

/** Takes 60 000 bytes of JSON at most, and refuses more by what `refusalOf` makes. */
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

/** The first answer counts, then the second, if the first was an error. */
async function again<R>(run: () => Promise<R>): Promise<R> {
  try {
    return await run();
  } catch {
    return await run();
  }
}

export const BROKEN_UNDER_FAULTS: readonly BrokenUnderFaults[] = [
  {
    does: "tries again what may have been done, and tells the second answer",
    make: ({ put, delete: remove }) => ({
      put: (key, value, options) => again(() => put(key, value, options)),
      delete: (key, options) => again(() => remove(key, options)),
    }),
    caught: ["9.2", "9.3", "9.4"],
  },
  {
    does: "takes a lost answer for a refusal",
    make: ({ put, delete: remove }) => ({
      put: (key, value, options) => put(key, value, options).catch(() => refusal),
      delete: (key, options) => remove(key, options).catch(() => refusal),
    }),
    caught: ["9.1", "9.2", "9.3", "9.4"],
  },
  {
    does: "gives what it has read before, until a write of its own was answered",
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
    does: "takes an outage for nothing stored",
    make: ({ get, list }) => ({
      get: (key, options) => get<never>(key, options).catch(() => null),
      list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
        try {
          yield* list<T>(prefix, options);
        } catch {
          // As if that were all.
        }
      },
    }),
    caught: ["10.1", "10.2", "10.3"],
  },
  {
    does: "ends a listing where its backend went away",
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
    does: "begins empty after an outage",
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
    does: "lets errors of its backend out as they are",
    make: ({ get }) => ({
      get: (key, options) =>
        get<never>(key, options).catch((error) => {
          throw new Error(error.message);
        }),
    }),
    caught: ["10.1"],
  },
  {
    does: "looks at the signal only before and after a call",
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
    does: "takes a slow answer for none",
    make: ({ get }, faults) => ({
      get: (key, options) => faults.delayMs ? Promise.resolve(null) : get<never>(key, options),
    }),
    caught: ["10.5"],
  },
  {
    does: "makes room by deleting what was there",
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
    does: "writes as much as there is room for",
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
    does: "says that it cannot delete for want of room when it has",
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
    does: "writes no more once it was full",
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
    does: "drops what there is no room for without a word",
    make: ({ put }) => ({
      put: (key, value, options) => put(key, value, options).catch(() => ({ ok: true, version: "none" })),
    }),
    caught: ["10.6", "10.8"],
  },
];

function wholeMinute(ms: number): number {
  return ms - ms % 60_000;
}
