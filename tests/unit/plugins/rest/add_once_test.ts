import assert from "node:assert/strict";
import { createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { rest } from "@b24/onappupdate/rest";
import { crashEverywhere, type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { counter, failure, ok, refusal } from "./_rest.ts";

const KEY = "0123456789abcdef-1";

interface Case {
  readonly add: readonly [method: string, params: Readonly<Record<string, unknown>>];
  /** The first request. */
  readonly find: readonly [method: string, params: object];
  readonly field: string;
  /** The answer to `find` if it is there, and the result then. */
  readonly found: unknown;
  readonly none: unknown;
  readonly result: unknown;
}

const older = (entity: string, field: string): Case => ({
  add: [`crm.${entity}.add`, { fields: { TITLE: "a" }, params: { REGISTER_SONET_EVENT: "N" } }],
  find: [`crm.${entity}.list`, {
    order: { ID: "ASC" },
    select: ["ID"],
    start: -1,
    filter: { [`=${field}`]: KEY },
  }],
  ...{ field, found: [{ ID: "7" }, { ID: "8" }], none: [], result: 7 },
});

const item = (entityTypeId: number, field: string): Case => ({
  add: ["crm.item.add", { entityTypeId, fields: { title: "a" } }],
  find: ["crm.item.list", { entityTypeId, order: { id: "ASC" }, start: -1, filter: { [`=${field}`]: KEY } }],
  ...{ field, found: { items: [{ id: 7, title: "a" }] }, none: { items: [] }, result: { item: { id: 7, title: "a" } } },
});

const CASES: readonly Case[] = [
  ...["lead", "deal", "contact", "company", "activity"].map((entity) => older(entity, "ORIGIN_ID")),
  older("product", "XML_ID"),
  ...[1, 2, 3, 4].map((type) => item(type, "originId")),
  ...[31, 128, 1044].map((type) => item(type, "xmlId")),
  {
    add: ["catalog.product.add", { fields: { iblockId: 23, name: "a" } }],
    find: ["catalog.product.list", {
      order: { id: "ASC" },
      select: ["id", "iblockId", "*"],
      filter: { iblockId: 23, "=xmlId": KEY },
    }],
    ...{ field: "xmlId", found: { products: [{ id: 7 }] }, none: { products: [] }, result: { element: { id: 7 } } },
  },
  {
    add: ["sale.order.add", { fields: { lid: "s1" } }],
    find: ["sale.order.list", { order: { id: "ASC" }, filter: { "=xmlId": KEY } }],
    ...{ field: "xmlId", found: { orders: [{ id: 7 }] }, none: { orders: [] }, result: { order: { id: 7 } } },
  },
];

describe("b24.addOnce()", () => {
  for (const { add: [method, params], find, field, found, none, result } of CASES) {
    const of = params.entityTypeId === undefined ? "" : ` of type ${params.entityTypeId}`;
    it(`writes the key into ${field} of ${method}${of}, and finds it there`, async () => {
      const made = counter();
      made.answer = (sent) => ok(sent.method === method ? result : none);
      assert.deepEqual(await made.b24.addOnce(method, params, { key: KEY }), result);
      const fields = { ...params.fields as object, [field]: KEY };
      assert.deepEqual(made.sent.map(({ method, params }) => [method, params]), [find, [method, {
        ...params,
        fields,
      }]]);
      made.answer = () => ok(found);
      assert.deepEqual(await made.b24.addOnce(method, params, { key: KEY }), result);
      assert.equal(made.sent.length, 3);
    });
  }

  it("refuses what cannot be found again, and what it would write over, before it asks anything", async () => {
    const made = counter();
    const fields = { TITLE: "a" };
    const WRONG: readonly (readonly [method: string, params: object, key: string, message: RegExp])[] = [
      [
        "crm.quote.add",
        { fields },
        KEY,
        /cannot call "crm\.quote\.add" once: .* wanted crm\.item\.add, crm\.lead\.add/,
      ],
      ["crm.item.add", { entityTypeId: 7, fields }, KEY, /type 7 once: .* wanted an entityTypeId of 1, 2, 3, 4, 31/],
      ["crm.item.add", { fields }, KEY, /type undefined once/],
      ["crm.deal.add", {}, KEY, /params\.fields is undefined, wanted an object/],
      ["crm.deal.add", { fields: { ORIGIN_ID: "x" } }, KEY, /has ORIGIN_ID, which is where the key is written/],
      ["crm.deal.add", { fields }, "", /cannot call crm\.deal\.add with key "", wanted/],
      ["crm.deal.add", { fields }, "a b", /key "a b", wanted 1 to 255 printable ASCII characters, no spaces/],
      ["crm.deal.add", { fields }, "x".repeat(256), /wanted 1 to 255 printable ASCII characters, no spaces/],
    ];
    for (const [method, params, key, message] of WRONG) {
      const error = await failure(made, made.b24.addOnce(method, params, { key }), { name: "TypeError" });
      assert.match(error.message, message);
    }
    assert.equal(made.sent.length, 0);
  });

  it("adds nothing if it cannot look", async () => {
    const made = counter();
    const add = (): Promise<unknown> => made.b24.addOnce("crm.deal.add", { fields: {} }, { key: KEY });
    made.answer = () => refusal(403, "insufficient_scope");
    await failure(made, add(), { b24Code: "insufficient_scope" });
    for (const result of [true, null, { items: [] }]) {
      made.answer = () => ok(result);
      await failure(made, add(), { b24Code: "ERROR_UNEXPECTED_ANSWER", method: "crm.deal.list" });
    }
    assert.deepEqual([...new Set(made.sent.map(({ method }) => method))], ["crm.deal.list"]);
  });

  it("is not repeated by itself: the first call may still be running", async () => {
    const made = counter();
    made.answer = ({ method }) => method === "crm.deal.list" ? ok([]) : refusal(500, "INTERNAL_SERVER_ERROR");
    await failure(made, made.b24.addOnce("crm.deal.add", { fields: {} }, { key: KEY }), { mayHaveTakenEffect: true });
    assert.equal(made.sent.length, 2);
  });

  it("adds no deal twice, at whatever operation a process crashes", async () => {
    let bitrix24: FakeBitrix24;
    let portal: FakePortal;
    let deals: Record<string, unknown>[] = [];
    await crashEverywhere({
      reset: () => {
        deals = [];
        bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
        portal = bitrix24.portal({ memberId: MEMBER_ID });
        portal.data("crm.deal.list", deals);
        portal.answer("crm.deal.add", ({ params: { fields } }) => {
          deals.push({ ID: String(deals.length + 1), ...fields as object });
          return deals.length;
        });
      },
      events: [() => portal.install(2), () => portal.update(3)],
      fetch: (request) => bitrix24.fetch(request),
      app: (environment) =>
        createApp({ ...environment, clientId: CLIENT_ID }).use(applicationToken()).use(rest({ attempts: 1 }))
          .upgrade("3", async ({ b24, step }) => {
            const ids = await step("deals", async ({ idempotencyKey }) => {
              const add = (TITLE: string): Promise<number> =>
                b24.addOnce("crm.deal.add", { fields: { TITLE } }, { key: `${idempotencyKey}-${TITLE}` });
              return [await add("a"), await add("b")];
            });
            assert.deepEqual(ids, [1, 2]);
          }),
      check: () => assert.deepEqual(deals.map(({ TITLE }) => TITLE), ["a", "b"]),
      pairs: 5,
    });
  });
});
