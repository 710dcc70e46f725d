import assert from "node:assert/strict";
import type { RolloutStage } from "@b24/onappupdate";
import { withDefaults } from "../../../src/rollout/options.ts";
import {
  assertChangeable,
  isReached,
  isRunning,
  needsLowest,
  newTarget,
  nextStageAt,
  perMinute,
  type TargetState,
  withNextStage,
  withReached,
} from "../../../src/rollout/target.ts";
import { type Breaker, newBreaker } from "../../../src/rollout/breaker.ts";
import { waitOf } from "../../../src/rollout/status.ts";
import { describe, it } from "../../support/test.ts";

const rollout = (stages: readonly RolloutStage[], change: Partial<TargetState> = {}): TargetState => ({
  ...newTarget("2.0.0", "deployed", withDefaults({ stages }), 100),
  ...change,
});

describe("the stages of a rollout", () => {
  const stages = [{ portals: 5 }, { percent: 10, forMs: 1000 }, { percent: 100 }];

  it("follow each other, and end with all portals", () => {
    const first = rollout(stages, { isPassed: true, doneSince: 150 });
    const second = withNextStage(first, 200)!;
    assert.deepEqual(
      [second.stage, second.stageSince, second.isPassed, second.doneSince],
      [1, 200, undefined, undefined],
    );
    const last = withNextStage(second, 300)!;
    assert.deepEqual([last.stage, last.state], [2, "running"]);
    assert.equal(withNextStage(last, 400)!.state, "finished");
  });

  it("have no end if the last one has not all portals", () => {
    assert.equal(withNextStage(rollout([{ percent: 10 }]), 200), undefined);
    assert.equal(nextStageAt(rollout([{ percent: 10, forMs: 5 }], { doneSince: 200 })), Infinity);
  });

  it("last for forMs once their portals are done, or until promote", () => {
    assert.equal(nextStageAt(rollout(stages, { stage: 1 })), undefined);
    assert.equal(nextStageAt(rollout(stages, { stage: 1, doneSince: 200 })), 1200);
    assert.equal(nextStageAt(rollout(stages, { doneSince: 200 })), Infinity);
    assert.equal(nextStageAt(rollout(stages, { stage: 2, doneSince: 200 })), 200);
  });
});

describe("a rollout", () => {
  it("waits after failures or a pause also once it has finished, for portals that come later", () => {
    const finished = rollout([{ percent: 100 }], { state: "finished" });
    const breaker: Breaker = { ...newBreaker("3", { failed: 1, percent: 0, concurrency: 1 }), trippedAt: 200 };
    const paused = { by: "ada", reason: "ticket 17", since: 300 };
    assert.equal(waitOf(finished, [], 400), undefined);
    assert.deepEqual(waitOf(finished, [breaker], 400), { on: "failures", upgradeIds: ["3"], since: 200 });
    assert.deepEqual(waitOf({ ...finished, paused }, [breaker], 400), { on: "resume", ...paused });
    for (const state of ["aborted", "superseded"] as const) {
      assert.equal(waitOf({ ...finished, state, paused }, [breaker], 400), undefined);
    }
  });

  it("has to find the lowest hashes if a stage has a number of portals", () => {
    assert.equal(needsLowest(rollout([{ portals: 5 }])), true);
    assert.equal(needsLowest(rollout([{ portals: 5 }], { lowest: [] })), false);
    assert.equal(needsLowest(rollout([{ percent: 5 }])), false);
    assert.equal(needsLowest(rollout([{ portals: 5 }], { kind: "breaker" })), false);
  });

  it("reaches every portal if only failures pause it", () => {
    assert.equal(isReached(rollout([{ percent: 0 }]), "a"), false);
    assert.equal(isReached(rollout([{ percent: 0 }], { kind: "breaker" }), "a"), true);
  });

  it("goes on unless it is paused or over", () => {
    const stages = [{ percent: 100 }];
    const states = ["running", "finished", "aborted", "superseded"] as const;
    assert.deepEqual(states.map((state) => isRunning(rollout(stages, { state }))), [true, true, false, false]);
    assert.equal(isRunning(rollout(stages, { paused: { by: "ada", reason: "no", since: 1 } })), false);
  });

  it("can be changed by an operator until it is over", () => {
    const stages = [{ percent: 100 }];
    const code = (state: TargetState | undefined, action: string): string | undefined => {
      try {
        assertChangeable(state, action, "2.0.0");
      } catch (error) {
        return `${(error as { code?: string }).code}: ${(error as Error).message}`;
      }
      return undefined;
    };
    assert.equal(code(undefined, "pause"), "unknown_rollout: cannot pause the rollout of 2.0.0: there is none");
    assert.equal(
      code(rollout(stages, { state: "aborted" }), "abort"),
      "rollout_over: cannot abort the rollout of 2.0.0: it is aborted",
    );
    assert.equal(code(rollout(stages), "promote"), undefined);
    assert.equal(code(rollout(stages, { state: "finished" }), "abort"), undefined);
    assert.match(code(rollout(stages, { state: "finished" }), "promote")!, /it is finished/);
  });
});

describe("the pace of a rollout", () => {
  const MINUTE = 60_000;
  const at = (minute: number): ReadonlyMap<number, number> => new Map([[minute, 30]]);

  it("counts the last ten minutes", () => {
    let state = rollout([{ percent: 100 }], { startedAt: 0 });
    for (let minute = 0; minute < 15; minute++) state = withReached(state, at(minute));
    assert.deepEqual(Object.keys(state.minutes!).map(Number), Array.from({ length: 10 }, (_, i) => i + 5));
    assert.equal(perMinute(state, 15 * MINUTE - 1).toFixed(1), "30.0");
  });

  it("counts from the first portal on", () => {
    const state = withReached(rollout([{ percent: 100 }], { startedAt: 0 }), at(100));
    assert.equal(perMinute(state, 102 * MINUTE), 15);
    assert.equal(perMinute(state, 100 * MINUTE + 1), 30);
  });

  it("is none if no portal has reached the target for ten minutes", () => {
    assert.equal(perMinute(withReached(rollout([{ percent: 100 }]), at(0)), 60 * MINUTE), 0);
  });
});
