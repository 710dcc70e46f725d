import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { updateEntry } from "../../../src/storage/update.ts";
import { describe, test } from "../../support/test.ts";

const KEY = ["counter"] as const;

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

describe("modify()", () => {
  test("loses no change of 300 concurrent writers, and lets them wait instead of race", async () => {
    const { storage, calls } = counting(memoryStorage());
    await Promise.all(Array.from({ length: 300 }, () => updateEntry<number>(storage, KEY, increment)));
    assert.equal((await storage.get<number>(KEY))?.value, 300);
    assert.equal(calls.put, 300);
  });

  test("begins anew when a writer of another process came between", async () => {
    const storage = memoryStorage();
    const known = await storage.get<number>(KEY);
    await storage.put(KEY, 41);
    assert.equal((await updateEntry<number>(storage, KEY, increment, known))?.value, 42);
  });

  test("writes nothing when nothing changes", async () => {
    const { storage, calls } = counting(memoryStorage());
    await updateEntry<number>(storage, KEY, increment);
    assert.equal((await updateEntry<number>(storage, KEY, (entry) => entry!.value))?.value, 1);
    assert.equal((await updateEntry<number>(storage, KEY, () => undefined))?.value, 1);
    assert.equal(await updateEntry<number>(storage, ["nothing"], () => undefined), null);
    assert.equal(calls.put, 1);
  });

  test("does not read what the caller has read", async () => {
    const { storage, calls } = counting(memoryStorage());
    assert.equal((await updateEntry<number>(storage, KEY, increment, null))?.value, 1);
    assert.equal(calls.get, 0);
  });

  test("gives up on a storage that refuses every write, and lets the next one in", async () => {
    const storage = memoryStorage();
    const refusing: Storage = { ...storage, put: () => Promise.resolve({ ok: false }) };
    const waiting = updateEntry<number>(refusing, KEY, increment);
    await assert.rejects(updateEntry<number>(refusing, KEY, increment), {
      name: "StorageError",
      message: 'cannot write ["counter"]: memory refused 100 writes in a row',
    });
    await assert.rejects(waiting, { name: "StorageError" });
  });

  test("a change that throws comes out and lets the next writer in", async () => {
    const storage = memoryStorage();
    const failing = updateEntry<number>(storage, KEY, () => {
      throw new RangeError("no");
    });
    const next = updateEntry<number>(storage, KEY, increment);
    await assert.rejects(failing, RangeError);
    assert.equal((await next)?.value, 1);
  });
});
