import assert from "node:assert/strict";
import type { B24ListOptions } from "@b24/onappupdate/rest";
import { describe, it } from "../../../support/test.ts";
import { listPage } from "../../../../src/testing/bitrix24/lists.ts";
import { all, answering, bigRows, commands, listing, type Row, rows } from "./_lists.ts";
import { counter, failure, ok } from "./_rest.ts";

/** Method, name of the ID in the filter and in rows, and where the rows are. */
const BY_ID: readonly (readonly [method: string, by: string, field: string, key?: string])[] = [
  ...["lead", "deal", "contact", "company", "quote", "activity", "product"].map((name) =>
    [`crm.${name}.list`, "ID", "ID"] as const
  ),
  ["crm.item.list", "id", "id", "items"],
  ["tasks.task.list", "ID", "id", "tasks"],
];

describe("b24.list()", () => {
  for (const [method, by, field, key] of BY_ID) {
    it(`pages ${method} by its ID, and counts its rows once`, async () => {
      // Commands of each request. The last page of a list by ID is one that is not full.
      const requests = [[0, [0]], [1, [0]], [49, [0]], [50, [0, 0]], [51, [0, 0]], [120, [0, 2]], [150, [
        0,
        3,
      ]]] as const;
      for (const [count, sizes] of requests) {
        const made = counter();
        const expected = rows(count, field);
        let counted = 0;
        const run = listing(expected, field, by, key);
        made.answer = answering((params, method) => {
          if (Number(params.start) >= 0) counted++;
          return run(params, method);
        });
        assert.deepEqual(await all(made, method), expected);
        assert.deepEqual([commands(made), counted], [sizes, 1]);
        assert.deepEqual(made.sent[0]?.params.order, { [by]: "ASC" });
      }
    });
  }

  const LARGE: typeof BY_ID = [...BY_ID, ["user.get", "start", "ID"], ["crm.type.list", "start", "id", "types"]];
  for (const [method, by, field, key] of LARGE) {
    it(`reads 10,000 rows of ${method} in 5 requests and 2.5 s, if each takes 500 ms`, async () => {
      const made = counter();
      // Rows of 1 kB once for each way to page: it takes long to encode them.
      const isFirstOfItsWay = LARGE.find(([, other]) => (other === "start") === (by === "start"))![0] === method;
      const expected = isFirstOfItsWay ? bigRows(10_000, field) : rows(10_000, field);
      const answer = answering(listing(expected, field, by, key));
      made.answer = async (sent) => {
        await made.takes(500);
        return await answer(sent);
      };
      assert.deepEqual(await all(made, method), expected);
      assert.deepEqual(commands(made), by === "start" ? [0, 50, 50, 50, 49] : [0, 50, 50, 50, 50]);
      assert.equal(made.timer.now(), 2500);
    });
  }

  it("pages by start if the filter has LOGIC", async () => {
    const made = counter();
    const expected = rows(120, "id");
    made.answer = answering(({ start }) => listPage({ rows: expected, key: "items" }, { start }));
    const filter = { logic: "OR", 0: { title: "a" }, 1: { title: "b" } };
    assert.deepEqual(await all(made, "crm.item.list", { entityTypeId: 2, filter }), expected);
    assert.deepEqual(made.sent[0]?.params, { entityTypeId: 2, filter, start: 0 });
    const query = "crm.item.list?entityTypeId=2&filter[0][title]=a&filter[1][title]=b&filter[logic]=OR&start=";
    const cmd = Object.values(made.sent[1]?.params.cmd as Record<string, string>).map(decodeURIComponent);
    assert.deepEqual(cmd, [`${query}50`, `${query}100`]);
  });

  it("pages tasks by start if the filter has ::LOGIC, which a bound on the ID would become part of", async () => {
    const made = counter();
    const run = listing(rows(120, "id"), "id", "ID", "tasks");
    made.answer = answering((params) => {
      const { filter, ...others } = params as { readonly filter: object };
      // One of the alternatives is true for all tasks, so a bound on the ID changes nothing.
      assert.deepEqual(Object.keys(filter), ["::LOGIC", "::SUBFILTER-1", "::SUBFILTER-2"]);
      return run(others, "tasks.task.list");
    });
    const filter = { "::LOGIC": "OR", "::SUBFILTER-1": { STATUS: 2 }, "::SUBFILTER-2": { "!STATUS": 2 } };
    assert.deepEqual(await all(made, "tasks.task.list", { filter }), rows(120, "id"));
    assert.deepEqual(made.sent[0]?.params, { filter, start: 0 });
    assert.equal((await made.b24.page("tasks.task.list", { filter }, { after: 50 })).next, 100);
  });

  for (const [method, key] of [["user.get"], ["lists.element.get"], ["crm.type.list", "types"]] as const) {
    it(`pages ${method} by start and next`, async () => {
      // After 50 rows without `next`, there might be more: see crm.address.list.
      for (
        const [count, sizes] of [[0, [0]], [49, [0]], [50, [0, 0]], [51, [0, 0]], [100, [0, 0]], [150, [0, 2]]] as const
      ) {
        const made = counter();
        const expected = rows(count, "ID");
        made.answer = answering(listing(expected, "ID", "ID", key));
        assert.deepEqual(await all(made, method, { FILTER: { ">ID": -1 } }), expected);
        assert.deepEqual(commands(made), sizes);
        assert.deepEqual(made.sent[0]?.params, { FILTER: { ">ID": -1 }, start: 0 });
      }
    });
  }

  it("pages by ID or by start if `by` says so", async () => {
    const made = counter();
    made.answer = answering(listing(rows(70, "id"), "id", "id", "products"));
    assert.equal((await all(made, "catalog.product.list", {}, { by: "id" })).length, 70);
    assert.deepEqual(made.sent[1]?.params.filter, { ">id": 148 });
    made.answer = answering(listing(rows(70, "ID"), "ID"));
    assert.equal((await all(made, "crm.deal.list", {}, { by: "start" })).length, 70);
    assert.equal(made.sent.at(-1)?.params.start, 50);
  });

  it("keeps the caller's filter and select", async () => {
    const made = counter();
    const params = { FILTER: { ">ID": 30, STAGE_ID: "NEW" }, select: ["TITLE"], order: { id: "asc" } };
    made.answer = answering((params) => {
      const { FILTER, filter, select, order } = params as Record<string, Record<string, number>>;
      assert.deepEqual([filter, select, order], [undefined, ["TITLE", "ID"], { ID: "ASC" }]);
      assert.equal(FILTER!.STAGE_ID, "NEW");
      return {
        result: rows(120, "ID").filter(({ ID }) => Number(ID) > Number(FILTER![">ID"])).slice(0, 50),
        total: 110,
      };
    });
    assert.deepEqual(await all(made, "crm.deal.list", params), rows(120, "ID").slice(10));
    assert.deepEqual(commands(made), [0, 2]);
    assert.deepEqual(params, { FILTER: { ">ID": 30, STAGE_ID: "NEW" }, select: ["TITLE"], order: { id: "asc" } });
  });

  for (const select of [["*"], ["ID", "TITLE"], []]) {
    it(`does not change select ${JSON.stringify(select)}`, async () => {
      const made = counter();
      made.answer = () => ok([]);
      await all(made, "crm.deal.list", { select });
      assert.deepEqual(made.sent[0]?.params.select, select);
    });
  }

  for (const order of [{ ID: "DESC" }, { TITLE: "ASC" }, { ID: "ASC", TITLE: "ASC" }]) {
    it(`pages by start if the caller orders by ${JSON.stringify(order)}`, async () => {
      const made = counter();
      made.answer = answering(({ start }) => listPage({ rows: rows(60, "ID"), key: undefined }, { start }));
      assert.equal((await all(made, "crm.deal.list", { order })).length, 60);
      assert.deepEqual(made.sent.map(({ params }) => [params.order, params.start]), [[order, 0], [order, 50]]);
    });
  }

  const SHAPES: Readonly<Record<string, readonly [result: unknown, count: number, options?: B24ListOptions]>> = {
    "an empty list": [[], 0],
    "an empty map": [{}, 0],
    "a list under a key": [{ tasks: [{}, {}] }, 2],
    "the only list of several values": [{ items: [{}], count: 1, more: {} }, 1],
    "a list with gaps": [{ 3: {}, 7: {} }, 2],
    "the list under its key": [{ items: [{}], others: [{}, {}] }, 2, { key: "others" }],
    "a map under its key": [{ templates: { 1: {}, 2: {} }, more: [] }, 2, { key: "templates" }],
    "no list, but an empty one instead of a map with a key": [[], 0, { key: "items" }],
  };
  for (const [what, [result, count, options]] of Object.entries(SHAPES)) {
    it(`reads ${what} as rows`, async () => {
      const made = counter();
      made.answer = () => ok(result);
      assert.equal((await all(made, "some.list", {}, options)).length, count);
    });
  }

  for (const result of [null, true, "x", { a: [], b: [] }, { a: {}, b: 1 }]) {
    it(`refuses ${JSON.stringify(result)} as rows`, async () => {
      const made = counter();
      made.answer = () => ok(result);
      await failure(made, all(made, "some.list"), { b24Code: "ERROR_UNEXPECTED_ANSWER", method: "some.list" });
    });
  }

  it("refuses a key that the result lacks", async () => {
    const made = counter();
    made.answer = () => ok({ items: [] });
    await failure(made, all(made, "some.list", {}, { key: "tasks" }), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
  });

  it("rejects if a method ignores filter, order and start", async () => {
    const made = counter();
    made.answer = () => ok(rows(50, "ID"));
    await failure(made, all(made, "crm.deal.list"), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
    assert.equal(made.sent.length, 2);
    made.answer = () => ok(rows(50, "NAME"));
    await failure(made, all(made, "crm.deal.list"), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
    for (const next of [50, 0, -1, "x", {}]) {
      made.answer = () => ok(rows(50, "ID"), { next });
      await failure(made, all(made, "user.get"), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
    }
    made.answer = () => ok(Array.from({ length: 50 }, () => null));
    await failure(made, all(made, "crm.deal.list"), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
  });

  it("calls nothing before the first row is requested, and nothing after the last one", async () => {
    const made = counter();
    made.answer = answering(listing(rows(150, "ID"), "ID"));
    const list = made.b24.list("crm.deal.list");
    assert.equal(made.sent.length, 0);
    for await (const _row of list) break;
    assert.equal(made.sent.length, 1);
  });
});

describe("b24.page()", () => {
  it("continues at `next`, by ID and by start", async () => {
    const made = counter();
    made.answer = answering(listing(rows(120, "ID"), "ID"));
    const first = await made.b24.page<Row>("crm.deal.list");
    assert.deepEqual([first.items.length, first.next], [50, 148]);
    const second = await made.b24.page<Row>("crm.deal.list", {}, { after: first.next! });
    assert.deepEqual(second.items, rows(120, "ID").slice(50, 100));
    const last = await made.b24.page<Row>("crm.deal.list", {}, { after: second.next! });
    assert.deepEqual([last.items.length, last.next], [20, null]);
    assert(made.sent.every(({ params }) => params.start === -1));
    made.answer = answering(listing(rows(60, "ID"), "ID"));
    assert.equal((await made.b24.page("user.get")).next, 50);
    assert.deepEqual(await made.b24.page("user.get", {}, { after: 50 }), {
      items: rows(60, "ID").slice(50),
      next: null,
    });
  });
});
