import assert from "node:assert/strict";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { slotOutcome } from "../../../src/rollout/slot_outcome.ts";
import { describe, it } from "../../support/test.ts";

const NOW = 1000;
const record = (change: Partial<PortalRecord>): PortalRecord => ({
  ...{ format: PORTAL_FORMAT, memberId: "a", domain: "a.bitrix24.de", status: "installed", generation: 1 },
  ...{ version: "1.0.0", target: "3.0.0", applied: [], installedTs: 1, latestTs: 1 },
  run: { id: "1", from: "1.0.0", startedAt: 1, upgrades: ["3"] },
  ...change,
});
const failure = { upgradeId: "3", to: "3.0.0", message: "no", attempts: 2, at: 500 };
const blocked = { message: "no", since: 1, nextTryAt: 2 };

describe("slotOutcome()", () => {
  const { run, ...idle } = record({});
  const applied = [{ id: "3", from: "1.0.0", to: "3.0.0", at: 1 }];
  const table: readonly (readonly [string, PortalRecord | undefined, string])[] = [
    ["a portal that is not stored", undefined, "freed"],
    ["a portal without the app", record({ status: "uninstalled" }), "freed"],
    ["a portal on its target", record({ version: "3.0.0" }), "succeeded"],
    ["a portal that has applied the upgrade, and not the next one", record({ applied }), "succeeded"],
    ["a portal whose target was not raised", { ...idle, target: "1.0.0" }, "freed"],
    ["a portal that has not begun", idle, "running"],
    ["a portal that was parked", record({ failure }), "parked"],
    [
      "a portal that was parked on its way to another target",
      record({ failure: { ...failure, to: "2.0.0" } }),
      "running",
    ],
    ["a portal that was rolled back", { ...idle, failure: { ...failure, attempts: 0 } }, "freed"],
    ["a portal that is being rolled back", record({ run: { ...run!, isRollingBack: true } }), "freed"],
    [
      "a portal that waits for its first retry",
      record({ failure: { ...failure, attempts: 1, retryAt: 2000 } }),
      "running",
    ],
    ["a portal that waits for its second retry", record({ failure: { ...failure, retryAt: 2000 } }), "failing"],
    ["a blocked portal", record({ blocked: { ...blocked, on: "scope" } }), "freed"],
    ["a portal that waits for a resume", record({ blocked: { ...blocked, on: "rollout" } }), "running"],
    ["a sleeping portal", record({ run: { ...run!, wakeAt: 1001 } }), "freed"],
    ["a portal whose sleep is over", record({ run: { ...run!, wakeAt: 1000 } }), "running"],
  ];
  for (const [name, portal, wanted] of table) {
    it(`${name}: ${wanted}`, () => {
      assert.equal(slotOutcome(portal, { upgradeId: "3", to: "3.0.0", now: NOW }), wanted);
    });
  }

  it("does not count failures before the last resume", () => {
    const portal = record({ failure: { ...failure, retryAt: 2000 } });
    assert.equal(slotOutcome(portal, { upgradeId: "3", to: "3.0.0", now: NOW, resumedAt: 600 }), "running");
    assert.equal(slotOutcome(portal, { upgradeId: "3", to: "3.0.0", now: NOW, resumedAt: 400 }), "failing");
  });
});
