import assert from "node:assert/strict";
import { abortable, linkedSignal } from "../../../src/async/abortable.ts";
import { describe, test } from "../../support/test.ts";

const never = new Promise<never>(() => {});

describe("abortable()", () => {
  test("settles as the work does", async () => {
    const { signal } = new AbortController();
    for (const given of [signal, null, undefined]) {
      assert.equal(await abortable(Promise.resolve(1), given), 1);
      await assert.rejects(abortable(Promise.reject(new RangeError("no")), given), RangeError);
    }
  });

  test("rejects with the reason of the signal as soon as it is aborted", async () => {
    const controller = new AbortController();
    const waiting = abortable(never, controller.signal);
    controller.abort(new TypeError("stop"));
    await assert.rejects(waiting, { name: "TypeError", message: "stop" });
    await assert.rejects(abortable(never, controller.signal), { name: "TypeError", message: "stop" });
  });

  test("leaves no unhandled rejection when the work rejects after the abort", async () => {
    const controller = new AbortController();
    const work = Promise.withResolvers<void>();
    const waiting = abortable(work.promise, controller.signal);
    controller.abort(new TypeError("stop"));
    await assert.rejects(waiting, TypeError);
    work.reject(new RangeError("late"));
    await assert.rejects(abortable(Promise.reject(new RangeError("late")), controller.signal), TypeError);
    await new Promise((resolve) => setTimeout(resolve));
  });
});

describe("linkedSignal()", () => {
  test("is aborted with the outer signal, until it is unlinked", () => {
    const outer = new AbortController();
    const [linked, unlinked] = [linkedSignal(outer.signal), linkedSignal(outer.signal)];
    unlinked.unlink();
    outer.abort(new TypeError("stop"));
    assert.equal((linked.signal.reason as Error).message, "stop");
    assert.equal(unlinked.signal.aborted, false);
    assert.equal(linkedSignal(outer.signal).signal.reason, outer.signal.reason);
  });
});
