import assert from "node:assert/strict";
import { createDeadline } from "../../../src/async/deadline.ts";
import { describe, test } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

describe("createDeadline()", () => {
  test("expires what is pending, in order, and nothing that was cancelled", async () => {
    const time = virtualTime();
    const deadline = createDeadline(time, 5);
    const expired: number[] = [];
    deadline(() => expired.push(1));
    const cancel = deadline(() => expired.push(2));
    deadline(() => expired.push(3));
    cancel();
    cancel();
    await time.elapse(5);
    assert.deepEqual(expired, [1, 3]);
  });

  test("counts from the call, also while a timer runs for earlier calls", async () => {
    const time = virtualTime();
    const deadline = createDeadline(time, 10);
    const expired: number[] = [];
    deadline(() => expired.push(1));
    await time.elapse(4);
    deadline(() => expired.push(2));
    await time.elapse(6);
    assert.deepEqual(expired, [1]);
    await time.elapse(3);
    assert.deepEqual(expired, [1]);
    await time.elapse(1);
    assert.deepEqual(expired, [1, 2]);
  });

  test("shares one timer among all calls", () => {
    let timers = 0;
    const time = virtualTime();
    const counting = {
      ...time,
      setTimer: (...args: Parameters<typeof time.setTimer>) => {
        timers++;
        return time.setTimer(...args);
      },
    };
    const deadline = createDeadline(counting, 5);
    for (let i = 0; i < 100; i++) deadline(() => {})();
    assert.equal(timers, 1);
  });

  test("works again after it has expired", async () => {
    const time = virtualTime();
    const deadline = createDeadline(time, 5);
    for (let round = 0; round < 3; round++) {
      let expired = false;
      deadline(() => assert.fail("this one was cancelled"))();
      deadline(() => expired = true);
      await time.elapse(5);
      assert(expired);
    }
  });
});
