/** Storages that are correct in one process and broken in several, with the requirements that must fail. */
import type { Storage } from "@b24/onappupdate";
import type { Entry, Key } from "@b24/onappupdate/storage";
import { StorageError } from "@b24/onappupdate/errors";
import { closeSync, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

export interface BrokenWorker {
  /** Requirements that fail, among others. */
  readonly caught: readonly string[];
  readonly make: (storage: Storage, path: string) => Partial<Storage>;
}

type Put = Storage["put"];

/** Reads, then writes: not atomic. Waits in between for another process that has read, however busy the machine is. */
function readThenWrite({ get, put }: Storage, path: string): Put {
  return async (key, value, options = {}) => {
    const { ifVersion } = options;
    if (ifVersion !== undefined && ifVersion !== ((await get(key))?.version ?? null)) return { ok: false };
    if (ifVersion !== undefined) await meetAnother(`${path}.reading`);
    return await put(key, value);
  };
}

/** Resolves when two processes are here at the same time, or after 0.1 s: another one may have ended. */
async function meetAnother(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const own = join(folder, String(process.pid));
  closeSync(openSync(own, "w"));
  for (let tries = 0; tries < 50 && readdirSync(folder).length < 2; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  // The other one must see this process, too.
  setTimeout(() => rmSync(own, { force: true }), 20);
}

/** Holds a lock file during a call and 100 ms longer, so that a process killed after its answer leaves the lock. */
async function locked<R>(path: string, run: () => Promise<R>): Promise<R> {
  const lock = `${path}.lock`;
  for (let tries = 0;; tries++) {
    try {
      closeSync(openSync(lock, "wx"));
      break;
    } catch {
      if (tries === 200) throw new StorageError(`cannot write ${path}: it is locked`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  try {
    return await run();
  } finally {
    setTimeout(() => rmSync(lock, { force: true }), 100);
  }
}

export const BROKEN_WORKERS: Readonly<Record<string, BrokenWorker>> = {
  "reads, then writes": {
    caught: ["8.1", "8.2", "8.3"],
    make: (storage, path) => ({ put: readThenWrite(storage, path) }),
  },
  "remembers what it has read": {
    caught: ["8.4"],
    make: ({ get }) => {
      const known = new Map<string, Entry<never> | null>();
      return {
        get: async <T>(key: Key) => {
          const name = key.join();
          if (!known.get(name)) known.set(name, await get<never>(key));
          return known.get(name) as Entry<T> | null;
        },
      };
    },
  },
  "takes the version that it wrote last for the entry's": {
    caught: ["8.4"],
    make: ({ get, put }) => ({
      put: async (key, value, options) => {
        const result = await put(key, value, options);
        return result.ok ? result : await put(key, value, { ifVersion: (await get(key))?.version ?? null });
      },
    }),
  },
  "says that it has written before it has": {
    caught: ["8.5"],
    make: ({ put }) => {
      let last: Promise<unknown> = Promise.resolve();
      return {
        put: (key, value, options) => {
          last = last.then(() => new Promise((resolve) => setTimeout(resolve, 5))).then(() => put(key, value, options));
          return Promise.resolve({ ok: true, version: "soon" });
        },
      };
    },
  },
  "leaves its lock behind when it is killed": {
    caught: ["8.5"],
    make: ({ put }, path) => ({ put: (key, value, options) => locked(path, () => put(key, value, options)) }),
  },
  "applies an ordered write from its end": {
    caught: ["8.6"],
    make: (storage) => ({
      write: async (operations) => {
        for (const operation of operations.toReversed()) {
          await storage.write!([operation]);
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
        return { ok: true, versions: operations.map(() => undefined) };
      },
    }),
  },
};
