import assert from "node:assert/strict";
import { B24Error, RetryAfterError } from "@b24/onappupdate";
import { UnreachableError } from "@b24/onappupdate/errors";
import { type B24Command, type B24Outcome, resultOf } from "@b24/onappupdate/rest";
// @ts-types="@types/qs"
import qs from "qs";
import { describe, it } from "../../../support/test.ts";
import { assertNoToken, type Counter, counter, failure, NOW, ok, refusal, type Sent } from "./_rest.ts";

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

  it("refers to results of earlier commands of the same request", async () => {
    const made = counter();
    const linked: Record<string, B24Command> = {
      user: ["user.current"],
      department: ["department.get", { ID: resultOf("user", "UF_DEPARTMENT", 0), at: [new Date(0), resultOf("user")] }],
    };
    made.answer = (sent) => batch(sent, (_method, params) => ({ result: params }));
    assert.deepEqual(codes(await made.b24.batch(linked)).department, {
      ID: "$result[user][UF_DEPARTMENT][0]",
      at: ["1970-01-01T00:00:00.000Z", "$result[user]"],
    });
    assert.equal(made.sent.length, 1);
    for (
      const commands of [
        { user: ["user.current"], ...numbered(49, "a.a"), department: linked.department! },
        { department: linked.department!, user: ["user.current"] },
        { user: ["user.get", { ID: resultOf("user") }] },
        // Alone: a batch would change it.
        { user: ["user.get", { NAME: "$result[x]" }], department: linked.department! },
      ] as Record<string, B24Command>[]
    ) {
      await failure(made, made.b24.batch(commands), { name: "TypeError" });
    }
    assert.equal(made.sent.length, 1);
  });

  it("refuses references that Bitrix24 would read otherwise, or that are outside of a batch", async () => {
    const made = counter();
    for (const key of ["", "a b", "a]", "a[", "\t"]) {
      assert.throws(() => resultOf("user", key), { name: "TypeError" });
      assert.throws(() => resultOf(key), { name: "TypeError" });
    }
    await failure(made, made.b24.call("user.get", { ID: resultOf("user") }), { name: "TypeError" });
    assert.deepEqual(made.sent, []);
  });

  for (
    const value of ["$result[a][b]", "x $Result[a]", "$next[a]", "a $total-of[x] b", "$error\u00a0[x]", "$results[1]"]
  ) {
    it(`delivers ${JSON.stringify(value)} as it is, in the order of the commands`, async () => {
      const made = counter();
      made.answer = (sent) =>
        sent.method === "batch"
          ? batch(sent, (method) => ({ result: method }))
          : ok(sent.params, { total: 3, next: 2 });
      const params = { fields: { TITLE: value } };
      const done = await made.b24.batch({ a: ["a.a"], b: ["b.b"], c: ["c.add", params], d: ["d.d"] });
      assert.deepEqual(codes(done), { a: "a.a", b: "b.b", c: params, d: "d.d" });
      assert.deepEqual(done.c, { ok: true, value: params, next: 2, total: 3 });
      assert.deepEqual(made.sent.map(({ method }) => method), ["batch", "c.add", "batch"]);
    });
  }

  it("delivers 51 commands, one of which has a customer's text like a reference, and has a request of its own", async () => {
    const made = counter();
    made.answer = (sent) =>
      sent.method === "batch" ? batch(sent, (_method, params) => ({ result: params.TITLE })) : ok("alone");
    const title = (i: number): string => i === 30 ? "Re: $result[me][ID]" : `deal ${i}`;
    const commands = Object.fromEntries(
      Array.from({ length: 51 }, (_, i): [string, B24Command] => [`c${i}`, ["crm.deal.add", { TITLE: title(i) }]]),
    );
    const done = codes(await made.b24.batch(commands));
    assert.deepEqual(Object.values(done), Array.from({ length: 51 }, (_, i) => i === 30 ? "alone" : title(i)));
    assert.deepEqual(made.sent.map(({ method }) => method), ["batch", "crm.deal.add", "batch"]);
    assert.deepEqual(made.sent[1]?.params, { TITLE: title(30) });
  });

  it("sends a command with auth_connector by a request of its own: Bitrix24 ignores it in a batch", async () => {
    const made = counter();
    made.answer = (sent) => sent.method === "batch" ? batch(sent, (method) => ({ result: method })) : ok(true);
    const bind = { event: "ONCRMDEALADD", event_type: "offline", auth_connector: "us" };
    const done = await made.b24.batch({
      a: ["a.a"],
      b: ["event.bind", bind],
      c: ["c.c", { x: { auth_connector: 1 } }],
    });
    assert.deepEqual(codes(done), { a: "a.a", b: true, c: "c.c" });
    assert.deepEqual(made.sent.map(({ method }) => method), ["batch", "event.bind", "batch"]);
    assert.deepEqual(made.sent[1]?.params, bind);
  });

  for (const value of ["$result", "costs $5 [net]", "a[b]", "$ [x]", "$1[x]"]) {
    it(`sends ${JSON.stringify(value)} in a batch`, async () => {
      const made = counter();
      made.answer = (sent) => batch(sent, (_method, params) => ({ result: params }));
      assert.deepEqual(codes(await made.b24.batch({ a: ["a.add", { value }] })), { a: { value } });
    });
  }

  it("stops at the failure of a command with a request of its own, and keeps its error", async () => {
    const made = counter();
    made.answer = (sent) => sent.method === "batch" ? batch(sent, () => ({ result: 1 })) : refusal(400, "ERROR_CORE");
    const commands: Record<string, B24Command> = { a: ["a.a"], b: ["b.add", { T: "$result[x]" }], c: ["c.c"] };
    assert.deepEqual(codes(await made.b24.batch(commands, { halt: true })), {
      a: 1,
      b: "ERROR_CORE",
      c: "BATCH_HALTED",
    });
    assert.deepEqual(codes(await made.b24.batch(commands)), { a: 1, b: "ERROR_CORE", c: 1 });
    made.answer = (sent) =>
      sent.method === "batch" ? batch(sent, () => ({ result: 1 })) : refusal(503, "OVERLOAD_LIMIT");
    assert.deepEqual(codes(await made.b24.batch({ b: commands.b! })), { b: "OVERLOAD_LIMIT" });
  });

  it("returns next and total of lists", async () => {
    const made = counter();
    made.answer = () =>
      ok({
        result: { a: [], b: [], c: [] },
        result_error: [],
        result_next: { a: 50, c: "broken" },
        result_total: { a: 120, b: "7", c: null },
      });
    assert.deepEqual(await made.b24.batch({ a: ["a.list"], b: ["b.list"], c: ["c.list"] }), {
      a: { ok: true, value: [], next: 50, total: 120 },
      b: { ok: true, value: [], total: 7 },
      c: { ok: true, value: [] },
    });
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
    const linked = await made.b24.batch({ a: ["a.a"], b: ["a.b"], c: ["a.c", { id: resultOf("b") }] });
    assert.deepEqual(codes(linked), { a: 1, b: "ACCESS_DENIED", c: 1 });
    const halted = await made.b24.batch({ a: ["a.a"], b: ["a.b"], c: ["a.c"] }, { halt: true });
    assert.deepEqual(codes(halted), { a: 1, b: "ACCESS_DENIED", c: "BATCH_HALTED" });
    assert.equal(made.sent.length, 2);
  });
});

