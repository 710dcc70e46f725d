import { assertFreshIsNotDelayed, crowd } from "../support/crowd.ts";
import { describe, it } from "../support/test.ts";

const TURN_MS = 30_000;

describe("a turn", () => {
  it("is all that 1,000 portals with long pages delay a fresh update of another", () =>
    assertFreshIsNotDelayed(crowd(), 1000, TURN_MS));
});
