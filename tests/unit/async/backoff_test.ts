import assert from "node:assert/strict";
import { type Backoff, createBackoff } from "../../../src/async/backoff.ts";
import { type VirtualTime, virtualTime } from "../../support/time.ts";
import { describe, test } from "../../support/test.ts";

const DELAYS = { initialMs: 1000, maxMs: 4000 };

function rig(): { readonly time: VirtualTime; readonly backoff: Backoff; readonly controller: AbortController } {
  const time = virtualTime();
  const controller = new AbortController();
  const isFailure = (error: unknown): boolean => error instanceof RangeError;
  return {
    time,
    controller,
    backoff: createBackoff(time, { ...DELAYS, isFailure, signal: controller.signal }),
  };
}

const fail = (): Promise<never> => Promise.reject(new RangeError("down"));

describe("createBackoff()", () => {
  test("runs calls together until one fails, then one at a time after growing delays", async () => {
    const { time, backoff } = rig();
    const startedAt: number[] = [];
    const calls = Array.from({ length: 6 }, () =>
      backoff(() => {
        startedAt.push(time.monotonic());
        return fail();
      }));
    const settled = Promise.allSettled(calls);
    await time.elapse(0);
    assert.deepEqual(startedAt, [0, 0, 0, 0, 0, 0]);
    await settled;
    const later = Array.from({ length: 4 }, () =>
      backoff(() => {
        startedAt.push(time.monotonic());
        return fail();
      }));
    const over = Promise.allSettled(later);
    await time.elapse(20_000);
    await over;
    assert.deepEqual(startedAt.slice(6), [1000, 3000, 7000, 11_000], "1, 2, 4 and 4 seconds");
  });

  test("ends the delay at the first success, and at an error that is an answer", async () => {
    for (const answer of [() => Promise.resolve(), () => Promise.reject(new TypeError("refused"))]) {
      const { time, backoff } = rig();
      await backoff(fail).catch(() => {});
      const first = backoff(answer).catch(() => {});
      await time.elapse(999);
      let isDone = false;
      void first.then(() => void (isDone = true));
      assert.equal(isDone, false);
      await time.elapse(1);
      await first;
      const at = time.monotonic();
      await backoff(() => Promise.resolve());
      assert.equal(time.monotonic(), at);
    }
  });

  test("ends a wait when its signal is aborted, and calls nothing", async () => {
    const { backoff, controller } = rig();
    await backoff(fail).catch(() => {});
    const waiting = assert.rejects(backoff(() => assert.fail("called")), { message: "stop" });
    controller.abort(new Error("stop"));
    await waiting;
  });
});