describe("b24.batch() and operating time", () => {
  const limited = {
    error: "OPERATION_TIME_LIMIT",
    error_description: "Method is blocked due to operation time limit.",
  };
  const seconds = NOW / 1000;
  /** Answers where `b.list` is refused at first; `resetAt` in seconds from now is in the `time` of what ran. */
  const refusedOnce = (made: Counter, resetAt: number): void => {
    let refusals = 0;
    made.answer = (sent) => {
      const time = { operating: 481, operating_reset_at: seconds + resetAt };
      if (sent.method !== "batch") return ok([], { time });
      return batch(sent, (method) => method === "b.list" && ++refusals === 1 ? limited : { result: method });
    };
  };

  it("runs only what was refused again, when the answer before has said", async () => {
    const made = counter();
    refusedOnce(made, 20);
    await made.b24.call("b.list");
    const done = await made.b24.batch({ a: ["a.add"], b: ["b.list"], c: ["c.add"] });
    assert.deepEqual(codes(done), { a: "a.add", b: "b.list", c: "c.add" });
    assert.deepEqual(made.sent.slice(1).map(({ params }) => Object.keys(params.cmd as object)), [["a", "b", "c"], [
      "b",
    ]]);
    assert(made.waits.length === 1 && made.waits[0]! >= 20_000 && made.waits[0]! <= 22_000, `${made.waits}`);
  });

  it("reads the time of each method in result_time", async () => {
    const made = counter();
    made.answer = (_sent, count) => {
      const time = (resetAt: number): object => ({ operating: 1, operating_reset_at: seconds + resetAt });
      const result_time = { a: time(300), b: time(10) };
      if (count === 1) return ok({ result: { a: 1, b: 2 }, result_error: [], result_time });
      if (count === 2) return refusal(429, "OPERATION_TIME_LIMIT");
      return ok("done");
    };
    await made.b24.batch({ a: ["a.list"], b: ["b.list"] });
    assert.equal(await made.b24.call("B.list"), "done");
    assert(made.waits.length === 1 && made.waits[0]! >= 10_000 && made.waits[0]! <= 11_000, `${made.waits}`);
  });

  it("has RetryAfterError as the error of what would have to wait too long", async () => {
    const made = counter();
    refusedOnce(made, 300);
    await made.b24.call("b.list");
    const done = await made.b24.batch({ a: ["a.add"], b: ["b.list"] });
    assert(done.a.ok && !done.b.ok && done.b.error instanceof RetryAfterError);
    assert(done.b.error.afterMs >= 300_000 && done.b.error.afterMs <= 330_001, `${done.b.error.afterMs}`);
    assert.deepEqual([made.sent.length, made.waits], [2, []]);
  });

  it("does not repeat commands whose results others use, and says how long to wait", async () => {
    const made = counter();
    refusedOnce(made, 20);
    const done = await made.b24.batch({ b: ["b.list"], c: ["c.add", { id: resultOf("b") }] });
    assert(!done.b.ok && done.b.error instanceof B24Error);
    assert.deepEqual([done.b.error.limit, done.b.error.retryAfterMs, made.sent.length], ["operating_time", 600_000, 1]);
  });
});

