import assert from "node:assert/strict";
import { encrypted, memoryStorage } from "@b24/onappupdate";
import type { WriteOperation } from "@b24/onappupdate/storage";
import { dueKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { entryId, entryTime, listDue, rescheduled, withLookout, withWork } from "../../../src/portal/schedule.ts";
import { describe, it } from "../../support/test.ts";

const MEMBER_ID = "a".repeat(32);
const RECORD: PortalRecord = {
  format: PORTAL_FORMAT,
  memberId: MEMBER_ID,
  domain: "x.bitrix24.de",
  status: "installed",
  generation: 1,
  applied: [],
  installedTs: 1,
  latestTs: 1,
};

const put = (due: string): WriteOperation => ({ put: dueKey(due, MEMBER_ID), value: {} });
const remove = (due: string): WriteOperation => ({ delete: dueKey(due, MEMBER_ID) });

describe("withWork()", () => {
  it("puts the entry before the record, and deletes a later one after it", () => {
    const due = entryId(1000, "1");
    assert.deepEqual(withWork(RECORD, 1000, () => "1"), {
      record: { ...RECORD, inboxSequence: 1, due },
      before: [put(due)],
      after: [],
    });
    const later = entryId(2000, "later");
    assert.deepEqual(withWork({ ...RECORD, inboxSequence: 4, due: later }, 1000, () => "1"), {
      record: { ...RECORD, inboxSequence: 5, due },
      before: [put(due)],
      after: [remove(later)],
    });
  });

  it("keeps an earlier entry", () => {
    const record = { ...RECORD, due: entryId(500, "early") };
    assert.deepEqual(withWork(record, 1000, () => "1"), { record: { ...record, inboxSequence: 1 } });
  });
});

describe("withWork() and rescheduled()", () => {
  it("make another entry each time: the one of a refused write may be deleted by whoever finds it", () => {
    let calls = 0;
    const random = () => String(++calls);
    const make = [() => withWork(RECORD, 1000, random), () => rescheduled(RECORD, 1000, 0, random)];
    for (const change of make) assert.notEqual(change().record.due, change().record.due);
  });
});

describe("withLookout()", () => {
  it("adds an entry that the record does not name, before what else is put, unless one is put anyway", () => {
    const delivery: WriteOperation = { put: ["delivery", MEMBER_ID, "1"], value: {} };
    const entry = put(entryId(1000, "1"));
    const change = { record: RECORD, before: [delivery] };
    assert.deepEqual(withLookout(change, 1000, () => "1"), { record: RECORD, before: [entry, delivery] });
    const scheduled = { record: RECORD, before: [entry, delivery] };
    assert.equal(withLookout(scheduled, 2000, () => "2"), scheduled);
  });
});

describe("rescheduled()", () => {
  const due = entryId(1000, "old");
  const record = { ...RECORD, due };

  it("leaves a portal without work without an entry", () => {
    assert.deepEqual(rescheduled(record, undefined, 0, () => "1"), { record: RECORD, after: [remove(due)] });
    assert.deepEqual(rescheduled(RECORD, undefined, 0, () => "1"), { record: RECORD, after: [] });
  });

  it("keeps an entry in the second half of the wait, and replaces any other", () => {
    for (const nextAt of [1000, 2000]) assert.deepEqual(rescheduled(record, nextAt, 0, () => "1"), { record });
    for (const nextAt of [999, 2001]) {
      const next = entryId(nextAt, "1");
      assert.deepEqual(rescheduled(record, nextAt, 0, () => "1"), {
        record: { ...RECORD, due: next },
        before: [put(next)],
        after: [remove(due)],
      });
    }
  });
});

describe("entryId()", () => {
  it("returns ids that sort by time and contain it", () => {
    const times = [0, 1, 999, 1000, 1_785_400_000_000, 9_999_999_999_999];
    const ids = times.map((at, i) => entryId(at + 0.5, i % 2 === 0 ? "z" : "a"));
    assert.deepEqual(ids.toSorted(), ids);
    assert.deepEqual(ids.map(entryTime), times);
    assert.equal(entryTime(entryId(-5, "x")), 0);
  });

  it("returns ids that sort after all others for times that have too many digits", () => {
    const last = entryId(99_999_999_999_999, "a");
    for (const at of [1e14, 1e21, 1e300, Infinity]) assert.equal(entryId(at, "a"), last);
  });
});

describe("listDue()", () => {
  it("lists entries that cannot be decrypted, and those after them", async () => {
    const inner = memoryStorage();
    const keys = (id: string): { keys: Record<string, string>; current: string } => ({
      keys: { [id]: btoa(id.repeat(32).slice(0, 32)) },
      current: id,
    });
    const [now, gone] = [encrypted(inner, keys("now")), encrypted(inner, keys("gone"))];
    for (const [i, storage] of [now, gone, gone, now].entries()) {
      await storage.put(dueKey(entryId(i, "x"), String(i)), {});
    }
    const members: string[] = [];
    for await (const { memberId } of listDue(now, 10)) members.push(memberId);
    assert.deepEqual(members, ["0", "1", "2", "3"]);
    for await (const { memberId } of listDue(now, 1)) members.push(memberId);
    assert.deepEqual(members.slice(4), ["0", "1"]);
  });
});
