import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { writeInOrder } from "@b24/onappupdate/storage";
import { type Faults, faultyStorage } from "@b24/onappupdate/testing";
import { describe, it } from "../../support/test.ts";

const KEY = ["portal", "a223"] as const;

/** Returns which of 100 reads fail. */
async function failuresOf(faults: Faults, seed: number): Promise<string> {
  const storage = faultyStorage(memoryStorage(), faults, seed);
  let failures = "";
  for (let i = 0; i < 100; i++) failures += await storage.get(KEY).then(() => ".", () => "x");
  return failures;
}

describe("faultyStorage()", () => {
  it("fails in the same calls for the same seed, and in others for another", async () => {
    const failures = await failuresOf({ unavailable: 0.3 }, 1);
    assert.match(failures, /x/);
    assert.match(failures, /\./);
    assert.equal(await failuresOf({ unavailable: 0.3 }, 1), failures);
    assert.notEqual(await failuresOf({ unavailable: 0.3 }, 2), failures);
  });

  it("fails in the same calls if another fault is enabled", async () => {
    assert.equal(
      await failuresOf({ unavailable: 0.3, full: 1, lostReply: 1 }, 1),
      await failuresOf({ unavailable: 0.3 }, 1),
    );
  });

  it("passes calls through without faults", async () => {
    const storage = faultyStorage(memoryStorage(), {}, 1);
    assert.equal((await storage.put(KEY, 1)).ok, true);
    assert.equal((await storage.get(KEY))?.value, 1);
  });

  it("does nothing while it is unavailable", async () => {
    const faults: Faults = { unavailable: 1 };
    const storage = faultyStorage(memoryStorage(), faults, 1);
    await assert.rejects(storage.put(KEY, 1), {
      name: "StorageError",
      message: "cannot put into memory: it is not available (injected)",
    });
    faults.unavailable = 0;
    assert.equal(await storage.get(KEY), null);
  });

  it("does a write whose reply it loses", async () => {
    const faults: Faults = { loseReplies: 1 };
    const storage = faultyStorage(memoryStorage(), faults, 1);
    await assert.rejects(storage.put(KEY, 1), { message: "cannot put into memory: the reply was lost (injected)" });
    assert.equal((await storage.get(KEY))?.value, 1);
    assert.equal(faults.loseReplies, 0);
    faults.lostReply = 1;
    await assert.rejects(storage.delete(KEY), StorageError);
    assert.equal(await storage.get(KEY), null);
  });

  it("refuses only put() while it is full", async () => {
    const storage = faultyStorage(memoryStorage(), { full: 1 }, 1);
    await assert.rejects(storage.put(KEY, 1), { message: "cannot put into memory: it is full (injected)" });
    assert.deepEqual(await storage.delete(KEY), { ok: true });
  });

  it("rejects with the reason of a signal that is aborted during a delay", async () => {
    const storage = faultyStorage(memoryStorage(), { delayMs: 60_000 }, 1);
    const controller = new AbortController();
    const reason = new Error("given up");
    const rejected = assert.rejects(storage.get(KEY, { signal: controller.signal }), (error) => error === reason);
    controller.abort(reason);
    await rejected;
  });

  it("rejects a seed that is not an integer", () => {
    assert.throws(() => faultyStorage(memoryStorage(), {}, 0.5), {
      name: "TypeError",
      message: "cannot inject faults with seed 0.5, wanted an integer",
    });
  });

  it("interrupts an ordered write after some of its operations, from none to all", async () => {
    const faults: Faults = { interrupted: 1 };
    const memory = memoryStorage();
    const storage = faultyStorage(memory, faults, 1);
    const operations = Array.from({ length: 3 }, (_, i) => ({ put: [String(i)] as const, value: 1 }));
    const seen = new Set<string>();
    for (let i = 0; i < 100; i++) {
      await assert.rejects(storage.write!(operations), {
        message: "cannot write to memory: it was interrupted (injected)",
      });
      seen.add((await Array.fromAsync(memory.list([]))).map(({ key }) => key[0]).join(""));
      await memory.write!(operations.map(({ put }) => ({ delete: put })));
    }
    assert.deepEqual([...seen].sort(), ["", "0", "01", "012"]);
    faults.interrupted = 0;
    assert.equal((await storage.write!(operations)).ok, true);
  });

  it("injects the faults of writes into ordered writes", async () => {
    const faults: Faults = { full: 1 };
    const memory = memoryStorage();
    const storage = faultyStorage(memory, faults, 1);
    await assert.rejects(storage.write!([{ put: KEY, value: 1 }]), { message: /it is full \(injected\)$/ });
    assert.equal((await storage.write!([{ delete: KEY }])).ok, true);
    Object.assign(faults, { full: 0, unavailable: 1 });
    await assert.rejects(storage.write!([{ put: KEY, value: 1 }]), { message: /it is not available \(injected\)$/ });
    assert.equal(await memory.get(KEY), null);
    Object.assign(faults, { unavailable: 0, loseReplies: 1 });
    await assert.rejects(storage.write!([{ put: KEY, value: 1 }]), { message: /the reply was lost \(injected\)$/ });
    assert.equal((await memory.get(KEY))?.value, 1);
  });

  it("has no ordered writes if the storage has none, and injects faults into the puts and deletions instead", async () => {
    const { write: _, ...plain } = memoryStorage();
    const faults: Faults = { loseReplies: 1 };
    const storage = faultyStorage(plain, faults, 1);
    assert.equal(storage.write, undefined);
    await assert.rejects(writeInOrder(storage, [{ put: ["a"], value: 1 }, { put: ["b"], value: 1 }]), StorageError);
    assert.deepEqual((await Array.fromAsync(plain.list([]))).map(({ key }) => key), [["a"]]);
  });
});
