import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import {
  encodeKey,
  encodeOperations,
  type Key,
  writeInOrder,
  type WriteOperation,
  type WriteResult,
} from "@b24/onappupdate/storage";
import { describe, it } from "../../support/test.ts";

const KEY: Key = ["portal", "a223"];

/** Returns a storage without `write`, and the calls that it receives. */
function plain(): { readonly storage: Storage; readonly calls: string[] } {
  const calls: string[] = [];
  const { write: _, ...memory } = memoryStorage();
  const storage: Storage = {
    ...memory,
    put: (key, value, options) => {
      calls.push(`put ${key.join("/")} ${JSON.stringify(options)}`);
      return memory.put(key, value, options);
    },
    delete: (key, options) => {
      calls.push(`delete ${key.join("/")} ${JSON.stringify(options)}`);
      return memory.delete(key, options);
    },
  };
  return { storage, calls };
}

async function keysOf(storage: Storage): Promise<string[]> {
  return (await Array.fromAsync(storage.list([]))).map(({ key }) => key.join("/"));
}

describe("writeInOrder()", () => {
  it("calls `write` once if the storage has it, with the operations and the signal", async () => {
    const calls: unknown[] = [];
    const result: WriteResult = { ok: true, versions: ["1"] };
    const storage: Storage = {
      ...memoryStorage(),
      write: (...args) => {
        calls.push(args);
        return Promise.resolve(result);
      },
    };
    const { signal } = new AbortController();
    const operations: WriteOperation[] = [{ put: KEY, value: 1 }];
    assert.equal(await writeInOrder(storage, operations, { signal }), result);
    assert.deepEqual(calls, [[operations, { signal }]]);
  });

  it("calls `put` and `delete` one by one otherwise, with their options", async () => {
    const { storage, calls } = plain();
    const { version } = await storage.put(KEY, 1) as { readonly version: string };
    calls.length = 0;
    const result = await writeInOrder(storage, [
      { put: ["a"], value: 1, ttlMs: 60_000 },
      { put: ["b"], value: 1, ifVersion: null },
      { delete: KEY, ifVersion: version },
      { delete: ["c"] },
    ]);
    const versions = [(await storage.get(["a"]))?.version, (await storage.get(["b"]))?.version, undefined, undefined];
    assert.deepEqual(result, { ok: true, versions });
    assert.deepEqual(calls, [
      'put a {"ttlMs":60000}',
      'put b {"ifVersion":null}',
      `delete portal/a223 {"ifVersion":"${version}"}`,
      "delete c {}",
    ]);
  });

  it("stops `put` and `delete` at the first refusal", async () => {
    const { storage, calls } = plain();
    const operations: WriteOperation[] = [
      { put: ["a"], value: 1 },
      { put: ["b"], value: 1, ifVersion: "none" },
      { put: ["c"], value: 1 },
    ];
    assert.deepEqual(await writeInOrder(storage, operations), { ok: false, failedAt: 1 });
    assert.equal(calls.length, 2);
    assert.deepEqual(await keysOf(storage), ["a"]);
  });

  it("stops `put` and `delete` at the first rejection, and rejects with it", async () => {
    const { storage } = plain();
    const failure = new StorageError("cannot put: the reply was lost");
    const failing: Storage = {
      ...storage,
      put: (key, value, options) => key[0] === "b" ? Promise.reject(failure) : storage.put(key, value, options),
    };
    const operations = ["a", "b", "c"].map((part): WriteOperation => ({ put: [part], value: 1 }));
    await assert.rejects(writeInOrder(failing, operations), (error) => error === failure);
    assert.deepEqual(await keysOf(storage), ["a"]);
  });

  it("stops between `put` and `delete` when its signal is aborted", async () => {
    const { storage } = plain();
    const controller = new AbortController();
    const reason = new Error("given up");
    const aborting: Storage = {
      ...storage,
      put: async (key, value) => {
        const result = await storage.put(key, value);
        controller.abort(reason);
        return result;
      },
    };
    const operations = ["a", "b"].map((part): WriteOperation => ({ put: [part], value: 1 }));
    const written = writeInOrder(aborting, operations, { signal: controller.signal });
    await assert.rejects(written, (error) => error === reason);
    assert.deepEqual(await keysOf(storage), ["a"]);
  });

  it("calls nothing if a value is too large for the storage", async () => {
    const { storage, calls } = plain();
    const small: Storage = { ...storage, capabilities: { ...storage.capabilities, maxValueBytes: 10 } };
    for (const value of ["x".repeat(9), "я".repeat(5)]) {
      await assert.rejects(writeInOrder(small, [{ put: ["a"], value: 1 }, { put: KEY, value }]), {
        name: "StorageError",
        message: /^cannot put \["portal","a223"\] into memory: the value has 1[12] bytes, wanted at most 10$/,
      });
    }
    assert.deepEqual(calls, []);
    for (const value of ["x".repeat(8), "я".repeat(4)]) {
      assert.equal((await writeInOrder(small, [{ put: KEY, value }])).ok, true);
    }
  });
});

describe("encodeOperations()", () => {
  const mistakes: readonly (readonly [operation: unknown, message: string])[] = [
    [{ put: KEY, value: 1, ifVersoin: "1" }, "the option ifVersoin that does not exist, wanted ifVersion"],
    [{ put: KEY, value: 1, ttl: 5 }, "the option ttl that does not exist, wanted ttlMs"],
    [{ put: KEY, value: 1, ifVersion: 1 }, "ifVersion 1, wanted a version or null"],
    // `null` would mean that there is no entry to delete.
    [{ delete: KEY, ifVersion: null }, "ifVersion null, wanted a version"],
    [{ delete: KEY, ifversion: "1" }, "the option ifversion that does not exist, wanted ifVersion"],
  ];
  for (const [operation, message] of mistakes) {
    it(`refuses ${message}`, async () => {
      const expected = { name: "TypeError", message: `cannot write ["portal","a223"] with ${message}` };
      assert.throws(() => encodeOperations([operation as WriteOperation]), expected);
      const { storage, calls } = plain();
      await assert.rejects(writeInOrder(storage, [{ put: ["a"], value: 1 }, operation as WriteOperation]), expected);
      assert.deepEqual(calls, []);
    });
  }

  it("returns a copy of each operation, with its encoded key and JSON", () => {
    const put: [string, ...string[]] = ["a", "b"];
    const [first, second] = encodeOperations([{ put, value: { n: 1, u: undefined }, ifVersion: null, ttlMs: 5 }, {
      delete: KEY,
      ifVersion: "v",
    }]);
    put[1] = "changed";
    const key = ["a", "b"];
    assert.deepEqual(first, { key, encodedKey: encodeKey(key), json: '{"n":1}', ifVersion: null, ttlMs: 5 });
    assert.deepEqual(second, { key: [...KEY], encodedKey: encodeKey(KEY), ifVersion: "v", ttlMs: undefined });
  });

  it("rejects two operations with the same key, and names it", () => {
    assert.throws(() => encodeOperations([{ put: KEY, value: 1 }, { delete: [...KEY] }]), {
      name: "TypeError",
      message: 'cannot write ["portal","a223"] twice in one write',
    });
    encodeOperations([{ put: ["a", "b"], value: 1 }, { put: ["a/b"], value: 1 }, { delete: ["a"] }]);
  });
});
