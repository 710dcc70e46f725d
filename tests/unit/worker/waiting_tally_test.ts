import assert from "node:assert/strict";
import type { PortalLease } from "../../../src/portal/lease.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import type { Counted } from "../../../src/portal/waiting.ts";
import { createWaitingTally } from "../../../src/worker/waiting_tally.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const ordinary: Counted = {
  key: ["inbox", MEMBER_ID, `ONCRMDEALADD:${"0123456789abcdef".repeat(4)}:1785300000`],
  value: { body: { text: "0123456789" } },
};

/** Returns a lease of a portal with `events` waiting deliveries, and the record as it is stored. */
function leased(events: number): { readonly lease: PortalLease; readonly stored: () => PortalRecord } {
  let record: PortalRecord = {
    ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "", status: "installed", generation: 1, applied: [] },
    ...{ installedTs: 0, latestTs: 0, waiting: { events, size: 10 * events, lifeCycle: {} } },
  };
  const update: PortalLease["update"] = (change) => Promise.resolve(record = change(record));
  return { lease: { update } as PortalLease, stored: () => record };
}

describe("createWaitingTally()", () => {
  it("subtracts what is done from the count, after a pass over some deliveries", async () => {
    const { lease, stored } = leased(3);
    const tally = createWaitingTally(lease);
    tally.begin(false);
    await tally.add(ordinary, true);
    assert.deepEqual(tally.apply(stored()).waiting, { events: 2, size: 20, lifeCycle: {} });
    assert.equal(stored().waiting?.events, 3, "written with the release only");
  });

  it("replaces the count by what is left, after a pass over the whole inbox", async () => {
    // A crash has left the count too high.
    const { lease, stored } = leased(900);
    const tally = createWaitingTally(lease);
    tally.begin(true);
    await tally.add(ordinary, true);
    await tally.add(ordinary, false);
    assert.equal(tally.apply(stored()).waiting?.events, 1);
    tally.begin(true);
    await tally.add(ordinary, true);
    assert.equal("waiting" in tally.apply(stored()), false);
  });

  it("writes the count every 100 deliveries: the inbox of a busy portal may never be empty", async () => {
    const { lease, stored } = leased(950);
    const tally = createWaitingTally(lease);
    for (let pass = 0; pass < 25; pass++) {
      tally.begin(true);
      for (let i = 0; i < 10; i++) await tally.add(ordinary, true);
    }
    assert.equal(stored().waiting?.events, 750);
  });
});
