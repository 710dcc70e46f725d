import assert from "node:assert/strict";
import { createPermits, type Permits } from "../../../src/rollout/permits.ts";
import { describe, it } from "../../support/test.ts";
import { type VirtualTime, virtualTime } from "../../support/time.ts";

const LEASE_MS = 30_000;
const PORTAL = ["a", "to 2"] as const;

function setUp(): { readonly time: VirtualTime; readonly permits: Permits } {
  const time = virtualTime();
  const permits = createPermits({ clock: time.now, time, random: () => "0123456789abcdef", leaseMs: LEASE_MS });
  return { time, permits };
}

describe("the slots of a process", () => {
  it("admit a portal once, for one lease", () => {
    const { permits } = setUp();
    assert.equal(permits.admit(...PORTAL, 1), false, "without a slot");
    assert.equal(permits.add(...PORTAL, "2.0.0"), true);
    assert.equal(permits.isAdmitted(...PORTAL, 1), false, "before it is admitted");
    assert.equal(permits.admit(...PORTAL, 1), true);
    assert.equal(permits.admit(...PORTAL, 1), false, "a second time");
    assert.deepEqual([1, 2].map((fencingToken) => permits.isAdmitted(...PORTAL, fencingToken)), [true, false]);
    assert.equal(permits.isAdmitted("b", "to 2", 1), false);
    assert.equal(permits.isAdmitted("a", "to 3", 1), false);
  });

  it("admit no portal once another process may soon free its slot", async () => {
    const { time, permits } = setUp();
    const { until, owner } = permits.newSlot("2.0.0");
    assert.deepEqual([until - time.now(), owner], [LEASE_MS, "01234567"]);
    permits.add(...PORTAL, "2.0.0");
    await time.elapse(LEASE_MS * 2 / 3 - 1);
    assert.equal(permits.add(...PORTAL, "2.0.0"), false, "it has one");
    assert.equal(permits.size(), 1);
    await time.elapse(1);
    assert.equal(permits.admit(...PORTAL, 1), false);
    assert.equal(permits.add(...PORTAL, "2.0.0"), true, "a fresh one");
    assert.equal(permits.admit(...PORTAL, 1), true);
  });

  it("count portals until their work ends, and not those that another process has", async () => {
    const { time, permits } = setUp();
    permits.add(...PORTAL, "2.0.0");
    permits.add("b", "to 2", "2.0.0");
    permits.admit(...PORTAL, 1);
    await time.elapse(LEASE_MS);
    assert.equal(permits.size(), 1);
    assert.deepEqual(["a", "b"].map(permits.has), [true, false]);
    assert.deepEqual(permits.remove("a"), [{ upgradeId: "to 2", to: "2.0.0" }]);
    assert.deepEqual([permits.remove("a"), permits.size()], [[], 0]);
  });
});
