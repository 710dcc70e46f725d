import assert from "node:assert/strict";
import { B24Error } from "@b24/onappupdate";
import { Refusal } from "../../../../src/testing/bitrix24/errors.ts";
import { listPage } from "../../../../src/testing/bitrix24/lists.ts";
import { describe, it } from "../../../support/test.ts";
import { all, answering, bigRows, commands, listing, type Row, rows, type Run } from "./_lists.ts";
import { counter, failure, ok, refusal } from "./_rest.ts";

const DEALS = "crm.deal.list";

/** A list that ends each page with these fields in place of `total` and `next`. */
const ending = (all: readonly Row[], end: (start: number, count: number) => object): Run => ({ start }) => {
  const from = Math.max(0, Number(start));
  const result = all.slice(from, from + 50);
  return { result, ...end(from, result.length) };
};

describe("b24.list() while rows change", () => {
  it("skips and doubles nothing by ID if rows are deleted and added in the middle of a batch", async () => {
    const made = counter();
    const deals: Row[] = rows(1000, "ID");
    const run = listing(deals, "ID");
    let pages = 0;
    made.answer = answering((params) => {
      if (++pages === 5) deals.splice(0, 120);
      if (pages === 7) deals.splice(400, 75);
      if (pages === 9) deals.push(...rows(1300, "ID").slice(1000));
      if (pages === 10) deals.splice(2, 0, { ID: "500.5" }, { ID: "601.5" });
      return run(params, DEALS);
    });
    const found = (await all<{ readonly ID: string }>(made, DEALS)).map(({ ID }) => Number(ID));
    assert.deepEqual(found, found.toSorted((a, b) => a - b));
    assert.equal(new Set(found).size, found.length);
    const kept = deals.map(({ ID }) => Number(ID)).filter((id) => Number.isInteger(id));
    assert.deepEqual(kept.filter((id) => !found.includes(id)), []);
    assert(made.sent.length <= 6, `${commands(made)}`);
  });

  it("reads rows that were added behind the counted ones, by start", async () => {
    const made = counter();
    const users: Row[] = rows(200, "ID");
    const run = listing(users, "ID");
    let pages = 0;
    made.answer = answering((params) => {
      if (++pages === 3) users.push(...rows(330, "ID").slice(200));
      return run(params, "user.get");
    });
    assert.deepEqual(await all(made, "user.get"), rows(330, "ID"));
    assert.deepEqual(commands(made), [0, 3, 3]);
  });

  it("may skip rows by start if others are deleted before them", async () => {
    const made = counter();
    const users: Row[] = rows(200, "ID");
    const run = listing(users, "ID");
    let pages = 0;
    made.answer = answering((params) => {
      if (++pages === 3) users.splice(0, 10);
      return run(params, "user.get");
    });
    const found = await all(made, "user.get");
    assert.equal(found.length, 190);
    assert.deepEqual(rows(200, "ID").slice(100, 110).filter(({ ID }) => found.some((row) => row.ID === ID)), []);
  });
});

