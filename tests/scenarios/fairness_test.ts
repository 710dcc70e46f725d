import assert from "node:assert/strict";
import { crowd, numberOf } from "../support/crowd.ts";
import { describe, it } from "../support/test.ts";

const TURN_MS = 30_000;

describe("a turn", () => {
  it("is all that 1,000 portals with long pages delay a fresh update of another", async () => {
    const made = crowd();
    const portals = 1000;
    const begun = new Set<string>();
    const finished: number[] = [];
    made.app.upgrade("3", async ({ memberId, pages }) => {
      if (numberOf(memberId) < portals) {
        begun.add(memberId);
        await pages("all", 1, async (page: number) => {
          await made.takes(TURN_MS);
          return { next: page < 100 ? page + 1 : null, done: 1 };
        });
      }
      finished.push(numberOf(memberId));
    });
    await made.install(portals + 3);
    await made.update(0, portals);
    while (begun.size < portals) await made.time.elapse(TURN_MS);
    for (let number = portals; number < portals + 3; number++) {
      await made.update(number, number + 1);
      await made.time.elapse(TURN_MS);
      assert.deepEqual(finished, [number]);
      finished.length = 0;
    }
    await made.close();
  });
});
