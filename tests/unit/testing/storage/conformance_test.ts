import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { type Faults, STORAGE_REQUIREMENTS, type StorageConformanceOptions } from "@b24/onappupdate/testing";
import { BROKEN_WRITES, BROKEN_WRITES_UNDER_FAULTS } from "./_broken_ordered_writes.ts";
import { BROKEN, BROKEN_UNDER_FAULTS } from "./_broken_storages.ts";
import { BROKEN_WORKERS } from "../../../integration/testing/_broken_workers.ts";
import { failedRequirements, register, withFaults } from "../../../support/conformance.ts";
import { describe, it, test } from "../../../support/test.ts";

/** Returns options for storages in memory with injected faults. `make` replaces members of the storage. */
function replaced(
  make?: (storage: Storage, faults: Faults) => Partial<Storage>,
): Partial<StorageConformanceOptions> {
  return {
    ...withFaults((storage, faults) => ({ ...storage, ...make?.(storage, faults) })),
    // A broken storage may use all of it.
    ...(make === undefined ? {} : { faultTimeoutMs: 500 }),
  };
}

/** Numbers of the requirements that need `worker` or `backend`. */
const NEEDS_OPTION = /^(8|9|10)\./;

test("storageConformance() registers one test for each requirement, named by its number, its text and the storage", () => {
  assert.deepEqual(
    register().map(({ name }) => name).slice(0, -1),
    Object.entries(STORAGE_REQUIREMENTS).filter(([number]) => !NEEDS_OPTION.test(number))
      .map(([number, text]) => `${number} ${text} (mine)`),
  );
});

test("storageConformance() skips exactly the requirements whose options are missing", () => {
  const numbers = (options: Parameters<typeof register>[0]): string[] =>
    register(options).map(({ name }) => name.split(" ")[0]!).filter((number) => NEEDS_OPTION.test(number));
  const all = Object.keys(STORAGE_REQUIREMENTS).filter((number) => NEEDS_OPTION.test(number));
  assert.deepEqual(numbers({}), []);
  assert.deepEqual(numbers({ worker: () => ({ command: "", args: [] }), ...replaced() }), all);
  const some = { of: () => ({}), can: ["delay"] } as const;
  assert.deepEqual(numbers({ backend: some }), ["10.4", "10.5"]);
});

test("storageConformance() names the requirements that it did not run in a last test", () => {
  const numbers = (sections: RegExp): string =>
    Object.keys(STORAGE_REQUIREMENTS).filter((number) => sections.test(number)).join(", ");
  const last = (options: Parameters<typeof register>[0]): string => register(options).at(-1)!.name;
  const worker = () => ({ command: "", args: [] });
  const [of8, of9and10] = [numbers(/^8\./), numbers(/^(9|10)\./)];
  assert.equal(last({}), `not run: ${of8} (for want of worker); ${of9and10} (for want of backend) (mine)`);
  assert.equal(last({ worker: false }), last({}));
  assert.equal(last({ worker }), `not run: ${of9and10} (for want of backend) (mine)`);
  assert.equal(last(replaced()), `not run: ${of8} (for want of worker) (mine)`);
  assert.doesNotMatch(last({ worker, ...replaced() }), /not run/);
});

test("storageConformance() fails without a worker for a storage with an in-process lock that claims another scope", async () => {
  for (const scope of ["process", "host", "network"] as const) {
    let closed = 0;
    const create = (clock: () => number): Storage => ({
      ...memoryStorage({ clock }),
      capabilities: { ...memoryStorage().capabilities, scope },
      close: () => Promise.resolve(void closed++),
    });
    const last = register({ create }).at(-1)!;
    const failure = await last.fn().then(() => undefined, (error: Error) => error.message);
    const problem = `the storage claims scope "${scope}", and no process has tested it: ` +
      'saw no option worker, wanted one, false, or scope "process"';
    assert.equal(failure, scope === "process" ? undefined : problem);
    assert.equal(closed, 1);
    for (const worker of [() => ({ command: "", args: [] }), false] as const) {
      await register({ create, worker }).at(-1)!.fn();
    }
  }
});

