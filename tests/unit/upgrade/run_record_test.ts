import assert from "node:assert/strict";
import { PORTAL_FORMAT, type PortalRecord, snapshot } from "../../../src/portal/record.ts";
import { withoutStart, withoutStarts, withRun, withStart } from "../../../src/upgrade/run_record.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const RECORD: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "", status: "installed", generation: 1, applied: [] },
  ...{ installedTs: 0, latestTs: 0, version: "2.0.0", target: "3.0.0" },
};

function started(record: PortalRecord, finished: number, upgradeId = "3"): PortalRecord {
  return withStart(withRun(record, "1", 5), upgradeId, finished);
}

/** The record after a failure with `attempts`, when `finished` steps were finished. */
function failed(record: PortalRecord, attempts: number, finished: number): PortalRecord {
  const failure = { upgradeId: "3", to: "3.0.0", message: "no", attempts, at: 1 };
  return { ...withoutStarts(record, finished), failure };
}

function startsOf({ run }: PortalRecord): number | undefined {
  return run?.current?.starts;
}

describe("withStart()", () => {
  it("opens a run at the portal's version, and names its upgrades once, in order", () => {
    const record = started(started(started(RECORD, 0), 0, "4"), 0);
    const { id, from, startedAt, upgrades } = record.run!;
    assert.deepEqual([id, from, startedAt, upgrades], ["1", "2.0.0", 5, ["3", "4"]]);
  });

  it("counts starts whose process crashed", () => {
    const first = started(RECORD, 0);
    const second = started(first, 0);
    assert.deepEqual([first, second, started(second, 0)].map(startsOf), [1, 2, 3]);
    assert.equal(snapshot(second).run?.current?.attempt, 2);
  });

  it("counts only the last crash if a step or page was recorded since the last start", () => {
    let record = started(started(started(RECORD, 0), 0), 0);
    for (let finished = 1; finished < 50; finished++) {
      record = started(record, finished);
      assert.equal(startsOf(record), 2);
    }
    assert.equal(startsOf(started(record, 49)), 3);
  });

  it("does not count starts that ended in order", () => {
    const crashed = started(RECORD, 0);
    const again = started(withoutStart(started(crashed, 0), 0), 0);
    assert.equal(startsOf(again), 2, "the crash counts still");
    assert.equal(startsOf(started(withoutStart(started(crashed, 0), 1), 1)), 1, "the crash was at an earlier step");
  });

  it("counts failures in the failure, and not as starts", () => {
    const record = started(failed(started(RECORD, 0), 1, 0), 0);
    assert.deepEqual([startsOf(record), record.failure?.attempts], [1, 1]);
    assert.equal(snapshot(record).run?.current?.attempt, 2);
  });

  it("resets the failed attempts if a step was recorded since the failure, and not if one was recorded before it", () => {
    const before = started(failed(started(RECORD, 0), 3, 5), 5);
    assert.equal(before.failure?.attempts, 3);
    const after = started(before, 6);
    assert.deepEqual([startsOf(after), after.failure?.attempts], [2, 0]);
  });
});
