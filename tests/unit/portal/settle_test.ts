import assert from "node:assert/strict";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { settle } from "../../../src/portal/settle.ts";
import { describe, it } from "../../support/test.ts";

const NOW = 1_785_300_000_000;

const BELIEVED: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: "a".repeat(32), domain: "x.bitrix24.de", status: "installed", generation: 1 },
  ...{ version: "2.0.0", target: "5.0.0", isTargetUnconfirmed: true, applied: [], installedTs: 1, latestTs: 1 },
};

describe("settle(): a target that was only believed", () => {
  const after = (raw: string, record = BELIEVED): unknown[] => {
    const { record: next, hasWork } = settle(record, { state: "installed", raw, version: `${raw}.0.0` }, NOW);
    return [next.target, next.isTargetUnconfirmed, hasWork];
  };

  it("is lowered to what Bitrix24 says, and never below the portal's version", () => {
    assert.deepEqual(after("3"), ["3.0.0", undefined, true]);
    assert.deepEqual(after("1"), ["2.0.0", undefined, true]);
  });

  it("is confirmed by the same version, and raised by a higher one", () => {
    assert.deepEqual(after("5"), ["5.0.0", undefined, false]);
    assert.deepEqual(after("6"), ["6.0.0", undefined, true]);
  });

  it("stays if an upgrade has begun", () => {
    const run = { id: "1", from: "2.0.0", startedAt: 1, upgrades: [] };
    assert.deepEqual(after("3", { ...BELIEVED, run }), ["5.0.0", true, false]);
  });

  it("that was confirmed is never lowered", () => {
    const { isTargetUnconfirmed: _, ...confirmed } = BELIEVED;
    assert.deepEqual(after("3", confirmed), ["5.0.0", undefined, false]);
  });
});

describe("settle(): a portal whose version is unknown", () => {
  it("starts on what Bitrix24 says, so that no upgrade runs", () => {
    const { version: _v, target: _t, isTargetUnconfirmed: _u, ...unknown } = BELIEVED;
    const { record, isRaised } = settle(unknown, { state: "installed", raw: "3", version: "3.0.0" }, NOW);
    assert.deepEqual([record.initialVersion, record.version, record.target, isRaised], [
      ...["3.0.0", "3.0.0", "3.0.0"],
      false,
    ]);
  });
});

describe("settle(): a portal whose first contact was no installation", () => {
  const REPORTED = { target: "reported", since: NOW } as const;
  const { version: _v, isTargetUnconfirmed: _u, ...unknown } = BELIEVED;
  const after = (record: PortalRecord, version: string, raw?: string): unknown[] => {
    const { record: { version: initial, target, unknownOrigin } } = settle(
      record,
      { state: "installed", version, ...(raw === undefined ? {} : { raw }) },
      NOW,
    );
    return [initial, target, unknownOrigin?.target];
  };

  it("comes from the version that was reported first, if a higher one is reported", () => {
    const reported: PortalRecord = { ...unknown, target: "2.0.0", unknownOrigin: REPORTED };
    assert.deepEqual(after(reported, "2.0.0", "2"), [undefined, "2.0.0", "reported"]);
    assert.deepEqual(after(reported, "3.0.0", "3"), ["2.0.0", "3.0.0", undefined]);
    // A local app's version is that of the code.
    assert.deepEqual(after(reported, "3.0.0"), [undefined, "3.0.0", "reported"]);
  });

  it("stays unknown if it was updated from an unknown version, or nothing was reported", () => {
    const updated: PortalRecord = { ...unknown, target: "2.0.0", unknownOrigin: { target: "updated", since: NOW } };
    assert.deepEqual(after(updated, "3.0.0", "3"), [undefined, "3.0.0", "updated"]);
    const { target: _t, ...blank } = updated;
    assert.deepEqual(after({ ...blank, unknownOrigin: REPORTED }, "3.0.0", "3"), [undefined, "3.0.0", "reported"]);
  });
});

describe("settle(): a claimed version that was not known", () => {
  const claim = { raw: "7", ts: 1, since: NOW, nextAskAt: NOW };
  const record: PortalRecord = { ...BELIEVED, target: "2.0.0", claims: { version: claim } };
  const after = (raw: string, version?: string): unknown => {
    const { claims } =
      settle(record, { state: "installed", raw, ...(version === undefined ? {} : { version }) }, NOW).record;
    const { settled, nextAskAt, wasContradicted } = claims!.version!;
    return settled?.as ?? [nextAskAt! - NOW, wasContradicted === true];
  };

  it("is decided by an answer that this code knows", () => {
    assert.equal(after("7", "7.0.0"), "confirmed");
    assert.equal(after("8", "8.0.0"), "confirmed");
    assert.deepEqual(after("6", "6.0.0"), [60_000, true]);
  });

  it("waits for newer code while the answer is not known either", () => {
    assert.deepEqual([after("7"), after("6")], [[30_000, false], [30_000, false]]);
  });
});
