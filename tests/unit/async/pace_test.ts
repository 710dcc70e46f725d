import assert from "node:assert/strict";
import { createPace } from "../../../src/async/pace.ts";
import { virtualTime } from "../../support/time.ts";
import { describe, test } from "../../support/test.ts";

describe("createPace()", () => {
  test("spreads units over the minute, in the order of the calls, and saves nothing up", async () => {
    const time = virtualTime();
    const pace = createPace(time, 60);
    const turns: (readonly [string, number])[] = [];
    const take = (name: string, units: number): void =>
      void pace(units).then(() => turns.push([name, time.monotonic()]));
    take("a", 1);
    take("b", 2);
    take("c", 1);
    await time.elapse(10_000);
    take("d", 1);
    take("e", 1);
    await time.elapse(10_000);
    assert.deepEqual(turns, [["a", 0], ["b", 1000], ["c", 3000], ["d", 10_000], ["e", 11_000]]);
  });

  test("ends a wait when its signal is aborted", async () => {
    const time = virtualTime();
    const pace = createPace(time, 1);
    const controller = new AbortController();
    await pace(1);
    const waiting = assert.rejects(pace(1, controller.signal), { message: "stop" });
    controller.abort(new Error("stop"));
    await waiting;
    await assert.rejects(createPace(time, 1)(1, controller.signal), { message: "stop" });
  });
});
