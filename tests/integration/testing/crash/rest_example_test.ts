import assert from "node:assert/strict";
import { createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { registrations } from "@b24/onappupdate/registrations";
import { rest } from "@b24/onappupdate/rest";
import { crashEverywhere, type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";

const FIELD = "UF_CRM_RATING";

describe("crashEverywhere() over the README's upgrade with rest()", () => {
  it("finds no harmful crash point and no unsafe call", async () => {
    let bitrix24: FakeBitrix24;
    let portal: FakePortal;
    let fields: { readonly FIELD_NAME: string }[];
    let ratings: Map<string, unknown>;
    // Calls that a crash interrupts are repeated after a while.
    let elapsed = 0;
    const report = await crashEverywhere({
      pairs: 0,
      reset: () => {
        bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
        portal = bitrix24.portal({ memberId: MEMBER_ID });
        fields = [];
        ratings = new Map();
        portal.answer("crm.deal.userfield.list", () => fields);
        portal.answer("crm.deal.userfield.add", () => {
          // As Bitrix24 does.
          if (fields.length > 0) return Response.json({ error: "ERROR_CORE" }, { status: 400 });
          return fields.push({ FIELD_NAME: FIELD });
        });
        portal.data("crm.deal.list", [{ ID: "1" }, { ID: "2" }]);
        portal.answer("crm.deal.update", ({ params }) => {
          const { id, fields } = params as { readonly id: string; readonly fields: Readonly<Record<string, unknown>> };
          ratings.set(id, fields[FIELD]);
          return true;
        });
      },
      fetch: (request) => bitrix24.fetch(request),
      events: [() => portal.install(1), () => portal.update(2)],
      app: (environment) =>
        createApp({ ...environment, clientId: CLIENT_ID, clientSecret: "secret" })
          .use(applicationToken())
          .use(rest({ timer: { now: () => elapsed, sleep: (ms) => Promise.resolve(void (elapsed += ms)) } }))
          .use(registrations({
            placements: [{
              placement: "CRM_DEAL_DETAIL_TAB",
              handler: "https://app.example.com/deal",
              title: "Rating",
            }],
            events: [{ event: "ONCRMDEALADD", handler: "https://app.example.com/b24/events" }],
          }))
          .upgrade("2.0.0", async ({ b24, step, pages }) => {
            await step("field", async () => {
              const known = await b24.call<unknown[]>("crm.deal.userfield.list", { filter: { FIELD_NAME: FIELD } });
              if (known.length === 0) {
                await b24.call("crm.deal.userfield.add", { fields: { FIELD_NAME: "RATING", USER_TYPE_ID: "integer" } });
              }
            });
            await pages("deals", 0, async (cursor) => {
              const { items, next } = await b24.page<{ ID: string }>("crm.deal.list", {}, { after: cursor });
              for (const { ID } of items) await b24.call("crm.deal.update", { id: ID, fields: { [FIELD]: 5 } });
              return { next, done: items.length };
            });
          }, { requires: { scope: "crm" } }),
      check: async (app) => {
        assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
        assert.deepEqual([fields, [...ratings]], [[{ FIELD_NAME: FIELD }], [["1", 5], ["2", 5]]]);
      },
    });
    assert.deepEqual(report.unsafe, [], report.text);
    assert(report.repeated.some(({ call }) => call.endsWith("crm.deal.update")), report.text);
  });
});
