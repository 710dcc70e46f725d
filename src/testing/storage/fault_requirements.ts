/** Section 10 of the storage contract: backends that are down, slow or full. */
import { delay, systemTime } from "../../async/time.ts";
import { settlesWithin } from "../../async/with_timeout.ts";
import type { Entry, Key, Storage, WriteOperation } from "../../storage/storage.ts";
import { writeInOrder } from "../../storage/write.ts";
import {
  check,
  checkPrefix,
  ignoreStorageError,
  isOk,
  isStorageError,
  listed,
  rejects,
  type Requirement,
  same,
  type TestContext,
  write,
  writersOf,
} from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

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
  ["write", (storage, signal) => writeInOrder(storage, [{ put: ["new"], value: 3 }], signal ? { signal } : {})],
];

/** The requirements of section 10, in order. */
export const faultRequirements: readonly Requirement[] = [
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
  {
    number: "10.9",
    text: "If the backend is full, `write` rejects with a StorageError, and applies a prefix of its operations or none",
    needs: "fill",
    verify: async ({ storage, backend }) => {
      const writers = writersOf(storage);
      for (const { name } of writers) await write(storage, [name, "deleted"], 1);
      await backend!.fill!();
      for (const { name, write: writeAll } of writers) {
        const operations: readonly WriteOperation[] = [
          { delete: [name, "deleted"] },
          { put: [name, "large"], value: "x".repeat(20_000) },
          { put: [name, "after"], value: 1 },
        ];
        await rejects(() => writeAll(operations), isStorageError, name);
        same(await storage.get([name, "large"]), null, "the entry that there is no space for");
        same(await storage.get([name, "after"]), null, "the entry after it");
      }
    },
  },
  {
    number: "10.10",
    text:
      "If the backend goes down during a `write`, a prefix of its operations is applied, and all of them if it is ok",
    needs: "stop",
    verify: async (context) => {
      const { storage, backend, faultTimeoutMs } = context;
      const writers = writersOf(storage).map(({ name, write }) => {
        const keys = Array.from({ length: 30 }, (_, i): Key => [name, String(i)]);
        return { name, keys, isApplied: isOk(() => write(keys.map((put) => ({ put, value: 1 }))), name) };
      });
      await backend!.stop!();
      await inTime(context, "write", () => Promise.all(writers.map(({ isApplied }) => isApplied)));
      await backend!.start!();
      const deadline = systemTime.now() + faultTimeoutMs;
      let entries: readonly Entry<unknown>[] | undefined;
      while (entries === undefined && systemTime.now() < deadline) {
        await ignoreStorageError(async () => entries = await listed(storage, []));
        if (entries === undefined) await delay(systemTime, 50);
      }
      const seen = new Set((entries ?? []).map(({ key }) => key.join()));
      for (const { name, keys, isApplied } of writers) {
        const applied = keys.map((key) => seen.has(key.join()));
        checkPrefix(applied, name);
        if (await isApplied) same(applied.includes(false), false, `${name} that is ok lacks operations`);
      }
    },
  },
];
