import assert from "node:assert/strict";
import { B24Error } from "@b24/onappupdate";
import { UnreachableError } from "@b24/onappupdate/errors";
import type { B24Command, B24Outcome } from "@b24/onappupdate/rest";
// @ts-types="@types/qs"
import qs from "qs";
import { describe, it } from "../../../support/test.ts";
import { assertNoToken, counter, failure, ok, refusal, type Sent } from "./_rest.ts";

/** The portal's answer to one command: a result, or an error. */
type Act = (method: string, params: Readonly<Record<string, unknown>>, auth: string) => { result: unknown } | object;

/** As Bitrix24 does a batch: commands one by one, and empty maps as lists. */
function batch({ params, auth, method }: Sent, act: Act): Response {
  assert.equal(method, "batch");
  const { cmd, halt } = params as { cmd: Record<string, string>; halt: unknown };
  const [result, errors] = [new Map<string, unknown>(), new Map<string, unknown>()];
  for (const [name, text] of Object.entries(cmd)) {
    const [called = "", query = ""] = text.split(/\?(.*)/s);
    const done = act(called, qs.parse(query) as Record<string, unknown>, String(auth));
    if ("result" in done) result.set(name, done.result);
    else errors.set(name, done);
    if (halt === 1 && errors.size > 0) break;
  }
  const php = (map: Map<string, unknown>): unknown => map.size === 0 ? [] : Object.fromEntries(map);
  return ok({ result: php(result), result_error: php(errors), result_total: [], result_next: [], result_time: [] });
}

const error = (code: string): object => ({ error: code, error_description: `about ${code}` });
const numbered = (count: number, method: string): Record<string, B24Command> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`c${i}`, [method, { n: i }]]));
const codes = (outcomes: Readonly<Record<string, B24Outcome<unknown>>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(outcomes).map((
      [name, one],
    ) => [name, one.ok ? one.value : (one.error as B24Error).b24Code ?? one.error.code]),
  );

