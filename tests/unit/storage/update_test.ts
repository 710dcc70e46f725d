import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { updateEntry } from "../../../src/storage/update.ts";
import { describe, test } from "../../support/test.ts";

const KEY = ["counter"] as const;

/** Returns `storage` with the number of calls of its methods. */
function counting(storage: Storage): { readonly storage: Storage; readonly calls: Record<"get" | "put", number> } {
  const calls = { get: 0, put: 0 };
  return {
    calls,
    storage: {
      ...storage,
      get: (...args) => {
        calls.get++;
        return storage.get(...args);
      },
      put: (...args) => {
        calls.put++;
        return storage.put(...args);
      },
    },
  };
}

const increment = (entry: { readonly value: number } | null): number => (entry?.value ?? 0) + 1;

describe("updateEntry()", () => {
  test("applies the changes of 300 concurrent writers with 300 writes, because they queue", async () => {
    const { storage, calls } = counting(memoryStorage());
    await Promise.all(Array.from({ length: 300 }, () => updateEntry<number>(storage, KEY, increment)));
    assert.equal((await storage.get<number>(KEY))?.value, 300);
    assert.equal(calls.put, 300);
  });

  test("reads again and repeats if another process has written", async () => {
    const storage = memoryStorage();
    const known = await storage.get<number>(KEY);
    await storage.put(KEY, 41);
    assert.equal((await updateEntry<number>(storage, KEY, increment, known))?.value, 42);
  });

  test("writes nothing if the change returns undefined or the same value", async () => {
    const { storage, calls } = counting(memoryStorage());
    await updateEntry<number>(storage, KEY, increment);
    assert.equal((await updateEntry<number>(storage, KEY, (entry) => entry!.value))?.value, 1);
    assert.equal((await updateEntry<number>(storage, KEY, () => undefined))?.value, 1);
    assert.equal(await updateEntry<number>(storage, ["nothing"], () => undefined), null);
    assert.equal(calls.put, 1);
  });

  test("does not read if the caller passes the entry", async () => {
    const { storage, calls } = counting(memoryStorage());
    assert.equal((await updateEntry<number>(storage, KEY, increment, null))?.value, 1);
    assert.equal(calls.get, 0);
  });

  test("rejects if the storage refuses every write, and runs the next change", async () => {
    const storage = memoryStorage();
    const refusing: Storage = { ...storage, put: () => Promise.resolve({ ok: false }) };
    const waiting = updateEntry<number>(refusing, KEY, increment);
    await assert.rejects(updateEntry<number>(refusing, KEY, increment), {
      name: "StorageError",
      message: 'cannot write ["counter"]: memory refused 100 writes in a row',
    });
    await assert.rejects(waiting, { name: "StorageError" });
  });

  test("rejects with the error of a change that throws, and runs the next change", async () => {
    const storage = memoryStorage();
    const failing = updateEntry<number>(storage, KEY, () => {
      throw new RangeError("no");
    });
    const next = updateEntry<number>(storage, KEY, increment);
    await assert.rejects(failing, RangeError);
    assert.equal((await next)?.value, 1);
  });
});