test("STORAGE_REQUIREMENTS is in order, and repeats no number and no text", () => {
  const numbers = Object.keys(STORAGE_REQUIREMENTS);
  assert.ok(numbers.length > 0);
  assert.equal(new Set(Object.values(STORAGE_REQUIREMENTS)).size, numbers.length);
  assert.deepEqual(numbers, numbers.toSorted((a, b) => a.localeCompare(b, "en", { numeric: true })));
  assert.ok(Object.isFrozen(STORAGE_REQUIREMENTS));
});

test("storageConformance() passes memoryStorage(), with and without faults", async () => {
  assert.deepEqual(await failedRequirements(register()), new Map());
  assert.deepEqual(await failedRequirements(register(replaced())), new Map());
});

test("storageConformance() passes a storage without `write`", async () => {
  const create = (clock: () => number): Storage => {
    const { write: _, ...storage } = memoryStorage({ clock });
    return storage;
  };
  assert.deepEqual(await failedRequirements(register({ create })), new Map());
});

test("storageConformance() closes every storage, even after a failed test", async () => {
  let created = 0, closed = 0;
  const create = (): Storage => {
    created++;
    return { ...memoryStorage(), get: () => Promise.reject(new Error("down")), close: count };
  };
  const count = (): Promise<void> => {
    closed++;
    return Promise.resolve();
  };
  const failed = await failedRequirements(register({ create }));
  assert.ok(failed.size > 10);
  assert.equal(closed, created + 2, "requirement 7.2 closes it twice more");
});

test("storageConformance() calls `dispose`, if there is one, instead of close()", async () => {
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
  await failedRequirements(tests);
  assert.equal(created.length, tests.length);
  assert.deepEqual(disposed, created);
});

test("storageConformance() reports the requirement, what it saw and what it wanted, with the cause", async () => {
  const broken = register({ create: (clock) => ({ ...memoryStorage({ clock }), get: () => Promise.resolve(null) }) });
  await assert.rejects(broken.find(({ name }) => name.startsWith("3.2 "))!.fn(), (error: Error) => {
    assert.equal(error.message, `3.2 ${STORAGE_REQUIREMENTS["3.2"]}: the value: saw undefined, wanted 1`);
    assert.ok(error.cause instanceof Error);
    return true;
  });
});

describe("storageConformance() detects a storage that", () => {
  for (const { does, make, caught } of [...BROKEN, ...BROKEN_WRITES]) {
    it(does, async () => {
      const create = (clock: () => number): Storage => {
        const storage = memoryStorage({ clock });
        return { ...storage, ...make(storage, clock) };
      };
      const found = await failedRequirements(register({ create }));
      assert.deepEqual(caught.filter((number) => !found.has(number)), [], `found ${[...found.keys()]}`);
    });
  }
});

describe("storageConformance() detects a storage that, when its backend fails,", () => {
  for (const { does, make, caught } of [...BROKEN_UNDER_FAULTS, ...BROKEN_WRITES_UNDER_FAULTS]) {
    it(does, async () => {
      const found = await failedRequirements(register(replaced(make)).filter(({ name }) => /^(9|10)\./.test(name)));
      assert.deepEqual(caught.filter((number) => !found.has(number)), [], `found ${[...found.keys()]}`);
    });
  }
});

test("STORAGE_REQUIREMENTS has no requirement that every broken storage passes", () => {
  const broken = [
    ...BROKEN,
    ...BROKEN_WRITES,
    ...BROKEN_UNDER_FAULTS,
    ...BROKEN_WRITES_UNDER_FAULTS,
    ...Object.values(BROKEN_WORKERS),
  ];
  const caught = new Set(broken.flatMap(({ caught }) => caught));
  assert.deepEqual(Object.keys(STORAGE_REQUIREMENTS).filter((number) => !caught.has(number)), []);
});
