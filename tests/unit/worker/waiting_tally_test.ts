import assert from "node:assert/strict";
import type { WaitingDelivery } from "../../../src/portal/delivery.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { createWaitingTally } from "../../../src/worker/waiting_tally.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const own: WaitingDelivery = {
  id: `ONCRMDEALADD:${"0123456789abcdef".repeat(4)}:1785300000`,
  delivery: { body: { kind: "form", text: "0123456789" }, receivedAt: 1, verification: {}, attempts: 0 },
  version: "1",
};
const { version: _, ...small } = own;

/** A record that a crash has left with a count that is too high. */
const RECORD: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "", status: "installed", generation: 1, applied: [] },
  ...{ installedTs: 0, latestTs: 0, overflow: { events: 900, size: 9000, lifeCycle: {} } },
};

describe("createWaitingTally()", () => {
  it("keeps the count after a pass over the record alone", () => {
    const tally = createWaitingTally();
    tally.begin(false);
    tally.add(small);
    assert.equal(tally.apply(RECORD), RECORD);
  });

  it("replaces the count by the deliveries with keys of their own that are left, after a pass over all", () => {
    const tally = createWaitingTally();
    tally.begin(true);
    for (const waiting of [own, small]) tally.add(waiting);
    assert.deepEqual(tally.apply(RECORD).overflow, { events: 1, size: 10, lifeCycle: {} });
    tally.begin(true);
    assert.equal("overflow" in tally.apply(RECORD), false);
  });
});
