import assert from "node:assert/strict";
import {
  type Call,
  compareCalls,
  count,
  describeCall,
  type RepeatedCall,
} from "../../../../src/testing/crash/report.ts";
import { describe, it } from "../../../support/test.ts";

const KEY = "0123456789abcdef".repeat(4);

async function called(method: string, params: object, form = false): Promise<Call> {
  const text = form ? new URLSearchParams(params as Record<string, string>).toString() : JSON.stringify(params);
  const request = new Request(`https://example.bitrix24.de/rest/${method}`, { method: "POST", body: text });
  return await describeCall(request, undefined);
}

/** Returns the repeated calls of an execution, compared with those of the baseline run. */
function compared(baseline: readonly Call[], execution: readonly Call[]): readonly RepeatedCall[] {
  const counted = (calls: readonly Call[]): Map<string, { readonly call: Call; readonly times: number }> => {
    const counts = new Map<string, { readonly call: Call; readonly times: number }>();
    for (const call of calls) count(counts, call);
    return counts;
  };
  const { add, repeated } = compareCalls(counted(baseline));
  add(counted(execution), "a crash");
  return repeated();
}

describe("the report of crashEverywhere()", () => {
  for (const form of [false, true]) {
    it(`recognizes a call after its access token was refreshed, as ${form ? "a form" : "JSON"}`, async () => {
      const [first, later] = await Promise.all(
        ["one", "two"].map((auth) => called("crm.deal.add.json", { auth, XML_ID: KEY }, form)),
      );
      assert.deepEqual(compared([first!], [later!]), []);
      const [twice] = compared([first!], [first!, later!]);
      assert.deepEqual([twice?.times, twice?.expected, twice?.problem], [2, 1, undefined]);
      const other = await called("crm.deal.add.json", { auth: "one", XML_ID: KEY, TITLE: "other" }, form);
      assert.match(compared([first!], [other])[0]?.problem ?? "", /idempotency key of another call/);
    });
  }

  it("treats repeated registrations as harmless, also in a batch, and repeated deals not", async () => {
    const problem = async (method: string, params: object): Promise<unknown> => {
      const call = await called(method, params);
      return compared([call], [call, call])[0]?.problem;
    };
    const registering = { a: "event.bind?event=ONCRMDEALADD", b: "bizproc.robot.add?CODE=r", c: "placement.get" };
    assert.equal(await problem("batch", { cmd: registering }), undefined);
    assert.equal(await problem("event.bind.json", {}), undefined);
    const lacking = "it has no idempotency key";
    assert.equal(await problem("batch", { cmd: { ...registering, d: "crm.deal.add?fields[TITLE]=x" } }), lacking);
    assert.equal(await problem("batch", { cmd: {} }), lacking);
    assert.equal(await problem("crm.deal.add", {}), lacking);
  });

  const repeatProblem = async (method: string, params: object, form = false): Promise<unknown> => {
    const call = await called(method, params, form);
    return compared([call], [call, call])[0]?.problem;
  };

  it("treats setting a state as harmless, and updating or deleting by an id", async () => {
    for (const form of [false, true]) {
      for (
        const [method, params] of [
          ["crm.deal.update", { id: 7, fields: { TITLE: "x" } }],
          ["crm.deal.delete.json", { ID: 7 }],
          ["tasks.task.update", { taskId: 7 }],
          ["crm.deal.productrows.set", { id: 7, rows: [] }],
          ["app.option.set", { options: { a: 1 } }],
          ["crm.deal.update?id=7", { fields: { TITLE: "x" } }],
        ] as const
      ) assert.equal(await repeatProblem(method, params, form), undefined, method);
    }
    const cmd = ["crm.deal.update?id=7&fields[UF_CRM_RATING]=5", "app.option.set?options[a]=1", "crm.deal.delete?id=8"];
    assert.equal(await repeatProblem("batch", { cmd }), undefined);
  });

  it("does not treat an update or deletion without an id as harmless", async () => {
    const lacking = "it has no idempotency key";
    assert.equal(await repeatProblem("crm.deal.update", { fields: { ID: 7 } }), lacking);
    assert.equal(await repeatProblem("crm.deal.delete", {}), lacking);
    assert.equal(await repeatProblem("batch", { cmd: ["crm.deal.update?fields[ID]=7"] }), lacking);
    assert.equal(await repeatProblem("crm.deal.add", { id: 7 }), lacking);
  });
});
