import assert from "node:assert/strict";
import { PORTAL_FORMAT, type PortalRecord, snapshot } from "../../../src/portal/record.ts";
import { withAttemptEnded, withRun, withStart } from "../../../src/upgrade/run_record.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const RECORD: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "", status: "installed", generation: 1, applied: [] },
  ...{ installedTs: 0, latestTs: 0, version: "2.0.0", target: "3.0.0" },
};

function started(record: PortalRecord, finished: number, { upgradeId = "3", isAlone = false } = {}): PortalRecord {
  return withStart(withRun(record, 5), upgradeId, { finished, isAlone });
}

/** The record after a failure with `attempts`, when `finished` steps were finished. */
function failed(record: PortalRecord, attempts: number, finished: number): PortalRecord {
  const failure = { upgradeId: "3", to: "3.0.0", message: "no", attempts, at: 1 };
  return { ...withAttemptEnded(record, finished), failure };
}

function deathsOf({ run }: PortalRecord): readonly [deaths: number, alone: number] {
  return [run!.underWay!.deaths, run!.underWay!.deathsAlone];
}

describe("withRun()", () => {
  for (const [clock, now] of [["stands still", 1000], ["goes back", 400]] as const) {
    it(`gives a later run a greater id, also if the clock ${clock}`, () => {
      const { run, ...first } = withRun(RECORD, 1000);
      const second = withRun(first, now).run;
      assert(second.id > run.id, `${second.id} after ${run.id}`);
    });
  }
});

describe("withStart()", () => {
  it("opens a run at the portal's version, and names its upgrades once, in order", () => {
    const record = started(started(started(RECORD, 0), 0, { upgradeId: "4" }), 0);
    const { id, from, startedAt, upgrades } = record.run!;
    assert.deepEqual([id, from, startedAt, upgrades], ["00000001", "2.0.0", 5, ["3", "4"]]);
  });

  it("counts attempts whose process ended, and those that were alone", () => {
    const first = started(RECORD, 0);
    const second = started(first, 0, { isAlone: true });
    const third = started(second, 0, { isAlone: true });
    assert.deepEqual([first, second, third].map(deathsOf), [[0, 0], [1, 0], [2, 1]]);
    assert.equal(snapshot(second).run?.current?.attempt, 2);
  });

  it("counts only the last one if a step or page was recorded since it began", () => {
    let record = started(started(started(RECORD, 0), 0, { isAlone: true }), 0, { isAlone: true });
    for (let finished = 1; finished < 50; finished++) {
      record = started(record, finished, { isAlone: true });
      assert.deepEqual(deathsOf(record), [1, 0]);
    }
    assert.deepEqual(deathsOf(started(record, 49)), [2, 1]);
  });

  it("counts none of an upgrade that was skipped", () => {
    assert.deepEqual(deathsOf(started(started(RECORD, 0), 0, { upgradeId: "4" })), [0, 0]);
  });

  it("counts none that ended in order, and failures in the failure", () => {
    assert.deepEqual(deathsOf(started(withAttemptEnded(started(RECORD, 0), 0), 0)), [0, 0]);
    const record = started(failed(started(RECORD, 0), 1, 0), 0);
    assert.deepEqual([deathsOf(record), record.failure?.attempts], [[0, 0], 1]);
    assert.equal(snapshot(record).run?.current?.attempt, 2);
  });

  it("resets the failed attempts if a step was recorded since the failure, and not if one was recorded before it", () => {
    const before = started(failed(started(RECORD, 0), 3, 5), 5);
    assert.equal(before.failure?.attempts, 3);
    assert.equal(started(before, 6).failure?.attempts, 0, "its process ended");
    assert.equal(withAttemptEnded(before, 6).failure?.attempts, 0, "it was suspended");
    assert.equal(withAttemptEnded(before, 5).failure?.attempts, 3);
  });
});
