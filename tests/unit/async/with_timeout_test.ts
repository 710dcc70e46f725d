import assert from "node:assert/strict";
import { settlesWithin, withTimeout } from "../../../src/async/with_timeout.ts";
import { describe, test } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

const never = new Promise<never>(() => {});

describe("withTimeout()", () => {
  test("settles as the work does", async () => {
    const { signal } = new AbortController();
    assert.equal(await withTimeout(virtualTime(), signal, 5, () => 1), 1);
    assert.equal(await withTimeout(virtualTime(), signal, undefined, () => Promise.resolve(2)), 2);
    const failing = (): never => {
      throw new RangeError("no");
    };
    await assert.rejects(withTimeout(virtualTime(), signal, 5, failing), RangeError);
  });

  test("aborts the signal of the work after the time, and does not wait for the work", async () => {
    const time = virtualTime();
    let inner: AbortSignal | undefined;
    const work = withTimeout(time, new AbortController().signal, 5, (signal) => {
      inner = signal;
      return never;
    });
    const rejected = assert.rejects(work, { name: "TimeoutError", message: "it took longer than 5 ms" });
    await time.elapse(4);
    assert.equal(inner!.aborted, false);
    await time.elapse(1);
    assert.equal(inner!.aborted, true);
    await rejected;
  });

  test("rejects with the reason of the outer signal", async () => {
    const controller = new AbortController();
    const work = withTimeout(virtualTime(), controller.signal, undefined, () => never);
    controller.abort(new TypeError("stop"));
    await assert.rejects(work, { name: "TypeError", message: "stop" });
    const late = withTimeout(virtualTime(), controller.signal, 5, () => assert.fail("must not start"));
    await assert.rejects(late, { name: "TypeError", message: "stop" });
  });

  test("discards the result of work that returns because it was aborted", async () => {
    const time = virtualTime();
    const work = withTimeout(
      time,
      new AbortController().signal,
      5,
      (signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve("half"))),
    );
    const rejected = assert.rejects(work, { name: "TimeoutError" });
    await time.elapse(5);
    await rejected;
  });
});

describe("settlesWithin()", () => {
  test("returns whether the work settled in time", async () => {
    const time = virtualTime();
    assert.equal(await settlesWithin(time, Promise.resolve(), 5), true);
    const waiting = settlesWithin(time, never, 5);
    await time.elapse(5);
    assert.equal(await waiting, false);
  });

  test("rejects as the work does", async () => {
    await assert.rejects(settlesWithin(virtualTime(), Promise.reject(new RangeError("no")), 5), RangeError);
  });
});
