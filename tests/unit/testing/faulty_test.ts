import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
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
      message: "cannot use 0.5 as a seed, wanted an integer",
    });
  });
});
