import assert from "node:assert/strict";
import { reportText } from "../../../src/upgrade/rehearsal/text.ts";
import { describe, it } from "../../support/test.ts";

const EMPTY = {
  ...{ memberId: "m", from: "2.0.0", to: "3.0.0", isComplete: true, upgrades: [], calls: [], writes: [], changes: {} },
  ...{ notRehearsed: [], time: { requests: 0, rateMs: 0, sleepMs: 0, minMs: 0 } },
  recording: { format: 1, memberId: "m", recordedAt: 0, reads: [] },
} as const;

describe("reportText()", () => {
  it("has every part of a report", () => {
    const text = reportText({
      ...EMPTY,
      ...{ obstacle: "the portal is parked: no", isComplete: false },
      upgrades: [{
        ...{ id: "3", range: "3", outcome: "incomplete", why: "not rehearsed further: enough" },
        steps: [
          { name: 'a "b"', kind: "step", wasDone: true },
          { name: "c", kind: "pages", pages: 2, done: 70 },
          { name: "d", kind: "sleep", ms: 1500 },
        ],
      }],
      calls: [{ method: "crm.deal.list", count: 2, isRead: true }],
      changes: { registrations: [{ kind: "placements", id: "TAB", action: "add", why: "missing" }] },
      notRehearsed: [{ what: "upgrade 3", why: "not rehearsed further: enough" }],
      time: { requests: 60, rateMs: 7500, sleepMs: 1500, minMs: 9000 },
    });
    assert.equal(
      text,
      `Rehearsal of portal m from 2.0.0 to 3.0.0: not complete
No run would begin now: the portal is parked: no
Upgrades:
- 3: rehearsed in part: not rehearsed further: enough
  step "a \\"b\\"", done before
  pages "c": 2 pages, 70 items
  sleep "d": 2 s
Calls:
- 2 crm.deal.list
Changes by registrations:
- add placements TAB: missing
Not rehearsed:
- upgrade 3: not rehearsed further: enough
Time: at least 9 s: 60 requests in 8 s at the portal's rate, and 2 s of sleeps`,
    );
  });

  it("has at most 200 writes", () => {
    const writes = Array.from(
      { length: 203 },
      (_, id) => ({ method: "crm.deal.update", params: { id }, result: true }),
    );
    const lines = reportText({ ...EMPTY, writes }).split("\n").filter((line) => line.startsWith("- "));
    assert.equal(lines.length, 201);
    assert.deepEqual(
      [lines[0], lines[200]],
      [
        'crm.deal.update {"id":0} in plugins',
        "and 3 more, in the writes of the report",
      ].map((line) => `- ${line}`),
    );
  });
});
