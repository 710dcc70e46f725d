import assert from "node:assert/strict";
import type { B24Command } from "@b24/onappupdate/rest";
import { Refusal } from "../../../../src/testing/bitrix24/errors.ts";
import { describe, it } from "../../../support/test.ts";
import { answering, commands, listing, type Row, rows } from "./_lists.ts";
import { counter, failure, refusal } from "./_rest.ts";

const update = ({ ID }: Row): B24Command => ["crm.deal.update", { id: ID }];

describe("b24.batchEach()", () => {
  it("runs a command for each item, 50 in a request, and resolves to the results in their order", async () => {
    const made = counter();
    made.answer = answering(({ id }) => ({ result: Number(id) }));
    const deals = rows(120, "ID");
    const indexes: number[] = [];
    const done = await made.b24.batchEach<Row, number>(deals, (deal, index) => {
      indexes.push(index);
      return update(deal);
    });
    assert.deepEqual(done, deals.map(({ ID }) => Number(ID)));
    assert.deepEqual(commands(made), [50, 50, 20]);
    assert.deepEqual(indexes, deals.map((_, i) => i));
  });

  it("updates 10,000 deals in 200 requests, and in 78 s at Bitrix24's rate", async () => {
    const made = counter();
    made.answer = answering(() => ({ result: true }));
    await made.b24.batchEach(rows(10_000, "ID"), update);
    assert.equal(made.sent.length, 200);
    assert(made.timer.now() >= 77_000 && made.timer.now() <= 78_000, `${made.timer.now()}`);
  });

  it("reads a list only as far as the next request needs it", async () => {
    const made = counter();
    const run = listing(rows(130, "ID"), "ID");
    made.answer = answering((params, method) => method === "crm.deal.list" ? run(params, method) : { result: true });
    const done = await made.b24.batchEach(made.b24.list<Row>("crm.deal.list"), update);
    assert.equal(done.length, 130);
    const sent = made.sent.map(({ method, params }) =>
      method === "batch" ? Object.values(params.cmd as Record<string, string>)[0]!.split("?")[0] : method
    );
    assert.deepEqual(sent, [...["crm.deal.list", "crm.deal.update", "crm.deal.list"], ...Array(2).fill(sent[1])]);
  });

  it("sends nothing if there are no items", async () => {
    const made = counter();
    assert.deepEqual(await made.b24.batchEach([], update), []);
    assert.equal(made.sent.length, 0);
  });

  it("refuses unknown and invalid options", async () => {
    const made = counter();
    for (const options of [{ onFailure: 7 }, { halt: true }, { timeoutMs: 0 }]) {
      await failure(made, made.b24.batchEach(rows(1, "ID"), update, options as object), { name: "TypeError" });
    }
    assert.equal(made.sent.length, 0);
  });

  it("rejects with the first failure, and sends no further request", async () => {
    const made = counter();
    made.answer = answering(({ id }) => {
      if (Number(id) >= 181) throw new Refusal("ERROR_CORE", { description: `no deal ${id}` });
      return { result: true };
    });
    await failure(made, made.b24.batchEach(rows(200, "ID"), update), {
      b24Code: "ERROR_CORE",
      description: "no deal 181",
      method: "crm.deal.update",
    });
    assert.deepEqual(commands(made), [50, 50]);
  });

  it("passes each failure to onFailure, and goes on", async () => {
    const made = counter();
    made.answer = answering(({ id }) => {
      if (["7", "154"].includes(String(id))) throw new Refusal("ERROR_CORE");
      return { result: true };
    });
    const failed: unknown[] = [];
    const done = await made.b24.batchEach(rows(60, "ID"), update, {
      onFailure: (error, { ID }) => failed.push([error.name, ID]),
    });
    assert.deepEqual(failed, [["B24Error", "7"], ["B24Error", "154"]]);
    assert.deepEqual(
      done.map((value) => value ?? "failed"),
      rows(60, "ID").map(({ ID }) => {
        return ["7", "154"].includes(String(ID)) ? "failed" : true;
      }),
    );
  });

  it("passes options to its requests, and rejects if a request fails as a whole", async () => {
    const made = counter();
    const ok = answering(() => ({ result: true }));
    made.answer = (sent, count) => count === 1 ? refusal(500, "INTERNAL_SERVER_ERROR") : ok(sent);
    assert.deepEqual(await made.b24.batchEach(rows(1, "ID"), update, { repeatable: true }), [true]);
    made.answer = () => refusal(500, "INTERNAL_SERVER_ERROR");
    await failure(made, made.b24.batchEach(rows(1, "ID"), update), { b24Code: "INTERNAL_SERVER_ERROR" });
    const stop = new AbortController();
    stop.abort(new Error("enough"));
    await failure(made, made.b24.batchEach(rows(1, "ID"), update, { signal: stop.signal }), { message: "enough" });
  });
});
