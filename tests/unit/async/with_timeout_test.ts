import assert from "node:assert/strict";
import { createTimeLimit, settlesWithin, withTimeout } from "../../../src/async/with_timeout.ts";
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

describe("createTimeLimit()", () => {
  const outer = new AbortController().signal;

  test("counts the time from the last restart", async () => {
    const time = virtualTime();
    const { signal, restart, run } = createTimeLimit(time, outer, { timeoutMs: 10 });
    restart();
    const rejected = assert.rejects(run(() => never), { name: "TimeoutError" });
    await time.elapse(9);
    restart();
    await time.elapse(9);
    assert.equal(signal.aborted, false);
    await time.elapse(1);
    assert.equal(signal.aborted, true);
    await rejected;
  });

  /** Runs work that ends `afterMs` after it was aborted. Returns when the limit rejects, in milliseconds. */
  async function rejectedAfter(afterMs: number, graceMs: number, outer: AbortSignal): Promise<number> {
    const time = virtualTime();
    const limit = createTimeLimit(time, outer, { timeoutMs: 10, graceMs });
    const work = limit.run(() =>
      new Promise((resolve) => limit.signal.addEventListener("abort", () => time.setTimer(() => resolve(1), afterMs)))
    );
    let at: number | undefined;
    work.catch(() => at = time.monotonic());
    await time.elapse(1000);
    await assert.rejects(work, { name: "TimeoutError" });
    return at!;
  }

  test("waits for work whose time is over, and not longer than graceMs", async () => {
    assert.equal(await rejectedAfter(5, 30, outer), 15);
    assert.equal(await rejectedAfter(500, 30, outer), 40);
    assert.equal(await rejectedAfter(5, 0, outer), 10);
  });

  test("waits for work inside of work whose time is over", async () => {
    const time = virtualTime();
    const whole = createTimeLimit(time, outer, { timeoutMs: 10, graceMs: 30 });
    let endedAt: number | undefined;
    const part = (): Promise<void> =>
      withTimeout(time, whole.signal, { timeoutMs: undefined, graceMs: 30, cutOff: outer }, () => never)
        .finally(() => endedAt = time.monotonic());
    const rejected = assert.rejects(whole.run(part), { name: "TimeoutError" });
    await time.elapse(1000);
    await rejected;
    assert.equal(endedAt, 40);
  });

  test("does not wait for work that the outer signal ends", async () => {
    const time = virtualTime();
    const controller = new AbortController();
    const limit = createTimeLimit(time, controller.signal, { timeoutMs: 10, graceMs: 30 });
    let at: number | undefined;
    const rejected = assert.rejects(limit.run(() => never).finally(() => at = time.monotonic()));
    await time.elapse(15);
    assert.equal(at, undefined);
    controller.abort(new TypeError("stop"));
    await time.elapse(0);
    assert.equal(at, 15);
    await rejected;
  });

  test("ends the work early", async () => {
    const limit = createTimeLimit(virtualTime(), outer, { timeoutMs: 10 });
    const rejected = assert.rejects(limit.run(() => never), { message: "enough" });
    limit.abort(new Error("enough"));
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
