import assert from "node:assert/strict";
import { createBudget, requestsFor } from "../../../src/verify/budget.ts";
import { describe, it, test } from "../../support/test.ts";

test("requestsFor() counts one request to the host that is named, or one to each host", () => {
  const hosts = ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"];
  assert.equal(requestsFor("https://oauth.bitrix.info/rest/", hosts), 1);
  for (const other of [undefined, "", "none", "https://evil.example.org/rest/"]) {
    assert.equal(requestsFor(other, hosts), 2, String(other));
  }
});

describe("createBudget()", () => {
  it("allows perPortal questions a minute about one portal", () => {
    let now = 0;
    const { take, renewedAt } = createBudget({ perMinute: 600, perPortal: 6 }, () => now);
    const taken = Array.from({ length: 8 }, () => take("a", true));
    assert.deepEqual(taken, [true, true, true, true, true, true, false, false]);
    assert.equal(take("b", true), true);
    assert.equal(renewedAt(), 60_000);
    now = 60_000;
    assert.equal(take("a", true), true);
  });

  it("reserves half of its questions for known portals", () => {
    const { take } = createBudget({ perMinute: 600, perPortal: 6 }, () => 0);
    const count = (name: string, isKnown: boolean): number =>
      Array.from({ length: 1000 }, (_, i) => take(`${name}${i}`, isKnown)).filter(Boolean).length;
    assert.equal(count("unknown", false), 300);
    assert.equal(count("known", true), 300);
  });

  it("says whether a question may be asked without counting it", () => {
    const { allows, take } = createBudget({ perMinute: 4, perPortal: 1 }, () => 0);
    for (let i = 0; i < 10; i++) assert.equal(allows("a", false, 2), true);
    assert.equal(take("a", false, 2), true);
    assert.deepEqual([allows("a", true), allows("b", false), allows("b", true, 2)], [false, false, true]);
  });

  it("counts each request of a question that goes to several hosts", () => {
    const { take } = createBudget({ perMinute: 6, perPortal: 6 }, () => 0);
    assert.deepEqual([take("a", false, 2), take("b", false, 2), take("c", false)], [true, false, true]);
    assert.deepEqual([take("d", true, 2), take("e", true, 2), take("f", true)], [true, false, true]);
  });

  it("counts no question that is given back, in its own minute", () => {
    let now = 0;
    const { take, giveBack } = createBudget({ perMinute: 4, perPortal: 2 }, () => now);
    for (let i = 0; i < 10; i++) {
      assert.equal(take("a", false), true);
      giveBack("a", false);
    }
    assert.deepEqual([take("a", false), take("a", false), take("a", false)], [true, true, false]);
    now = 60_000;
    giveBack("a", false);
    assert.deepEqual([take("a", false), take("a", false), take("a", false)], [true, true, false]);
  });

  it("takes back all requests of a question", () => {
    const { take, giveBack } = createBudget({ perMinute: 4, perPortal: 6 }, () => 0);
    assert.equal(take("a", false, 2), true);
    giveBack("a", false, 2);
    assert.deepEqual([take("b", false, 2), take("c", false)], [true, false]);
  });

  it("lets 600 known portals whose token has changed ask in one minute", () => {
    const { take } = createBudget({ perMinute: 600, perPortal: 6 }, () => 0);
    assert.ok(Array.from({ length: 600 }, (_, i) => take(`${i}`, true)).every(Boolean));
  });

  it("reserves questions in the minute that is wanted, or in the next one with room, and counts them there", () => {
    let now = 0;
    const { take, reserve } = createBudget({ perMinute: 4, perPortal: 4 }, () => now);
    assert.deepEqual(Array.from({ length: 8 }, () => reserve(0)), [0, 0, 0, 0, 60_000, 60_000, 120_000, 120_000]);
    assert.equal(take("a", true), false);
    assert.deepEqual([reserve(90_000), reserve(300_500)], [180_000, 300_500]);
    now = 60_000;
    assert.deepEqual([take("a", true), take("b", true), take("c", true)], [true, true, false]);
    now = 10 * 60_000;
    assert.equal(reserve(0), 0, "a time that is over means now");
  });
});
