import assert from "node:assert/strict";
import { nextPlannedCheck, withFinishedCheck, withPlannedCheck } from "../../../src/portal/planned_checks.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const record: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "example.bitrix24.de", status: "installed", generation: 1 },
  ...{ applied: [], installedTs: 0, latestTs: 0, check: { at: 0 } },
};

describe("withPlannedCheck()", () => {
  it("never moves a planned check to a later time", () => {
    const planned = withPlannedCheck(record, "contact", 900);
    assert.equal(nextPlannedCheck(planned), 900);
    assert.equal(withPlannedCheck(planned, "contact", 901), planned);
    assert.equal(nextPlannedCheck(withPlannedCheck(planned, "contact", 899)), 899);
  });
});

describe("withFinishedCheck()", () => {
  const planned = withPlannedCheck(withPlannedCheck(record, "contact", 900), "urgent", 60);

  it("leaves the plans for times after its start", () => {
    const checked = withFinishedCheck(planned, { startedAt: 60, endedAt: 65 });
    assert.deepEqual([checked.check, checked.plannedChecks], [{ at: 65 }, { contact: 900 }]);
    const last = withFinishedCheck(checked, { startedAt: 900, endedAt: 905 });
    assert.deepEqual([nextPlannedCheck(last), "plannedChecks" in last], [undefined, false]);
  });

  it("plans its repetition if it failed, which a later success ends", () => {
    const failed = withFinishedCheck(planned, { startedAt: 10, endedAt: 20, retryAt: 3_600_020 });
    assert.deepEqual(failed.plannedChecks, { contact: 900, urgent: 60, retry: 3_600_020 });
    const succeeded = withFinishedCheck(failed, { startedAt: 30, endedAt: 40 });
    assert.deepEqual(succeeded.plannedChecks, { contact: 900, urgent: 60 });
  });

  it("changes nothing if the check is recorded already", () => {
    const inspected = { ...planned, check: { at: 15 } };
    assert.equal(withFinishedCheck(inspected, { startedAt: 10, endedAt: 20 }), inspected);
  });

  it("keeps the problems of the last check that did not fail", () => {
    const problems = [{ code: "registrations", message: "triggers paid: not registered" }];
    const found = withFinishedCheck(record, { startedAt: 10, endedAt: 20, problems });
    assert.deepEqual(found.findings, { at: 20, problems });
    const failed = withFinishedCheck(found, { startedAt: 30, endedAt: 40 });
    assert.deepEqual([failed.check, failed.findings], [{ at: 40 }, { at: 20, problems }]);
    const clean = withFinishedCheck(failed, { startedAt: 50, endedAt: 60, problems: [] });
    assert.deepEqual([clean.check, "findings" in clean], [{ at: 60 }, false]);
  });

  it("replaces them also if tokens were verified while the check was under way", () => {
    const problems = [{ code: "payment", message: "unpaid" }];
    const inspected = { ...record, check: { at: 15 } };
    const found = withFinishedCheck(inspected, { startedAt: 10, endedAt: 20, problems });
    assert.deepEqual([found.check, found.findings], [{ at: 15 }, { at: 20, problems }]);
    assert.equal("findings" in withFinishedCheck(found, { startedAt: 10, endedAt: 25, problems: [] }), false);
    assert.equal(withFinishedCheck(inspected, { startedAt: 10, endedAt: 20, problems: [] }), inspected);
  });
});
