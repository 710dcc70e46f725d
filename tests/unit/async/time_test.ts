import assert from "node:assert/strict";
import { delay, systemTime } from "../../../src/async/time.ts";
import { describe, test } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

describe("delay()", () => {
  test("resolves after the time", async () => {
    const time = virtualTime();
    let done = false;
    const waiting = delay(time, 5).then(() => done = true);
    await time.elapse(4);
    assert(!done);
    await time.elapse(1);
    await waiting;
  });

  test("rejects with the reason of its signal, before and while it waits", async () => {
    const controller = new AbortController();
    const waiting = delay(virtualTime(), 5, controller.signal);
    controller.abort(new TypeError("stop"));
    await assert.rejects(waiting, TypeError);
    await assert.rejects(delay(virtualTime(), 5, controller.signal), TypeError);
  });
});

describe("systemTime", () => {
  test("fires a timer once, unless it is cancelled", async () => {
    systemTime.setTimer(() => assert.fail("was cancelled"), 0)();
    await new Promise<void>((resolve) => void systemTime.setTimer(resolve, 1));
    assert(systemTime.monotonic() <= systemTime.monotonic());
    assert(Math.abs(systemTime.now() - Date.now()) < 1000);
  });
});
