import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { portalKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { hasReports, MAX_REPORTS, reportChanges, withoutReport } from "../../../src/portal/reports.ts";
import { entryTime } from "../../../src/portal/schedule.ts";
import { stateChanges } from "../../../src/portal/state_changes.ts";
import type { ReportKind } from "../../../src/portal/stored_report.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const NOW = 1_785_300_000_000;
const LEASE_MS = 30_000;

const current: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "example.bitrix24.de", status: "installed", generation: 1 },
  ...{ version: "1.0.0", target: "1.0.0", applied: [], installedTs: 1, latestTs: 1 },
};
const block = (on: "payment" | "scope", message = "no"): Pick<PortalRecord, "blocked"> => ({
  blocked: { on, message, since: NOW, nextTryAt: NOW + 1 },
});
const upgrading: PortalRecord = { ...current, target: "2.0.0" };
const failure = { to: "2.0.0", message: "no", attempts: 1, at: NOW };
const parked: PortalRecord = { ...upgrading, failure };

describe("stateChanges()", () => {
  const kinds = (before: PortalRecord | undefined, after: PortalRecord): ReportKind[] =>
    stateChanges(before, after).map(({ kind }) => kind);
  const cases: readonly (readonly [string, PortalRecord | undefined, PortalRecord, readonly ReportKind[]])[] = [
    ["of a portal that reaches its target", upgrading, { ...upgrading, version: "2.0.0" }, ["portalUpgraded"]],
    ["of one that is rolled back", { ...current, version: "2.0.0", target: "2.0.0" }, {
      ...parked,
      failure: { ...failure, attempts: 0 },
    }, []],
    ["of a new portal", undefined, current, []],
    ["of a new portal that is blocked", undefined, { ...current, ...block("payment") }, ["portalBlocked"]],
    ["of a first version", { ...current, generation: 0 }, current, []],
    ["of a failure that is final", upgrading, parked, ["portalParked"]],
    ["of one that is not", upgrading, { ...upgrading, failure: { ...failure, retryAt: NOW } }, []],
    ["of a failure for another target", upgrading, { ...upgrading, failure: { ...failure, to: "3.0.0" } }, []],
    ["of a parked portal that is retried", parked, upgrading, ["portalResumed"]],
    ["of a parked portal with a new target", parked, { ...parked, target: "3.0.0" }, ["portalResumed"]],
    ["of a block", upgrading, { ...upgrading, ...block("scope") }, ["portalBlocked"]],
    ["of another try", { ...upgrading, ...block("scope") }, { ...upgrading, ...block("scope", "still") }, []],
    ["of another block", { ...upgrading, ...block("scope") }, { ...upgrading, ...block("payment") }, ["portalBlocked"]],
    ["of the end of a block", { ...upgrading, ...block("scope") }, upgrading, ["portalUnblocked"]],
    ["of a removal", { ...parked, ...block("scope") }, { ...current, status: "uninstalled" }, ["portalRemoved"]],
    ["of a new installation at once", parked, { ...current, version: "3.0.0", generation: 2 }, ["portalRemoved"]],
    ["of an installation after a removal", { ...current, status: "uninstalled" }, { ...current, generation: 2 }, []],
    ["of an upgrade that ends a failure and a block", { ...parked, ...block("scope") }, {
      ...current,
      version: "2.0.0",
      target: "2.0.0",
    }, ["portalUpgraded", "portalUnblocked", "portalResumed"]],
  ];
  for (const [what, before, after, wanted] of cases) {
    it(`${what}: ${wanted.join() || "none"}`, () => assert.deepEqual(kinds(before, after), wanted));
  }

  it("cuts messages", () => {
    const [change] = stateChanges(upgrading, { ...upgrading, ...block("scope", "x".repeat(10_000)) });
    assert(change?.kind === "portalBlocked");
    assert.equal(change.message.length, 500);
  });
});

describe("reportChanges()", () => {
  /** A storage with a portal. */
  async function setUp(observed: readonly ReportKind[], record: PortalRecord = upgrading): Promise<{
    readonly storage: Storage;
    /** Portals that are to be processed. */
    readonly reported: readonly string[];
    readonly change: (record: Partial<PortalRecord>) => Promise<PortalRecord>;
  }> {
    const storage = memoryStorage();
    await storage.put(portalKey(MEMBER_ID), record);
    const reported: string[] = [];
    let strings = 0;
    reportChanges({
      ...{ storage, clock: () => NOW, random: () => `id ${++strings}`, leaseMs: LEASE_MS },
      isObserved: (kind) => observed.includes(kind),
      onReported: (memberId) => void reported.push(memberId),
    });
    const change = async (record: Partial<PortalRecord>): Promise<PortalRecord> =>
      (await writeRecord(storage, MEMBER_ID, (before) => ({ record: { ...before!, ...record } })))!.value;
    return { storage, reported, change };
  }

  it("adds observed changes only, with a schedule entry, and has the portal processed", async () => {
    const { storage, reported, change } = await setUp(["portalParked"]);
    const blocked = await change(block("payment"));
    assert.deepEqual([blocked.reports, blocked.due, reported], [undefined, undefined, []]);
    const { reports, due } = await change({ failure });
    assert.deepEqual(reports?.map(({ id, change }) => [id, change.kind]), [["id 1", "portalParked"]]);
    assert.deepEqual([entryTime(due!), reported], [NOW, [MEMBER_ID]]);
    assert.equal((await Array.fromAsync(storage.list(["due"]))).length, 1);
  });

  it("leaves a portal that somebody works on to them, unless they crash", async () => {
    const lease = { owner: "somebody", until: NOW + LEASE_MS };
    const { reported, change } = await setUp(["portalParked"], { ...upgrading, lease });
    const { due } = await change({ failure });
    assert.deepEqual([entryTime(due!), reported], [NOW + LEASE_MS, []]);
  });

  it("replaces the oldest report of the same kind if too many wait, and counts it", async () => {
    const { change } = await setUp(["portalParked", "portalResumed", "portalBlocked"]);
    await change(block("payment"));
    let { reports = [] } = await change({ failure });
    for (let i = 0; i < MAX_REPORTS; i++) {
      const changes = [undefined, failure].map((failure) => async () => await change({ failure } as PortalRecord));
      for (const run of changes) ({ reports = [] } = await run());
    }
    assert.equal(reports.length, MAX_REPORTS);
    assert.equal(reports[0]!.change.kind, "portalBlocked");
    assert.equal(reports.reduce((sum, { replaced = 0 }) => sum + replaced, reports.length), 2 * MAX_REPORTS + 2);
    assert.equal(new Set(reports.map(({ id }) => id)).size, MAX_REPORTS);
  });

  it("sees a report before it is stored, and none after it is removed", async () => {
    const { storage, change } = await setUp(["portalParked"]);
    assert.equal(hasReports(storage, upgrading, parked), true);
    assert.equal(hasReports(storage, upgrading, { ...upgrading, ...block("scope") }), false);
    const stored = await change({ failure });
    assert.equal(hasReports(storage, stored, stored), true);
    const without = withoutReport(stored, stored.reports![0]!.id);
    assert.equal("reports" in without, false);
    assert.equal(hasReports(storage, stored, without), false);
  });
});
