/** Clauses 9 and 10 of the storage battery: lost answers, and backends that are down, slow or full. */
import type { Storage } from "../../../mod.ts";
import { StorageError } from "../../../errors.ts";
import type { Entry, Key } from "../../../storage.ts";
import { check, type Clause, listed, refused, same, type Trial, write } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

const isFailure = (error: unknown): boolean => error instanceof StorageError;

/** Fails unless what `run` gives is `ok`, or it is not known. */
async function okOrUnknown(run: () => Promise<{ readonly ok: boolean }>, what: string): Promise<boolean> {
  try {
    same((await run()).ok, true, what);
    return true;
  } catch (error) {
    if (!isFailure(error)) throw error;
    return false;
  }
}

/** Adds `id` to the list under KEY, as often as it takes to know that it is there. */
async function append(storage: Storage, id: number): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    const entry = await storage.get<number[]>(KEY);
    const ids = entry?.value ?? [];
    if (ids.includes(id)) return;
    await okOrRefused(() => storage.put(KEY, [...ids, id], { ifVersion: entry?.version ?? null }));
  }
  check(false, "saw 20 tries of a writer that is alone");
}

async function okOrRefused(run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!isFailure(error)) throw error;
  }
}

/** Fails if `run` takes longer than the time limit. */
async function inTime<T>({ faultTimeoutMs }: Trial, what: string, run: () => Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: saw nothing for ${faultTimeoutMs} ms`)), faultTimeoutMs);
  });
  try {
    return await Promise.race([run(), late]);
  } finally {
    clearTimeout(timer);
  }
}

const CALLS: readonly (readonly [string, (storage: Storage, signal?: AbortSignal) => Promise<unknown>])[] = [
  ["get", (storage, signal) => storage.get(KEY, signal ? { signal } : {})],
  ["put", (storage, signal) => storage.put(KEY, 2, signal ? { signal } : {})],
  ["create", (storage, signal) => storage.put(["new"], 2, { ifVersion: null, ...(signal ? { signal } : {}) })],
  ["delete", (storage, signal) => storage.delete(["none"], signal ? { signal } : {})],
  ["list", (storage, signal) => listed(storage, [], signal ? { signal } : {})],
];

/** Clauses 9 and 10, in order. */
export const faultClauses: readonly Clause[] = [
  {
    number: "9.1",
    says: "a put whose answer is lost is ok or an error, and never refused",
    needs: "loseReply",
    holds: async ({ storage, backend }) => {
      await write(storage, KEY, 1);
      await backend!.loseReply!();
      await okOrUnknown(() => storage.put(KEY, 2), "put");
      same((await storage.get(KEY))?.value, 2, "the value");
    },
  },
  {
    number: "9.2",
    says: "a creation whose answer is lost is ok or an error, and never refused",
    needs: "loseReply",
    holds: async ({ storage, backend }) => {
      await backend!.loseReply!();
      await okOrUnknown(() => storage.put(KEY, 1, { ifVersion: null }), "put where nothing is");
      same((await storage.get(KEY))?.value, 1, "the value");
      same(await storage.put(KEY, 2, { ifVersion: null }), { ok: false }, "put over an entry");
    },
  },
  {
    number: "9.3",
    says: "a compare-and-set whose answer is lost is ok or an error, never refused, and its version is the entry's",
    needs: "loseReply",
    holds: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.loseReply!();
      let given: string | undefined;
      await okOrUnknown(async () => {
        const result = await storage.put(KEY, 2, { ifVersion: version });
        if (result.ok) given = result.version;
        return result;
      }, "put with the version of the entry");
      const entry = await storage.get(KEY);
      same(entry?.value, 2, "the value");
      if (given !== undefined) same(entry?.version, given, "the version");
    },
  },
  {
    number: "9.4",
    says: "a deletion whose answer is lost is ok or an error, and never refused",
    needs: "loseReply",
    holds: async ({ storage, backend }) => {
      for (const conditional of [false, true]) {
        const ifVersion = await write(storage, KEY, 1);
        await backend!.loseReply!();
        await okOrUnknown(() => storage.delete(KEY, conditional ? { ifVersion } : {}), "delete");
        same(await storage.get(KEY), null, "get after it");
      }
    },
  },
  {
    number: "9.5",
    says: "a writer that looks again after an error loses nothing and does nothing twice",
    needs: "loseReply",
    holds: async ({ storage, backend }) => {
      for (let id = 0; id < 20; id++) {
        if (id % 3 === 0) await backend!.loseReply!();
        await append(storage, id);
      }
      same((await storage.get(KEY))?.value, Array.from({ length: 20 }, (_, id) => id), "what was added");
    },
  },
  {
    number: "10.1",
    says: "while the backend is down, every method rejects with a StorageError in time",
    needs: "stop",
    holds: async (trial) => {
      const { storage, backend } = trial;
      await write(storage, KEY, 1);
      await backend!.stop!();
      // At once, because each can take as long as the storage waits for its backend.
      await Promise.all(
        CALLS.map(([what, call]) => inTime(trial, what, () => refused(() => call(storage), isFailure, what))),
      );
    },
  },
  {
    number: "10.2",
    says: "a listing during which the backend goes away gives all or rejects, and never ends early",
    needs: "stop",
    holds: async (trial) => {
      const { storage, backend } = trial;
      const many = 300;
      await Promise.all(Array.from({ length: many }, (_, i) => storage.put(["many", String(i)], i)));
      let seen = 0;
      const listing = async (): Promise<void> => {
        for await (const _ of storage.list(["many"])) {
          if (++seen === 1) await backend!.stop!();
        }
        same(seen, many, "entries of a listing that ended");
      };
      await inTime(trial, "list", () =>
        listing().catch((error) => {
          if (!isFailure(error)) throw error;
        }));
    },
  },
  {
    number: "10.3",
    says: "when the backend is back, what was written is there, and every method works again",
    needs: "stop",
    holds: async (trial) => {
      const { storage, backend } = trial;
      const version = await write(storage, KEY, 1);
      await backend!.stop!();
      await inTime(trial, "get", () => refused(() => storage.get(KEY), isFailure, "get while it is down"));
      await backend!.start!();
      const end = Date.now() + trial.faultTimeoutMs;
      let entry: Entry<unknown> | null | undefined;
      while (entry === undefined && Date.now() < end) {
        entry = await storage.get(KEY).catch((error) => {
          if (!isFailure(error)) throw error;
          return undefined;
        });
        if (entry === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
      }
      same(entry, { key: [...KEY], value: 1, version }, "the entry");
      for (const [, call] of CALLS) await call(storage);
      same((await storage.get(KEY))?.value, 2, "the value after another put");
    },
  },
  {
    number: "10.4",
    says: "a signal that is aborted during a slow call rejects with its reason at once",
    needs: "delay",
    holds: async ({ storage, backend, faultTimeoutMs }) => {
      await write(storage, KEY, 1);
      await backend!.delay!(Math.min(500, faultTimeoutMs / 10));
      const reason = new Error("given up");
      const controller = new AbortController();
      // Compared with a call that nobody aborts, and not with a clock: any machine may pause for a while.
      let isAnswered = false;
      const answered = storage.get(["none"]).finally(() => isAnswered = true);
      const aborted = CALLS.map(async ([what, call]) => {
        await refused(() => call(storage, controller.signal), (error) => error === reason, what);
        check(!isAnswered, `${what}: saw it reject no sooner than another call was answered, wanted it at once`);
      });
      setTimeout(() => controller.abort(reason), 30);
      const [failed] = (await Promise.allSettled([...aborted, answered])).filter(({ status }) => status === "rejected");
      if (failed?.status === "rejected") throw failed.reason;
    },
  },
  {
    number: "10.5",
    says: "a slow call gives what a fast one gives",
    needs: "delay",
    holds: async ({ storage, backend }) => {
      await backend!.delay!(40);
      const version = await write(storage, KEY, 1);
      same(await storage.get(KEY), { key: [...KEY], value: 1, version }, "get");
      same(await storage.put(KEY, 2, { ifVersion: null }), { ok: false }, "put over an entry");
      same((await listed(storage, [])).length, 1, "entries");
      same(await storage.delete(KEY, { ifVersion: version }), { ok: true }, "delete");
    },
  },
  {
    number: "10.6",
    says: "when there is no room, put rejects with a StorageError and changes nothing",
    needs: "fill",
    holds: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.fill!();
      const large = "x".repeat(20_000);
      await refused(() => storage.put(KEY, large, { ifVersion: version }), isFailure, "put over an entry");
      await refused(() => storage.put(["new"], large, { ifVersion: null }), isFailure, "put where nothing is");
      same(await storage.get(KEY), { key: [...KEY], value: 1, version }, "the entry");
      same(await storage.get(["new"]), null, "the key where nothing was");
      same((await listed(storage, [])).filter(({ key }) => key[0] === "new"), [], "list");
    },
  },
  {
    number: "10.7",
    says: "when there is no room, a deletion is done, or an error that changes nothing",
    needs: "fill",
    holds: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.fill!();
      // A disk that is full may have no room for the note that something is gone.
      const isDone = await okOrUnknown(() => storage.delete(KEY, { ifVersion: version }), "delete");
      same(await storage.get(KEY), isDone ? null : { key: [...KEY], value: 1, version }, "get after it");
    },
  },
  {
    number: "10.8",
    says: "when there is room again, put works as before",
    needs: "fill",
    holds: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.fill!();
      await refused(() => storage.put(["new"], "x".repeat(20_000)), isFailure, "put while it is full");
      await backend!.drain!();
      same((await storage.put(KEY, 2, { ifVersion: version })).ok, true, "put");
      same((await storage.put(["new"], "x".repeat(20_000), { ifVersion: null })).ok, true, "the put that was refused");
    },
  },
];
