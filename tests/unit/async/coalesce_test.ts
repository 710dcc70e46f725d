import assert from "node:assert/strict";
import { coalesce } from "../../../src/async/coalesce.ts";
import { describe, test } from "../../support/test.ts";

describe("coalesce()", () => {
  test("runs work once for all callers that ask while it runs, and again after it", async () => {
    const running = new Map<string, Promise<number>>();
    let runs = 0;
    const run = async (): Promise<number> => {
      await Promise.resolve();
      return ++runs;
    };
    const ask = (key: string): Promise<number> => coalesce(running, key, run);
    assert.deepEqual(await Promise.all([ask("a"), ask("a"), ask("a")]), [1, 1, 1]);
    assert.equal(running.size, 0);
    assert.equal(await ask("a"), 2);
  });

  test("rejects for all callers, and forgets work that failed", async () => {
    const running = new Map<string, Promise<string>>();
    const fail = (): Promise<string> => Promise.reject(new RangeError("no"));
    const both = [coalesce(running, "a", fail), coalesce(running, "a", fail)];
    for (const promise of both) await assert.rejects(promise, RangeError);
    assert.equal(await coalesce(running, "a", () => Promise.resolve("ran")), "ran");
  });
});
