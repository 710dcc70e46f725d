import assert from "node:assert/strict";
import { withBlock, withoutBlock } from "../../../src/portal/block.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { describe, it } from "../../support/test.ts";

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;
const NOW = 1_785_300_000_000;

const PORTAL: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: "a".repeat(32), domain: "x.bitrix24.de", status: "installed", generation: 1 },
  ...{ version: "2.0.0", target: "3.0.0", applied: [], installedTs: 1, latestTs: 1 },
};

describe("withBlock()", () => {
  it("retries hourly at first, then ever more rarely, and daily from a week on", () => {
    let record = withBlock(PORTAL, "installation", "no", NOW);
    const delays: number[] = [];
    for (let now = NOW; now < NOW + 30 * DAY;) {
      const delay = record.blocked!.nextTryAt - now;
      const last = delays.at(-1) ?? 0;
      assert(delay >= last && delay >= HOUR && delay <= DAY, `${delay} after ${last}`);
      if (now - NOW <= 7 * HOUR) assert.equal(delay, HOUR);
      if (now - NOW >= 7 * DAY) assert.equal(delay, DAY);
      delays.push(delay);
      now += delay;
      record = withBlock(record, "installation", "no", now);
    }
    assert.equal(record.blocked!.since, NOW);
    assert(delays.length < 60, `${delays.length} attempts in a month`);
  });

  it("continues a block that an answer has ended, if it comes back within an hour, and no other", () => {
    const blocked = withBlock(PORTAL, "installation", "no", NOW);
    const ended = withoutBlock(blocked, NOW + 30 * DAY);
    assert.equal(ended.blocked, undefined);
    const since = (on: "installation" | "payment", later: number): number =>
      withBlock(ended, on, "no", NOW + 30 * DAY + later).blocked!.since - NOW;
    assert.equal(since("installation", HOUR), 0);
    assert.equal(since("installation", HOUR + 1), 30 * DAY + HOUR + 1);
    assert.equal(since("payment", 0), 30 * DAY);
  });

  it("of a portal that is not blocked leaves nothing behind", () => assert.equal(withoutBlock(PORTAL, NOW), PORTAL));
});
