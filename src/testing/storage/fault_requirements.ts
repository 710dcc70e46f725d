/** Sections 9 and 10 of the storage contract: lost replies, and backends that are down, slow or full. */
import { delay, systemTime } from "../../async/time.ts";
import { settlesWithin } from "../../async/with_timeout.ts";
import { StorageError } from "../../errors.ts";
import type { Entry, Key, Storage } from "../../storage/storage.ts";
import { check, listed, rejects, type Requirement, same, type TestContext, write } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

const isStorageError = (error: unknown): boolean => error instanceof StorageError;

/** Fails if a write is refused. Returns whether it was ok, rather than an error. */
async function isOk(run: () => Promise<{ readonly ok: boolean }>, subject: string): Promise<boolean> {
  try {
    same((await run()).ok, true, subject);
    return true;
  } catch (error) {
    if (!isStorageError(error)) throw error;
    return false;
  }
}

/** Appends `id` to the list under KEY. Tries again after an error, unless the list has it. */
async function append(storage: Storage, id: number): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    const entry = await storage.get<number[]>(KEY);
    const ids = entry?.value ?? [];
    if (ids.includes(id)) return;
    await ignoreStorageError(() => storage.put(KEY, [...ids, id], { ifVersion: entry?.version ?? null }));
  }
  check(false, "saw 20 tries of the only writer");
}

async function ignoreStorageError(run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!isStorageError(error)) throw error;
  }
}

/** Fails if `run` takes longer than the time limit. */
async function inTime({ faultTimeoutMs }: TestContext, subject: string, run: () => Promise<unknown>): Promise<void> {
  const isSettled = await settlesWithin(systemTime, run(), faultTimeoutMs);
  check(isSettled, `${subject}: saw nothing for ${faultTimeoutMs} ms`);
}

const CALLS: readonly (readonly [string, (storage: Storage, signal?: AbortSignal) => Promise<unknown>])[] = [
  ["get", (storage, signal) => storage.get(KEY, signal ? { signal } : {})],
  ["put", (storage, signal) => storage.put(KEY, 2, signal ? { signal } : {})],
  ["create", (storage, signal) => storage.put(["new"], 2, { ifVersion: null, ...(signal ? { signal } : {}) })],
  ["delete", (storage, signal) => storage.delete(["none"], signal ? { signal } : {})],
  ["list", (storage, signal) => listed(storage, [], signal ? { signal } : {})],
];

