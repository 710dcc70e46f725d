import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import type { Key } from "@b24/onappupdate/storage";
import { type Faults, faultyStorage, storageConformance } from "@b24/onappupdate/testing";
import { test } from "../../support/test.ts";

storageConformance({ name: "memoryStorage", test, clock: "injected", create: (clock) => memoryStorage({ clock }) });

const faultsOf = new WeakMap<Storage, Faults>();
storageConformance({
  name: "memoryStorage with faults",
  test,
  clock: "injected",
  create: (clock) => {
    const faults: Faults = {};
    const storage = faultyStorage(memoryStorage({ clock }), faults, 1);
    faultsOf.set(storage, faults);
    return storage;
  },
  backend: {
    can: ["stop", "start", "delay", "loseReply", "fill", "drain"],
    of: (storage) => {
      const faults = faultsOf.get(storage)!;
      const set = (change: Faults) => (): Promise<void> => Promise.resolve(void Object.assign(faults, change));
      return {
        stop: set({ unavailable: 1 }),
        start: set({ unavailable: 0 }),
        delay: (delayMs) => set({ delayMs })(),
        loseReply: set({ loseReplies: 1 }),
        fill: set({ full: 1 }),
        drain: set({ full: 0 }),
      };
    },
  },
});
storageConformance({ name: "memoryStorage with the real clock", test, clock: "real", create: () => memoryStorage() });

/** Returns a storage that counts how many entries it examines: it reads its clock once for each. */
function watched(): { storage: Storage; examined: (run: () => Promise<unknown>) => Promise<number>; now: number } {
  let reads = 0;
  const clock = (): number => {
    reads++;
    return watch.now;
  };
  const watch = {
    storage: memoryStorage({ clock }),
    now: 1_785_300_000_000,
    examined: async (run: () => Promise<unknown>): Promise<number> => {
      reads = 0;
      await run();
      return reads;
    },
  };
  return watch;
}

async function countOf(entries: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of entries) count++;
  return count;
}

test("memoryStorage() is not durable, has the scope of the process, and has no close()", () => {
  const { name, capabilities, close } = memoryStorage();
  assert.deepEqual({ name, capabilities, close }, {
    name: "memory",
    capabilities: { durable: false, scope: "process" },
    close: undefined,
  });
});

test("memoryStorage() creates a storage of its own at each call", async () => {
  await memoryStorage().put(["a"], 1);
  assert.equal(await memoryStorage().get(["a"]), null);
});

test("put() names the key of a value that JSON cannot represent, and keeps the error of JSON as cause", async () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const storage = memoryStorage();
  await assert.rejects(storage.put(["a", "b"], undefined), {
    name: "TypeError",
    message: 'cannot store undefined under ["a","b"], wanted a value that JSON can represent',
  });
  await assert.rejects(storage.put(["a", "b"], cycle), ({ message, cause }: Error) => {
    assert.equal(message, 'cannot store object under ["a","b"], wanted a value that JSON can represent');
    return cause instanceof TypeError;
  });
});

for (const ttlMs of [NaN, Infinity, -Infinity]) {
  test(`put() refuses a ttlMs of ${ttlMs} and writes nothing`, async () => {
    const storage = memoryStorage();
    await assert.rejects(storage.put(["a"], 1, { ttlMs }), {
      name: "TypeError",
      message: `cannot store ["a"] with a ttlMs of ${ttlMs}, wanted a finite number`,
    });
    assert.equal(await storage.get(["a"]), null);
  });
}

test("list() examines only entries under the prefix, after `after` and within `limit`", async () => {
  const { storage, examined } = watched();
  const ttlMs = 60_000;
  for (let i = 0; i < 500; i++) {
    await storage.put(["many", String(i).padStart(3, "0")], i, { ttlMs });
    if (i < 5) await storage.put(["few", String(i)], i, { ttlMs });
  }
  assert.equal(await examined(() => countOf(storage.list(["few"]))), 5);
  assert.equal(await examined(() => countOf(storage.list(["many"], { after: ["many", "489"] }))), 10);
  assert.equal(await examined(() => countOf(storage.list([], { after: ["many", "489"] }))), 10);
  assert.equal(await examined(() => countOf(storage.list([], { limit: 3 }))), 3);
});

test("put() removes expired entries that are never read", async () => {
  const watch = watched();
  for (let i = 0; i < 1000; i++) {
    watch.now += 1;
    await watch.storage.put(["once", String(i)], i, { ttlMs: 10 });
  }
  watch.now += 10;
  const left = await watch.examined(() => countOf(watch.storage.list([])));
  assert.ok(left <= 30, `${left} expired entries are still held`);
});

test("list() stays in order while entries are added at one end of a queue and removed at the other", async () => {
  const storage = memoryStorage();
  const key = (i: number): Key => ["queue", String(i).padStart(4, "0")];
  const seen: unknown[] = [];
  for (let i = 0; i < 300; i++) {
    await storage.put(key((i * 7) % 300), i);
    if (i % 3 < 2) continue;
    for await (const entry of storage.list(["queue"], { limit: 1 })) {
      seen.push(entry.key);
      await storage.delete(entry.key);
    }
  }
  assert.equal(seen.length, 100);
  const left: Key[] = [];
  for await (const entry of storage.list(["queue"])) left.push(entry.key);
  assert.equal(left.length, 200);
  assert.deepEqual([...seen, ...left].map(String).toSorted(), Array.from({ length: 300 }, (_, i) => String(key(i))));
  assert.deepEqual(left.map(String), left.map(String).toSorted());
});

test("memoryStorage() applies all operations of a write, or none", async () => {
  const storage = memoryStorage();
  await storage.put(["b"], 1);
  const refused = await storage.write!([
    { put: ["a"], value: 1 },
    { delete: ["b"] },
    { put: ["c"], value: 1, ifVersion: "none" },
  ]);
  assert.deepEqual(refused, { ok: false, failedAt: 2 });
  assert.deepEqual((await Array.fromAsync(storage.list([]))).map(({ key }) => key), [["b"]]);
});
