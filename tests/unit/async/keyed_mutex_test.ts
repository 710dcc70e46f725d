import assert from "node:assert/strict";
import { createKeyedMutex } from "../../../src/async/keyed_mutex.ts";
import { describe, test } from "../../support/test.ts";

describe("createKeyedMutex()", () => {
  test("runs work of one key in order, one at a time", async () => {
    const mutex = createKeyedMutex();
    const log: string[] = [];
    await Promise.all(["a", "b", "c"].map((name) =>
      mutex("key", async () => {
        log.push(`${name} starts`);
        await Promise.resolve();
        log.push(`${name} ends`);
      })
    ));
    assert.deepEqual(log, ["a starts", "a ends", "b starts", "b ends", "c starts", "c ends"]);
  });

  test("does not let keys wait for each other", async () => {
    const mutex = createKeyedMutex();
    const blocked = Promise.withResolvers<void>();
    const first = mutex("a", () => blocked.promise);
    assert.equal(await mutex("b", () => Promise.resolve(1)), 1);
    blocked.resolve();
    await first;
  });

  test("continues after work that rejects or throws", async () => {
    const mutex = createKeyedMutex();
    const rejects = mutex("key", () => Promise.reject(new RangeError("no")));
    const throws = mutex("key", () => {
      throw new TypeError("no");
    });
    const next = mutex("key", () => Promise.resolve("ran"));
    await assert.rejects(rejects, RangeError);
    await assert.rejects(throws, TypeError);
    assert.equal(await next, "ran");
  });
});
