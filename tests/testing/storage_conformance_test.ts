import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { STORAGE_CLAUSES, storageConformance } from "@b24/onappupdate/testing";
import { BROKEN } from "./_broken_storages.ts";

type Tests = readonly { readonly name: string; readonly fn: () => Promise<void> }[];

function register(options: Partial<Parameters<typeof storageConformance>[0]> = {}): Tests {
  const tests: { name: string; fn: () => Promise<void> }[] = [];
  storageConformance({
    name: "mine",
    test: (name, fn) => tests.push({ name, fn }),
    clock: "injected",
    create: (clock) => memoryStorage({ clock }),
    ...options,
  });
  return tests;
}

/** The message of each test that fails, by the number of its clause. */
async function failures(tests: Tests): Promise<Map<string, string>> {
  const failed = new Map<string, string>();
  for (const { name, fn } of tests) {
    await fn().catch((error: Error) => failed.set(name.split(" ")[0]!, error.message));
  }
  return failed;
}

test("storageConformance() registers one test for each clause, named by number, sentence and storage", () => {
  assert.deepEqual(
    register().map(({ name }) => name),
    Object.entries(STORAGE_CLAUSES).map(([number, says]) => `${number} ${says} (mine)`),
  );
});

test("STORAGE_CLAUSES is in order, without a number or a sentence twice", () => {
  const numbers = Object.keys(STORAGE_CLAUSES);
  assert.ok(numbers.length > 0);
  assert.equal(new Set(Object.values(STORAGE_CLAUSES)).size, numbers.length);
  assert.deepEqual(numbers, numbers.toSorted((a, b) => a.localeCompare(b, "en", { numeric: true })));
  assert.ok(Object.isFrozen(STORAGE_CLAUSES));
});

test("storageConformance() passes the reference", async () => {
  assert.deepEqual(await failures(register()), new Map());
});

test("storageConformance() closes every storage, also after a failed test", async () => {
  let created = 0, closed = 0;
  const create = (): Storage => {
    created++;
    return { ...memoryStorage(), get: () => Promise.reject(new Error("down")), close: count };
  };
  const count = (): Promise<void> => {
    closed++;
    return Promise.resolve();
  };
  const failed = await failures(register({ create }));
  assert.ok(failed.size > 10);
  assert.equal(closed, created + 2, "clause 7.2 closes twice more");
});

test("storageConformance() leaves closing to `dispose` when there is one", async () => {
  const created: Storage[] = [], disposed: Storage[] = [];
  const tests = register({
    create: async () => {
      created.push(memoryStorage());
      return await Promise.resolve(created.at(-1)!);
    },
    dispose: async (storage) => {
      await Promise.resolve();
      disposed.push(storage);
    },
  });
  await failures(tests);
  assert.equal(created.length, tests.length);
  assert.deepEqual(disposed, created);
});

test("storageConformance() names the clause, what it saw and what it wanted, and keeps the cause", async () => {
  const broken = register({ create: (clock) => ({ ...memoryStorage({ clock }), get: () => Promise.resolve(null) }) });
  await assert.rejects(broken.find(({ name }) => name.startsWith("3.2 "))!.fn(), (error: Error) => {
    assert.equal(error.message, `3.2 ${STORAGE_CLAUSES["3.2"]}: the value: saw undefined, wanted 1`);
    assert.ok(error.cause instanceof Error);
    return true;
  });
});

describe("storageConformance() catches a storage that", () => {
  for (const { does, make, caught } of BROKEN) {
    it(does, async () => {
      const create = (clock: () => number): Storage => {
        const storage = memoryStorage({ clock });
        return { ...storage, ...make(storage, clock) };
      };
      const found = await failures(register({ create }));
      assert.deepEqual(caught.filter((number) => !found.has(number)), [], `found ${[...found.keys()]}`);
    });
  }
});

test("STORAGE_CLAUSES has none that lets every broken storage pass", () => {
  const caught = new Set(BROKEN.flatMap(({ caught }) => caught));
  assert.deepEqual(Object.keys(STORAGE_CLAUSES).filter((number) => !caught.has(number)), []);
});
