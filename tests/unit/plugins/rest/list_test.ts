import assert from "node:assert/strict";
import type { B24ListOptions } from "@b24/onappupdate/rest";
import { describe, it } from "../../../support/test.ts";
import { type Counter, counter, failure, ok, type Sent } from "./_rest.ts";

type Row = Readonly<Record<string, unknown>>;

/** Rows with these IDs. */
const rows = (count: number, field: string): Row[] =>
  Array.from({ length: count }, (_, i) => ({ [field]: String(3 * i + 1) }));

/** Answers by ID, 50 rows a page, as Bitrix24 does with `start: -1`. */
function byId(all: readonly Row[], by: string, field: string, key?: string): (sent: Sent) => Response {
  return ({ params }) => {
    const { filter, order, start } = params as { filter: Record<string, number>; order: unknown; start: unknown };
    assert.deepEqual([order, start], [{ [by]: "ASC" }, -1]);
    const page = all.filter((row) => Number(row[field]) > (filter[`>${by}`] ?? 0)).slice(0, 50);
    return ok(key === undefined ? page : { [key]: page }, { total: 0 });
  };
}

/** Answers by place, 50 rows a page, with the place of the next one. */
function byStart(all: readonly Row[], key?: string): (sent: Sent) => Response {
  return ({ params }) => {
    const start = Number(params.start);
    const page = all.slice(start, start + 50);
    const next = start + 50 < all.length ? { next: start + 50 } : {};
    return ok(key === undefined ? page : { [key]: page }, { total: all.length, ...next });
  };
}

async function all(made: Counter, method: string, params?: object, options?: B24ListOptions): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const row of made.b24.list(method, params, options)) found.push(row);
  return found;
}

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
    it(`pages ${method} by its ID, without counting`, async () => {
      for (const count of [0, 1, 49, 50, 51, 150]) {
        const made = counter();
        const expected = rows(count, field);
        made.answer = byId(expected, by, field, key);
        assert.deepEqual(await all(made, method), expected);
        assert.equal(made.sent.length, Math.floor(count / 50) + 1);
      }
    });
  }

  it("pages by start if the filter has LOGIC", async () => {
    const made = counter();
    const expected = rows(120, "id");
    made.answer = byStart(expected, "items");
    const filter = { logic: "OR", 0: { title: "a" }, 1: { title: "b" } };
    assert.deepEqual(await all(made, "crm.item.list", { entityTypeId: 2, filter }), expected);
    assert.deepEqual(
      made.sent.map(({ params }) => [params.filter, params.start]),
      [0, 50, 100].map((at) => [filter, at]),
    );
  });

  for (const [method, key] of [["user.get"], ["lists.element.get"], ["crm.type.list", "types"]] as const) {
    it(`pages ${method} by start and next`, async () => {
      for (const count of [0, 50, 51, 150]) {
        const made = counter();
        const expected = rows(count, "ID");
        made.answer = byStart(expected, key);
        assert.deepEqual(await all(made, method, { FILTER: { ACTIVE: true } }), expected);
        assert.deepEqual(
          made.sent.map(({ params }) => params),
          Array.from({ length: Math.max(1, Math.ceil(count / 50)) }, (_, i) => ({
            FILTER: { ACTIVE: true },
            start: 50 * i,
          })),
        );
      }
    });
  }

  it("pages by ID or by start if `by` says so", async () => {
    const made = counter();
    made.answer = byId(rows(70, "id"), "id", "id", "products");
    assert.equal((await all(made, "catalog.product.list", {}, { by: "id" })).length, 70);
    made.answer = byStart(rows(70, "ID"));
    assert.equal((await all(made, "crm.deal.list", {}, { by: "start" })).length, 70);
  });

  it("keeps the caller's filter and select", async () => {
    const made = counter();
    const params = { FILTER: { ">ID": 30, STAGE_ID: "NEW" }, select: ["TITLE"], order: { id: "asc" } };
    made.answer = ({ params }) => {
      const { FILTER, filter, select, order, start } = params as Record<string, Record<string, number>>;
      assert.deepEqual([filter, select, order, start], [undefined, ["TITLE", "ID"], { ID: "ASC" }, -1]);
      assert.equal(FILTER!.STAGE_ID, "NEW");
      return ok(rows(120, "ID").filter(({ ID }) => Number(ID) > FILTER![">ID"]!).slice(0, 50));
    };
    assert.deepEqual(await all(made, "crm.deal.list", params), rows(120, "ID").slice(10));
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
      made.answer = byStart(rows(60, "ID"));
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
    made.answer = byId(rows(150, "ID"), "ID", "ID");
    const list = made.b24.list("crm.deal.list");
    assert.equal(made.sent.length, 0);
    for await (const _row of list) break;
    assert.equal(made.sent.length, 1);
  });
});

describe("b24.page()", () => {
  it("continues at `next`, by ID and by start", async () => {
    const made = counter();
    made.answer = byId(rows(120, "ID"), "ID", "ID");
    const first = await made.b24.page<Row>("crm.deal.list");
    assert.deepEqual([first.items.length, first.next], [50, 148]);
    const second = await made.b24.page<Row>("crm.deal.list", {}, { after: first.next! });
    assert.deepEqual(second.items, rows(120, "ID").slice(50, 100));
    const last = await made.b24.page<Row>("crm.deal.list", {}, { after: second.next! });
    assert.deepEqual([last.items.length, last.next], [20, null]);
    made.answer = byStart(rows(60, "ID"));
    assert.equal((await made.b24.page("user.get")).next, 50);
    assert.deepEqual(await made.b24.page("user.get", {}, { after: 50 }), {
      items: rows(60, "ID").slice(50),
      next: null,
    });
  });
});