describe("b24.batch()", () => {
  it("sends parameters as PHP reads them", async () => {
    const made = counter();
    const seen: unknown[] = [];
    made.answer = (sent) => batch(sent, (method, params) => ({ result: seen.push([method, params]) }));
    await made.b24.batch({
      plain: ["user.current"],
      nested: ["crm.deal.add", { fields: { TITLE: "A & B = ä [x]?", PHONE: [{ VALUE: "+1" }, { VALUE: "2" }] } }],
      kinds: {
        method: "crm.deal.update",
        params: { yes: true, no: false, none: null, gone: undefined, empty: [], map: {}, n: 1.5, at: new Date(0) },
      },
      order: ["task.commentitem.add", [7, { POST_MESSAGE: "text" }]],
      cut: ["task.commentitem.add", [7, { POST_MESSAGE: "well done 👍".slice(0, -1) }]],
    });
    assert.deepEqual(seen, [
      ["user.current", {}],
      ["crm.deal.add", { fields: { TITLE: "A & B = ä [x]?", PHONE: [{ VALUE: "+1" }, { VALUE: "2" }] } }],
      ["crm.deal.update", { yes: "1", no: "0", none: "", n: "1.5", at: "1970-01-01T00:00:00.000Z" }],
      ["task.commentitem.add", { 0: "7", 1: { POST_MESSAGE: "text" } }],
      ["task.commentitem.add", { 0: "7", 1: { POST_MESSAGE: "well done \ufffd" } }],
    ]);
    assert.deepEqual(made.sent[0]?.params.halt, 0);
    assertNoToken(made);
  });

  it("returns the result or the error of each command, and reads empty maps", async () => {
    const made = counter();
    made.answer = (sent) =>
      batch(sent, (method) => method === "a.bad" ? error("ERROR_CORE") : { result: method === "a.null" ? null : [] });
    const done = await made.b24.batch({ good: ["a.good"], bad: ["a.bad"], none: ["a.null"] });
    assert.deepEqual(codes(done), { good: [], bad: "ERROR_CORE", none: null });
    assert(!done.bad.ok);
    assert.equal(done.bad.error.message, "a.bad answered 200 ERROR_CORE: about ERROR_CORE");
    assert.deepEqual(codes(await made.b24.batch({ good: ["a.good"] })), { good: [] });
    assert.deepEqual(codes(await made.b24.batch({ bad: ["a.bad"] })), { bad: "ERROR_CORE" });
  });

  it("accepts any names", async () => {
    const made = counter();
    made.answer = (sent) => batch(sent, (method) => ({ result: method }));
    const names = ["0", "1", "length", "constructor", "__proto__", "a b", "ä"];
    const commands = Object.fromEntries(names.map((name, i) => [name, [`m.m${i}`]])) as Record<string, B24Command>;
    const done = await made.b24.batch(commands);
    assert.deepEqual(Object.entries(done).map(([name, one]) => [name, one.ok && one.value]), [
      ...names.map((name, i) => [name, `m.m${i}`]),
    ]);
  });

  it("reads results of commands 0, 1 and so on, which are sent as a list", async () => {
    const made = counter();
    made.answer = () => ok({ result: ["a", "b"], result_error: [] });
    assert.deepEqual(codes(await made.b24.batch({ 0: ["a.a"], 1: ["a.b"] })), { 0: "a", 1: "b" });
  });

  it("sends nothing if there are no commands", async () => {
    const made = counter();
    assert.deepEqual(await made.b24.batch({}), {});
    assert.deepEqual(made.asked, []);
  });

  for (const [count, sizes] of [[50, [50]], [51, [50, 1]], [120, [50, 50, 20]]] as const) {
    it(`sends ${count} commands in ${sizes.length} requests`, async () => {
      const made = counter();
      made.answer = (sent) => batch(sent, (_method, { n }) => n === "50" ? error("ERROR_CORE") : { result: n });
      const done = await made.b24.batch(numbered(count, "crm.deal.update"));
      assert.deepEqual(made.sent.map(({ params }) => Object.keys(params.cmd as object).length), sizes);
      assert.deepEqual(
        codes(done),
        Object.fromEntries(
          Array.from({ length: count }, (_, i) => [`c${i}`, i === 50 ? "ERROR_CORE" : String(i)]),
        ),
      );
    });
  }

  it("stops at the first failure with halt, also between requests", async () => {
    const made = counter();
    made.answer = (sent) => batch(sent, (_method, { n }) => n === "60" ? error("ERROR_CORE") : { result: n });
    const done = await made.b24.batch(numbered(130, "crm.deal.update"), { halt: true });
    assert.equal(made.sent.length, 2);
    const kinds = Object.values(codes(done));
    assert.deepEqual(kinds.slice(0, 60), Array.from({ length: 60 }, (_, i) => String(i)));
    assert.equal(kinds[60], "ERROR_CORE");
    assert.deepEqual(kinds.slice(61), Array.from({ length: 69 }, () => "BATCH_HALTED"));
    assert.equal(Object.keys(done).length, 130);
  });

  for (const halt of [false, true]) {
    it(`returns an error if the answer to a command is missing ${halt ? "with" : "without"} halt`, async () => {
      const made = counter();
      made.answer = () => ok({ result: { a: 1 }, result_error: [] });
      const done = await made.b24.batch({ a: ["a.a"], b: ["a.b"] }, { halt });
      assert.deepEqual(codes(done), { a: 1, b: "ERROR_UNEXPECTED_ANSWER" });
    });
  }

  it("reads errors of any shape", async () => {
    const made = counter();
    made.answer = () => ok({ result: { a: 1 }, result_error: { a: "broken", b: null, c: { error: "" } } });
    const done = await made.b24.batch({ a: ["a.a"], b: ["a.b"], c: ["a.c"] });
    assert.deepEqual(codes(done), { a: "UNKNOWN_ERROR", b: "UNKNOWN_ERROR", c: "UNKNOWN_ERROR" });
  });

  for (const result of [null, true, [], { result: {} }, { result: {}, result_error: "x" }]) {
    it(`refuses the answer ${JSON.stringify(result)}`, async () => {
      const made = counter();
      made.answer = () => ok(result);
      await failure(made, made.b24.batch({ a: ["a.a"] }), { b24Code: "ERROR_UNEXPECTED_ANSWER", method: "batch" });
    });
  }

  it("rejects when the request as a whole fails", async () => {
    const made = counter();
    made.answer = () => refusal(403, "insufficient_scope");
    await failure(made, made.b24.batch({ a: ["a.a"] }), { b24Code: "insufficient_scope", blockedOn: "scope" });
  });

  it("keeps the outcomes so far if a later request fails", async () => {
    const failures = {
      insufficient_scope: () => refusal(403, "insufficient_scope"),
      unreachable: () => Promise.reject(new TypeError("connection refused")),
    };
    for (const [code, fail] of Object.entries(failures)) {
      const made = counter();
      made.answer = (sent, count) => count === 1 ? batch(sent, () => ({ result: 1 })) : fail();
      const done = await made.b24.batch(numbered(120, "crm.deal.add"));
      const kinds = Array.from({ length: 120 }, (_, i) => i < 50 ? 1 : i < 100 ? code : "BATCH_HALTED");
      assert.deepEqual(Object.values(codes(done)), kinds);
      // Adds are not repeated, and what comes after is not begun.
      assert.equal(made.sent.length, 2);
      assertNoToken(made);
    }
  });

  it("keeps the outcomes so far if no other user can be found", async () => {
    const made = counter();
    made.users = 2;
    const act: Act = (method) => method === "a.may" ? { result: 1 } : error("ACCESS_DENIED");
    made.answer = (sent, count) => count === 1 ? batch(sent, act) : Promise.reject(new TypeError("connection refused"));
    const commands: Record<string, B24Command> = { a: ["a.may"], b: ["b.may.not"] };
    assert.deepEqual(codes(await made.b24.batch(commands)), { a: 1, b: "unreachable" });

    made.answer = (sent) => batch(sent, act);
    Object.assign(made.recovery, { otherUser: () => Promise.reject(new UnreachableError("no OAuth host answers")) });
    assert.deepEqual(codes(await made.b24.batch(commands)), { a: 1, b: "ACCESS_DENIED" });
  });

  it("never quotes a token in errors of commands", async () => {
    const made = counter();
    made.answer = ({ auth }) =>
      ok({ result: [], result_error: { a: { error: "ERROR_CORE", error_description: `${auth}` } } });
    const done = await made.b24.batch({ a: ["a.a"] });
    assert(!done.a.ok);
    assertNoToken(made, done.a.error);
  });

  it("refuses a batch in a batch and malformed method names before it sends anything", async () => {
    const made = counter();
    for (const method of ["batch", "Batch", "profile?auth=1", "../app"]) {
      await failure(made, made.b24.batch({ a: ["a.a"], b: [method] }), { name: "TypeError" });
    }
    assert.deepEqual(made.asked, []);
  });

  it("links commands of one request, and refuses links across requests", async () => {
    const made = counter();
    const linked: Record<string, B24Command> = {
      user: ["user.current"],
      department: ["department.get", { ID: "$result[user][UF_DEPARTMENT][0]" }],
    };
    made.answer = (sent) => batch(sent, (_method, params) => ({ result: params }));
    assert.deepEqual(codes(await made.b24.batch(linked)).department, { ID: "$result[user][UF_DEPARTMENT][0]" });
    await failure(made, made.b24.batch({ ...numbered(49, "a.a"), ...linked }), { name: "TypeError" });
    assert.equal(made.sent.length, 1);
  });

  it("is repeated after an ambiguous failure if all its commands only read", async () => {
    const made = counter();
    made.answer = (sent, count) =>
      count % 2 === 1 ? refusal(500, "INTERNAL_SERVER_ERROR") : batch(sent, () => ({ result: 1 }));
    assert.deepEqual(codes(await made.b24.batch({ a: ["a.get"], b: ["b.list"] })), { a: 1, b: 1 });
    await failure(made, made.b24.batch({ a: ["a.get"], b: ["b.add"] }), { b24Code: "INTERNAL_SERVER_ERROR" });
    made.sent.length = 0;
    assert.deepEqual(codes(await made.b24.batch({ b: ["b.update"] }, { repeatable: true })), { b: 1 });
  });

  it("repeats as other users only the commands that were denied", async () => {
    const made = counter();
    made.users = 3;
    const may = ["a.all", "a.second", "a.third"];
    made.answer = (sent) =>
      batch(
        sent,
        (method) =>
          may.indexOf(method) <= made.tokens.indexOf(String(sent.auth)) && may.includes(method)
            ? { result: method }
            : error("ACCESS_DENIED"),
      );
    const done = await made.b24.batch({ a: ["a.all"], b: ["a.second"], c: ["a.third"], d: ["a.nobody"] });
    assert.deepEqual(codes(done), { a: "a.all", b: "a.second", c: "a.third", d: "ACCESS_DENIED" });
    assert.deepEqual(made.sent.map(({ params }) => Object.keys(params.cmd as object)), [
      ["a", "b", "c", "d"],
      ["b", "c", "d"],
      ["c", "d"],
    ]);
    assert(!done.d.ok && done.d.error instanceof B24Error);
    assert.equal(done.d.error.blockedOn, "administrator");
  });

  it("does not repeat linked commands as another user", async () => {
    const made = counter();
    made.users = 3;
    made.answer = (sent) => batch(sent, (method) => method === "a.b" ? error("ACCESS_DENIED") : { result: 1 });
    const linked = await made.b24.batch({ a: ["a.a"], b: ["a.b"], c: ["a.c", { id: "$result[b]" }] });
    assert.deepEqual(codes(linked), { a: 1, b: "ACCESS_DENIED", c: 1 });
    const halted = await made.b24.batch({ a: ["a.a"], b: ["a.b"], c: ["a.c"] }, { halt: true });
    assert.deepEqual(codes(halted), { a: 1, b: "ACCESS_DENIED", c: "BATCH_HALTED" });
    assert.equal(made.sent.length, 2);
  });
});
