import assert from "node:assert/strict";
import { createThrottle } from "../../../src/async/throttle.ts";
import { describe, it } from "../../support/test.ts";

describe("createThrottle()", () => {
  it("holds a key until its time", () => {
    let now = 0;
    const { isHeld, hold } = createThrottle(() => now);
    assert.equal(isHeld("a"), false);
    hold("a", 10);
    assert.deepEqual([isHeld("a"), isHeld("b")], [true, false]);
    now = 10;
    assert.equal(isHeld("a"), false);
  });

  it("forgets the key that was held first, not all of them", () => {
    const { isHeld, hold } = createThrottle(() => 0, 3);
    for (const key of ["a", "b", "c", "a", "d"]) hold(key, 1);
    assert.deepEqual(["a", "b", "c", "d"].map(isHeld), [true, false, true, true]);
  });
});