describe("b24.call() and operating time", () => {
  it("waits as long as the last answer of the method has said", async () => {
    const made = counter();
    made.answer = (_sent, count) => {
      const time = { operating: 470, operating_reset_at: NOW / 1000 + 25 };
      return count === 1 ? ok("first", { time }) : count === 2 ? refusal(429, "OPERATION_TIME_LIMIT") : ok("done");
    };
    await made.b24.call("crm.deal.list");
    assert.equal(await made.b24.call("crm.deal.list"), "done");
    assert(made.waits.length === 1 && made.waits[0]! >= 25_000 && made.waits[0]! <= 27_500, `${made.waits}`);
  });

  it("does not believe an answer whose time is over, nor one of another portal or method", async () => {
    const made = counter();
    made.answer = ({ method }) => {
      const time = { operating: 470, operating_reset_at: NOW / 1000 + 25 };
      return method === "b.list" ? refusal(429, "OPERATION_TIME_LIMIT") : ok("fine", { time });
    };
    await made.b24.call("a.list");
    for (const method of ["b.list", "a.list"]) {
      if (method === "a.list") {
        made.now += 30_000;
        made.answer = () => refusal(429, "OPERATION_TIME_LIMIT");
      }
      const error = await failure(made, made.b24.call(method), { name: "RetryAfterError" }) as RetryAfterError;
      assert(error.afterMs >= 60_000, `${error.afterMs}`);
    }
  });
});