/** The requirements of sections 9 and 10, in order. */
export const faultRequirements: readonly Requirement[] = [
  {
    number: "9.1",
    text: "A `put` whose reply is lost is ok or an error, never refused",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      await write(storage, KEY, 1);
      await backend!.loseReply!();
      await isOk(() => storage.put(KEY, 2), "put");
      same((await storage.get(KEY))?.value, 2, "the value");
    },
  },
  {
    number: "9.2",
    text: "A `put` with `ifVersion: null` whose reply is lost is ok or an error, never refused",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      await backend!.loseReply!();
      await isOk(() => storage.put(KEY, 1, { ifVersion: null }), "put of a new key");
      same((await storage.get(KEY))?.value, 1, "the value");
      same(await storage.put(KEY, 2, { ifVersion: null }), { ok: false }, "put over an entry");
    },
  },
  {
    number: "9.3",
    text:
      "A `put` with a version whose reply is lost is ok or an error, never refused; if ok, it returns the stored version",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.loseReply!();
      let returned: string | undefined;
      await isOk(async () => {
        const result = await storage.put(KEY, 2, { ifVersion: version });
        if (result.ok) returned = result.version;
        return result;
      }, "put with the version of the entry");
      const entry = await storage.get(KEY);
      same(entry?.value, 2, "the value");
      if (returned !== undefined) same(entry?.version, returned, "the version");
    },
  },
  {
    number: "9.4",
    text: "A `delete` whose reply is lost is ok or an error, never refused",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      for (const conditional of [false, true]) {
        const ifVersion = await write(storage, KEY, 1);
        await backend!.loseReply!();
        await isOk(() => storage.delete(KEY, conditional ? { ifVersion } : {}), "delete");
        same(await storage.get(KEY), null, "get after it");
      }
    },
  },
  {
    number: "9.5",
    text: "A writer that reads and tries again after an error loses nothing and does nothing twice",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      for (let id = 0; id < 20; id++) {
        if (id % 3 === 0) await backend!.loseReply!();
        await append(storage, id);
      }
      same((await storage.get(KEY))?.value, Array.from({ length: 20 }, (_, id) => id), "the list");
    },
  },
  {
    number: "10.1",
    text: "While the backend is down, every method rejects with a StorageError within the time limit",
    needs: "stop",
    verify: async (context) => {
      const { storage, backend } = context;
      await write(storage, KEY, 1);
      await backend!.stop!();
      // Concurrently, because each call can take as long as the timeout of the storage.
      await Promise.all(
        CALLS.map(([method, call]) =>
          inTime(context, method, () => rejects(() => call(storage), isStorageError, method))
        ),
      );
    },
  },
  {
    number: "10.2",
    text: "If the backend goes down during a listing, the listing is complete or rejects",
    needs: "stop",
    verify: async (context) => {
      const { storage, backend } = context;
      const many = 300;
      await Promise.all(Array.from({ length: many }, (_, i) => storage.put(["many", String(i)], i)));
      let seen = 0;
      const listing = async (): Promise<void> => {
        for await (const _ of storage.list(["many"])) {
          if (++seen === 1) await backend!.stop!();
        }
        same(seen, many, "entries of a complete listing");
      };
      await inTime(context, "list", () =>
        listing().catch((error) => {
          if (!isStorageError(error)) throw error;
        }));
    },
  },
  {
    number: "10.3",
    text: "When the backend is up again, the entries are there and every method works",
    needs: "stop",
    verify: async (context) => {
      const { storage, backend } = context;
      const version = await write(storage, KEY, 1);
      await backend!.stop!();
      await inTime(
        context,
        "get",
        () => rejects(() => storage.get(KEY), isStorageError, "get while the backend is down"),
      );
      await backend!.start!();
      const deadline = systemTime.now() + context.faultTimeoutMs;
      let entry: Entry<unknown> | null | undefined;
      while (entry === undefined && systemTime.now() < deadline) {
        entry = await storage.get(KEY).catch((error) => {
          if (!isStorageError(error)) throw error;
          return undefined;
        });
        if (entry === undefined) await delay(systemTime, 50);
      }
      same(entry, { key: [...KEY], value: 1, version }, "the entry");
      for (const [, call] of CALLS) await call(storage);
      same((await storage.get(KEY))?.value, 2, "the value after another put");
    },
  },
  {
    number: "10.4",
    text: "A signal that is aborted during a slow call rejects the call at once with its reason",
    needs: "delay",
    verify: async ({ storage, backend, faultTimeoutMs }) => {
      await write(storage, KEY, 1);
      await backend!.delay!(Math.min(500, faultTimeoutMs / 10));
      const reason = new Error("given up");
      const controller = new AbortController();
      // Compared with a call that is not aborted, rather than with a clock, because any machine may pause for a while.
      let hasReply = false;
      const reply = storage.get(["none"]).finally(() => hasReply = true);
      const aborted = CALLS.map(async ([method, call]) => {
        await rejects(() => call(storage, controller.signal), (error) => error === reason, method);
        check(!hasReply, `${method}: saw it reject later than another call had its reply, wanted it at once`);
      });
      systemTime.setTimer(() => controller.abort(reason), 30);
      const [failed] = (await Promise.allSettled([...aborted, reply])).filter(({ status }) => status === "rejected");
      if (failed?.status === "rejected") throw failed.reason;
    },
  },
  {
    number: "10.5",
    text: "A slow call returns what a fast one returns",
    needs: "delay",
    verify: async ({ storage, backend }) => {
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
    text: "If the backend is full, `put` rejects with a StorageError and changes nothing",
    needs: "fill",
    verify: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.fill!();
      const large = "x".repeat(20_000);
      await rejects(() => storage.put(KEY, large, { ifVersion: version }), isStorageError, "put over an entry");
      await rejects(() => storage.put(["new"], large, { ifVersion: null }), isStorageError, "put of a new key");
      same(await storage.get(KEY), { key: [...KEY], value: 1, version }, "the entry");
      same(await storage.get(["new"]), null, "get of the new key");
      same((await listed(storage, [])).filter(({ key }) => key[0] === "new"), [], "list");
    },
  },
  {
    number: "10.7",
    text: "If the backend is full, `delete` removes the entry, or rejects and changes nothing",
    needs: "fill",
    verify: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.fill!();
      // A full disk may have no space to record a deletion.
      const isDeleted = await isOk(() => storage.delete(KEY, { ifVersion: version }), "delete");
      same(await storage.get(KEY), isDeleted ? null : { key: [...KEY], value: 1, version }, "get after it");
    },
  },
  {
    number: "10.8",
    text: "When the backend has space again, `put` works as before",
    needs: "fill",
    verify: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.fill!();
      await rejects(() => storage.put(["new"], "x".repeat(20_000)), isStorageError, "put while the backend is full");
      await backend!.drain!();
      same((await storage.put(KEY, 2, { ifVersion: version })).ok, true, "put");
      same((await storage.put(["new"], "x".repeat(20_000), { ifVersion: null })).ok, true, "the put that was rejected");
    },
  },
];
