import { B24OAuth } from "@bitrix24/b24jssdk";
import assert from "node:assert/strict";
import { b24jssdk } from "@b24/onappupdate/b24jssdk";
import { MEMBER_ID } from "../../../support/app.ts";
import { test } from "../../../support/test.ts";
import { world } from "./_world.ts";

test("app.rehearse() answers the calls of the official SDK", async () => {
  const results: unknown[] = [];
  const made = await world((app) =>
    app.use(b24jssdk({ B24OAuth })).upgrade("3", async ({ b24sdk }) => {
      const { actions } = await b24sdk();
      const call = async (method: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> =>
        (await actions.v2.call.make({ method, params })).getData()?.result;
      results.push(await call("crm.deal.get", { id: 1 }));
      results.push(await call("crm.deal.add", { fields: { TITLE: "a" } }));
      results.push(await call("crm.deal.get", { id: -1_000_000_001 }));
    }, { rehearsal: true })
  );
  made.portal.answer("crm.deal.get", ({ params }) => ({ ID: params["id"] }));
  const { upgrades: [upgrade], writes, calls } = await made.app.rehearse(MEMBER_ID, { target: "3" });
  assert.deepEqual(results, [{ ID: 1 }, -1_000_000_001]);
  assert.deepEqual(writes.map(({ method, params }) => [method, params]), [["crm.deal.add", {
    fields: { TITLE: "a" },
  }]]);
  assert.deepEqual(calls.map(({ method, count }) => [method, count]), [["crm.deal.get", 1], ["crm.deal.add", 1]]);
  assert.deepEqual([upgrade?.outcome, upgrade?.why], [
    "incomplete",
    "crm.deal.get: it reads what the rehearsal has added as -1000000001, and the portal does not have that",
  ]);
  assert.deepEqual(made.calls().map(({ method }) => method), ["crm.deal.get"]);
  await made.close();
});
