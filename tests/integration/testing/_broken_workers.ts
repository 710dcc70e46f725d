/** Storages that are correct in one process and broken in several, with the requirements that must fail. */
import type { Storage } from "@b24/onappupdate";
import type { Entry, Key } from "@b24/onappupdate/storage";
import { StorageError } from "@b24/onappupdate/errors";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

export interface BrokenWorker {
  /** Requirements that fail, among others. */
  readonly caught: readonly string[];
  readonly make: (storage: Storage, path: string) => Partial<Storage>;
}

type Put = Storage["put"];

/**
 * Reads, then writes: not atomic. In its first write, a process waits until another one has read, too, and then until that
 * one has written, too: so one of them overwrites the other, however busy the machine is.
 */
function readThenWrite({ get, put }: Storage, path: string): Put {
  return async (key, value, options = {}) => {
    const { ifVersion } = options;
    if (ifVersion !== undefined && ifVersion !== ((await get(key))?.version ?? null)) return { ok: false };
    await meetAnother(`${path}.read`);
    const result = await put(key, value);
    await meetAnother(`${path}.written`);
    return result;
  };
}

/** Resolves when two processes have come here. */
async function meetAnother(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, String(process.pid)), "");
  while (readdirSync(folder).length < 2) await delay(2);
}

/** Takes a lock with the first call, and removes it with `close`, which a process that is killed does not call. */
function locked({ put, close }: Storage, path: string): Partial<Storage> {
  const lock = `${path}.lock`;
  let isHeld = false;
  return {
    put: async (key, value, options) => {
      if (!isHeld && existsSync(lock)) throw new StorageError(`cannot write ${path}: it is locked`);
      isHeld = true;
      writeFileSync(lock, "");
      return await put(key, value, options);
    },
    close: async () => {
      if (isHeld) rmSync(lock);
      await close?.();
    },
  };
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
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
  "keeps its writes in memory until it is closed": {
    caught: ["8.5", "8.6"],
    make: ({ put, write, close }) => {
      const kept: (() => Promise<unknown>)[] = [];
      const keep = async <R>(run: () => Promise<unknown>, result: R): Promise<R> => {
        kept.push(run);
        await delay(1);
        return result;
      };
      return {
        put: (key, value, options) => keep(() => put(key, value, options), { ok: true, version: "soon" }),
        write: (operations) => keep(() => write!(operations), { ok: true, versions: operations.map(() => "soon") }),
        close: async () => {
          for (const run of kept) await run();
          await close?.();
        },
      };
    },
  },
  "leaves its lock behind when it is killed": {
    caught: ["8.5"],
    make: locked,
  },
  "applies an ordered write from its end": {
    caught: ["8.6"],
    make: (storage) => ({
      write: async (operations) => {
        await storage.write!(operations.slice(-1));
        // Waits in the middle until it is killed.
        return await new Promise<never>(() => {});
      },
    }),
  },
};
