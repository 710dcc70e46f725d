import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { isRaisable } from "../../../src/rollout/candidates.ts";
import { refusalOf } from "../../../src/rollout/gate.ts";
import { withDefaults } from "../../../src/rollout/options.ts";
import { newTarget, type TargetState } from "../../../src/rollout/target.ts";
import { OPERATOR } from "../../support/operator.ts";
import { codeAt, memberIds, storeInstalled, tickOut } from "../../support/rollout.ts";
import { describe, it } from "../../support/test.ts";

const NIGHT = { from: "22:00", to: "06:00", timeZone: "UTC" };
const NOON = Date.parse("2026-01-07T12:00:00Z");
const idle: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: "a", domain: "a.bitrix24.de", status: "installed", generation: 1 },
  ...{ version: "1.0.0", target: "2.0.0", applied: [], installedTs: 1, latestTs: 1 },
};
const begun: PortalRecord = { ...idle, run: { id: "1", from: "1.0.0", startedAt: 1, upgrades: ["2"] } };
const rollout = (change: Partial<TargetState> = {}, options = {}): TargetState => ({
  ...newTarget("2.0.0", "deployed", withDefaults(options), 1),
  ...change,
});

describe("refusalOf()", () => {
  const paused = { ...OPERATOR, since: 1 };
  const table: readonly (readonly [string, TargetState, PortalRecord, string | undefined])[] = [
    ["a portal that was reached", rollout(), idle, undefined],
    ["a portal that was not reached", rollout({}, { hold: ["a"] }), idle, "has not reached the portal"],
    ["a run of a portal that is held since", rollout({}, { hold: ["a"] }), begun, undefined],
    ["a portal outside of the window", rollout({}, { window: NIGHT }), idle, "waits for its window"],
    ["a run outside of the window", rollout({}, { window: NIGHT }), begun, undefined],
    ["a run in a pause", rollout({ paused }), begun, "is paused by ada: test"],
    ["a portal that an operator retries in a pause", rollout({ paused }), { ...begun, mayPassPause: true }, undefined],
    ["a run after an abort", rollout({ state: "aborted" }), begun, "was aborted"],
    [
      "a portal that an operator retries after an abort",
      rollout({ state: "aborted" }),
      { ...begun, mayPassPause: true },
      "was aborted",
    ],
  ];
  for (const [name, state, record, why] of table) {
    it(`${name}: ${why ?? "may go on"}`, () => {
      const wanted = why === undefined ? undefined : `the rollout of 2.0.0 ${why}`;
      assert.equal(refusalOf(state, record, NOON)?.why, wanted);
    });
  }
});

it("isRaisable() leaves a portal alone that has begun an aborted version", () => {
  const isAborted = (target: string): boolean => target === "2.0.0";
  assert.deepEqual([idle, begun].map((record) => isRaisable(record, "1.9.1", isAborted)), [true, false]);
  assert.equal(isRaisable(idle, "1.9.1", () => false), false);
});

it("promote does not end a rollout whose last stage has all portals", async () => {
  const storage = memoryStorage();
  const [held, ...others] = memberIds(4) as [string, ...string[]];
  await storeInstalled(storage, [held, ...others], "1.0.0");
  const { app } = codeAt("2.0.0", { storage, rollout: { stages: [{ portals: 1 }, { percent: 100 }] } });
  await tickOut(app);
  await app.admin.rollout.pause("2.0.0", OPERATOR);
  await app.admin.rollout.promote("2.0.0", OPERATOR);
  await assert.rejects(app.admin.rollout.promote("2.0.0", OPERATOR), /stage 2 is the last one/);
  assert.equal((await app.admin.rollout.status())?.state, "running");
  await app.close();
});