describe("b24.list() of odd lists", () => {
  it("reads lists that answer total 50 and no next although there are more rows, as crm.address.list does", async () => {
    const addresses = Array.from({ length: 620 }, (_, i) => ({ TYPE_ID: 1, ENTITY_ID: i }));
    for (const end of [() => ({ total: 50 }), () => ({}), (_start: number, total: number) => ({ total })]) {
      const made = counter();
      made.answer = answering(ending(addresses, end));
      assert.deepEqual(await all(made, "crm.address.list"), addresses);
      assert.deepEqual(commands(made), [0, 0, 2, 4, 8]);
      let found: Row[] = [];
      for (let after: number | null = 0; after !== null;) {
        const { items, next }: { items: readonly Row[]; next: number | null } = await made.b24.page<Row>(
          "crm.address.list",
          {},
          { after },
        );
        found = [...found, ...items];
        after = next;
      }
      assert.deepEqual(found, addresses);
    }
  });

  it("ends a list of 50 rows of a method that does not know start", async () => {
    for (const end of [{}, { total: 50 }]) {
      const made = counter();
      made.answer = () => ok(rows(50, "ID"), end);
      assert.deepEqual(await all(made, "crm.status.list"), rows(50, "ID"));
      assert.equal(made.sent.length, 2);
      const { next } = await made.b24.page("crm.status.list");
      assert.deepEqual(await made.b24.page("crm.status.list", {}, { after: next! }), { items: [], next: null });
    }
  });

  it("ends with an empty page, whatever its next", async () => {
    const made = counter();
    made.answer = answering(({ start }) => {
      const result = rows(70, "ID").slice(Number(start)).slice(0, 50);
      return { result, next: Number(start) + 50 };
    });
    assert.deepEqual(await all(made, "some.list"), rows(70, "ID"));
    assert(made.sent.length <= 3, `${commands(made)}`);
    assert.equal((await made.b24.page("some.list", {}, { after: 100 })).next, null);
  });

  it("goes on after an empty page that is not the last of the counted rows, and skips it", async () => {
    const made = counter();
    const all_ = rows(200, "ID");
    made.answer = answering(({ start }) => {
      const from = Number(start);
      const result = from === 50 || from === 100 ? [] : all_.slice(from, from + 50);
      return { result, total: 200, ...(from < 150 ? { next: from + 50 } : {}) };
    });
    assert.deepEqual(await all(made, "some.list"), [...all_.slice(0, 50), ...all_.slice(150)]);
    assert.deepEqual(await made.b24.page("some.list", {}, { after: 50 }), { items: all_.slice(150), next: null });
  });

  it("fails if empty pages never end, however many rows Bitrix24 counts", async () => {
    const made = counter();
    made.answer = answering(({ start }) => {
      const from = Number(start);
      return { result: rows(70, "ID").slice(from, from + 50), next: from + 50, total: from + 51 };
    });
    let yielded = 0;
    const walk = async (): Promise<void> => {
      for await (const _row of made.b24.list("some.list")) yielded++;
    };
    const description = "the list does not end: the last 200 pages have no new row";
    await failure(made, walk(), { b24Code: "ERROR_UNEXPECTED_ANSWER", description });
    assert.equal(yielded, 70);
    await failure(made, made.b24.page("some.list", {}, { after: 100 }), { description });
    assert(made.sent.length < 420, `${made.sent.length}`);
  });

  it("fails if each page repeats the one before and has a next", async () => {
    const made = counter();
    made.answer = answering(({ start }) => ({ result: rows(50, "ID"), next: Number(start) + 50 }));
    await failure(made, all(made, "some.list"), {
      description: "the list does not end: the last 200 pages have no new row",
    });
    assert(made.sent.length <= 201, `${made.sent.length}`);
  });

  it("reads rows that are all alike, because only some of their fields are selected", async () => {
    const made = counter();
    const alike = Array.from({ length: 12_000 }, () => ({ STATUS: "NEW" }));
    made.answer = answering((params) => listPage({ rows: alike, key: undefined }, params));
    assert.deepEqual(await all(made, "some.list"), alike);
  });

  it("reads pages of other sizes", async () => {
    const made = counter();
    const expected = rows(130, "ID");
    made.answer = answering(({ start }) => {
      const [from, size] = [Number(start), Number(start) < 60 ? 20 : 25];
      const next = from + size < 130 ? { next: from + size } : {};
      return { result: expected.slice(from, from + size), total: 130, ...next };
    });
    assert.deepEqual(await all(made, "some.list"), expected);
    assert(made.sent.length <= 4, `${commands(made)}`);
  });

  it("reads lists by ID whose rows are a map", async () => {
    const made = counter();
    const run = listing(rows(180, "ID"), "ID");
    made.answer = answering((params) => {
      const { result, ...more } = run(params, DEALS);
      return { result: Object.fromEntries((result as Row[]).map((row) => [`${row.ID}0`, row])), ...more };
    });
    assert.deepEqual(await all(made, DEALS), rows(180, "ID"));
    assert.deepEqual(commands(made), [0, 0, 0, 0]);
  });

  it("rejects if a page by ID has rows of the page before", async () => {
    const made = counter();
    made.answer = (_sent, count) => ok(count === 1 ? rows(50, "ID") : rows(99, "ID").slice(49));
    await failure(made, all(made, DEALS), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
    await failure(made, made.b24.page(DEALS, {}, { after: 148 }), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
  });

  it("doubles and skips nothing, and goes on page by page, if references lead nowhere", async () => {
    const made = counter();
    const answer = answering(listing(rows(400, "ID"), "ID"));
    made.answer = (sent) => {
      const cmd = Object.entries((sent.params.cmd ?? {}) as Record<string, string>)
        .map(([name, query]) => [name, query.replaceAll(/%24result[^&]*/g, "")]);
      return answer({ ...sent, params: { ...sent.params, cmd: Object.fromEntries(cmd) } });
    };
    assert.deepEqual(await all(made, DEALS), rows(400, "ID"));
    assert.deepEqual(commands(made), [0, 8, 0, 0, 0, 0, 0, 0, 0]);
  });
});

describe("b24.list() and parameters that a batch would change", () => {
  const PARAMS: Readonly<Record<string, object>> = {
    "a string like a reference": { filter: { "=TITLE": "$result[page0][0][ID]" } },
    "a boolean": { filter: { "!CLOSED": true } },
    "an empty list": { filter: { "@CATEGORY_ID": [] } },
    "null": { filter: { "!LEAD_ID": null } },
    "brackets in a key": { filter: { "!LEAD[ID]": 1 } },
  };
  for (const [what, params] of Object.entries(PARAMS)) {
    it(`sends ${what} page by page, without counting`, async () => {
      const made = counter();
      const run = listing(rows(120, "ID"), "ID");
      made.answer = answering(({ filter, ...others }) => {
        const { [">ID"]: after = 0, ...own } = filter as Record<string, unknown>;
        assert.deepEqual(own, (params as { filter: object }).filter);
        return run({ ...others, filter: { ">ID": after } }, DEALS);
      });
      assert.deepEqual(await all(made, DEALS, params), rows(120, "ID"));
      assert.deepEqual(made.sent.map(({ method, params }) => [method, params.start]), Array(3).fill([DEALS, -1]));
    });
  }

  it("sends all else in batches: strings, numbers, lists and maps of them, and empty parameters", async () => {
    const made = counter();
    made.answer = answering(listing(rows(150, "ID"), "ID"));
    const params = { filter: { ">=ID": 1, "@ID": rows(150, "ID").map(({ ID }) => ID) }, select: ["ID"], order: {} };
    assert.deepEqual(await all(made, DEALS, params), rows(150, "ID"));
    assert.deepEqual(commands(made), [0, 3]);
  });
});

describe("b24.list() and failures", () => {
  it("takes only as many pages as fit below 3 MiB, or three quarters of answerBytes", async () => {
    for (
      const [options, sizes] of [[{}, [0, 12, 12, 12, 4]], [{ answerBytes: 2 ** 21 }, [
        0,
        6,
        6,
        6,
        6,
        6,
        6,
        4,
      ]]] as const
    ) {
      const made = counter(options);
      const large = rows(2000, "ID").map((row) => ({ ...row, TEXT: "ä".repeat(2600) }));
      made.answer = answering(listing(large, "ID"));
      assert.equal((await all(made, DEALS)).length, 2000);
      assert.deepEqual(commands(made), sizes);
    }
  });

  it("halves a batch whose answer is too large, down to calls", async () => {
    const made = counter({ answerBytes: 300_000 });
    const growing = rows(300, "ID").map((row, i) => ({
      ...row,
      TEXT: "x".repeat(i < 50 ? 10 : i < 200 ? 2000 : 5500),
    }));
    made.answer = answering(listing(growing, "ID"));
    assert.deepEqual(await all(made, DEALS), growing);
    assert.deepEqual(commands(made), [0, 6, 3, 0, 0, 0, 0, 0, 0].slice(0, made.sent.length));
    // A page that is too large by itself remains an error.
    made.answer = answering(listing(bigRows(300, "ID"), "ID"));
    const small = counter({ answerBytes: 40_000 });
    small.answer = made.answer;
    await failure(small, all(small, DEALS), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
  });

  for (
    const [what, fail] of [
      ["ends in an error", () => refusal(500, "INTERNAL_SERVER_ERROR")],
      ["takes too long for its proxy", () => new Response("<h1>504</h1>", { status: 504 })],
      ["breaks its connection", () => Promise.reject(new TypeError("fetch failed"))],
    ] as const
  ) {
    it(`halves a batch if the portal ${what}`, async () => {
      const made = counter();
      const answer = answering(listing(rows(1000, "ID"), "ID"));
      made.answer = (sent) => Object.keys(sent.params.cmd ?? {}).length > 8 ? fail() : answer(sent);
      assert.deepEqual(await all(made, DEALS), rows(1000, "ID"));
      assert.deepEqual(commands(made), [0, 20, 10, 5, 5, 5, 5]);
      assert.deepEqual(made.waits, []);
    });
  }

  it("repeats a call at the end of the halving, and then gives up", async () => {
    const made = counter();
    const answer = answering(listing(rows(200, "ID"), "ID"));
    made.answer = (sent, count) => count === 1 ? answer(sent) : refusal(500, "INTERNAL_SERVER_ERROR");
    await failure(made, all(made, DEALS), { b24Code: "INTERNAL_SERVER_ERROR" });
    assert.deepEqual(commands(made), [0, 4, 2, 0, 0, 0]);
  });

  it("reads without the number of rows if counting them takes too long, in batches that double", async () => {
    const made = counter();
    const run = listing(rows(1000, "ID"), "ID");
    made.answer = answering((params) => {
      if (Number(params.start) >= 0) throw new Refusal("INTERNAL_SERVER_ERROR");
      return run(params, DEALS);
    });
    assert.deepEqual(await all(made, DEALS), rows(1000, "ID"));
    assert.deepEqual(commands(made), [0, 0, 0, 2, 4, 8, 16]);
  });

  it("goes on page by page as another user if the best one may not read the list", async () => {
    const made = counter();
    made.users = 2;
    const run = listing(rows(200, "ID"), "ID");
    made.answer = (sent) =>
      answering((params) => {
        if (sent.auth === made.tokens[0]) throw new Refusal("ACCESS_DENIED");
        return run(params, DEALS);
      })(sent);
    assert.deepEqual(await all(made, DEALS), rows(200, "ID"));
    assert.equal(commands(made).filter((size) => size > 0).length, 1);
  });

  it("yields the pages before a failure, and throws what a call throws", async () => {
    const made = counter();
    const run = listing(rows(300, "ID"), "ID");
    let pages = 0;
    made.answer = answering((params) => {
      if (++pages > 3) throw new Refusal("ERROR_CORE", { description: "Not now" });
      return run(params, DEALS);
    });
    const found: unknown[] = [];
    await assert.rejects(async () => {
      for await (const row of made.b24.list(DEALS)) found.push(row);
    }, (error) => error instanceof B24Error && error.description === "Not now" && error.method === DEALS);
    assert.equal(found.length, 150);
  });

  it("waits for operating time, and goes on in batches", async () => {
    const made = counter();
    const run = listing(rows(600, "ID"), "ID");
    let pages = 0;
    made.answer = answering((params) => {
      if (++pages === 4 || pages === 5 || pages === 6) throw new Refusal("OPERATION_TIME_LIMIT");
      return run(params, DEALS);
    });
    assert.deepEqual(await all(made, DEALS), rows(600, "ID"));
    assert.deepEqual(commands(made), [0, 12, 10, 0, 0, 9]);
    // `operating_reset_at` of the pages before.
    assert(made.waits.length === 1 && made.waits[0]! >= 20_000 && made.waits[0]! <= 22_000, `${made.waits}`);
  });
});
