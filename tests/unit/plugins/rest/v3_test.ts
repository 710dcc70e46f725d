import assert from "node:assert/strict";
import { B24Error, createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type B24, rest } from "@b24/onappupdate/rest";
import { crashEverywhere, type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { runInStep } from "../../../../src/upgrade/current_step.ts";
import type { StepScope } from "../../../../src/upgrade/steps.ts";
import { CLIENT_ID, MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { assertNoToken, type Counter, counter, ENDPOINT, failure, NOW, ok } from "./_rest.ts";

const ADD = "tasks.task.add";
const TASK = { fields: { title: "Check the deals", responsibleId: 1 } };

/** Returns an error answer of REST 3.0. */
function refusedV3(status: number, code: string, more: object = {}): Response {
  return Response.json({ error: { code: `BITRIX_REST_V3_EXCEPTION_${code}`, message: `about ${code}`, ...more } }, {
    status,
  });
}

/** Runs `work` as one attempt at a step. */
function inStep<T>(work: () => T, idempotencyKey = "the-key-of-the-step"): T {
  const scope: StepScope = { idempotencyKey, attempt: 1, fencingToken: 1, signal: new AbortController().signal };
  return runInStep(scope, work);
}

/** Returns the keys of all requests. */
const keys = (made: Counter): (string | null)[] => made.sent.map(({ headers }) => headers.get("idempotency-key"));

describe("b24.v3.call()", () => {
  it("posts JSON to /rest/api/, with the token in a header, and resolves to the result", async () => {
    const made = counter();
    made.answer = () => ok({ item: { id: 42 } });
    assert.deepEqual(await made.b24.v3.call(ADD, TASK), { item: { id: 42 } });
    const [sent] = made.sent;
    assert.deepEqual([sent!.url, sent!.http, sent!.redirect, sent!.contentType], [
      `${ENDPOINT}api/${ADD}`,
      "POST",
      "manual",
      "application/json",
    ]);
    assert.deepEqual([sent!.params, sent!.auth], [TASK, undefined]);
    assert.equal(sent!.headers.get("authorization"), `Bearer ${made.tokens[0]}`);
    assert.deepEqual(keys(made), [null]);
  });

  it("refuses batch and malformed names, and names itself to who calls b24.call with api/", async () => {
    const made = counter();
    for (const method of ["batch", "", "api/tasks.task.get", "a..b"]) {
      await failure(made, made.b24.v3.call(method), { name: "TypeError" });
    }
    const error = await failure(made, made.b24.call("api/tasks.task.get"), { name: "TypeError" });
    assert.match(error.message, /b24\.v3\.call\(\)/);
    assert.equal(made.sent.length, 0);
  });

  it("refreshes the token pair after ACCESSDENIEDEXCEPTION with 401, and repeats with the same key and body", async () => {
    const made = counter();
    made.answer = (_sent, count) => count === 1 ? refusedV3(401, "ACCESSDENIEDEXCEPTION") : ok({ item: { id: 1 } });
    await made.b24.v3.call(ADD, TASK, { idempotencyKey: "once" });
    assert.deepEqual(made.asked, ["get", "refresh 1"]);
    assert.deepEqual(keys(made), ["once", "once"]);
    assert.deepEqual(made.sent.map(({ headers }) => headers.get("authorization")), [
      `Bearer ${made.tokens[0]}`,
      `Bearer ${made.tokens[1]}`,
    ]);
    assert.deepEqual(made.sent[0]!.params, made.sent[1]!.params);
  });

  it("repeats as another user after ACCESSDENIEDEXCEPTION with 403", async () => {
    const made = counter();
    made.users = 2;
    made.answer = (_sent, count) => count === 1 ? refusedV3(403, "ACCESSDENIEDEXCEPTION") : ok({});
    await made.b24.v3.call(ADD, TASK);
    assert.deepEqual(made.asked, ["get", "other user than 1"]);
  });

  it("waits after RATELIMITEXCEPTION as after OPERATION_TIME_LIMIT", async () => {
    const made = counter();
    made.answer = (_sent, count) => {
      const time = { operating: 481, operating_reset_at: NOW / 1000 + 20 };
      return count === 2 ? refusedV3(429, "RATELIMITEXCEPTION") : ok({}, { time });
    };
    await made.b24.v3.call(ADD, TASK);
    await made.b24.v3.call(ADD, TASK);
    assert(made.waits.length === 1 && made.waits[0]! >= 20_000 && made.waits[0]! <= 22_000, `${made.waits}`);
  });

  it("throws errors that say which fields are invalid, and what the portal needs", async () => {
    const made = counter();
    const validation = [{ field: "fields.title", message: "is required" }, { field: "id", message: "is no number" }];
    made.answer = () => refusedV3(400, "VALIDATION_REQUESTVALIDATIONEXCEPTION", { validation });
    const error = await failure(made, made.b24.v3.call(ADD, TASK), { status: 400, method: ADD, isFinal: false });
    assert(error instanceof B24Error);
    assert.equal(
      error.description,
      "about VALIDATION_REQUESTVALIDATIONEXCEPTION; fields.title: is required; id: is no number",
    );
    made.answer = () => refusedV3(400, "ENTITYNOTFOUNDEXCEPTION", { validation: "x" });
    await failure(made, made.b24.v3.call(ADD, TASK), { description: "about ENTITYNOTFOUNDEXCEPTION" });
    made.answer = () => refusedV3(403, "INSUFFICIENTSCOPEEXCEPTION");
    await failure(made, made.b24.v3.call(ADD, TASK), { blockedOn: "scope" });
    made.answer = () => refusedV3(422, "IDEMPOTENCYKEYREUSEDEXCEPTION");
    await failure(made, made.b24.v3.call(ADD, TASK), { isFinal: true });
  });

  it("never quotes the token", async () => {
    const made = counter();
    made.answer = ({ headers }) => refusedV3(400, "X", { message: `you sent ${headers.get("authorization")}` });
    assertNoToken(made, await failure(made, made.b24.v3.call(ADD, TASK), { name: "B24Error" }));
  });

  it("is repeated after an ambiguous failure only if it reads, also with a key: both might run at the same time", async () => {
    const made = counter();
    const once = (count: number): Response =>
      count === 1 ? refusedV3(500, "INTERNAL_INTERNALEXCEPTION") : ok({ items: [] });
    made.answer = (_sent, count) => once(count);
    await made.b24.v3.call("main.eventlog.tail");
    assert.equal(made.sent.length, 2);
    made.answer = () => once(1);
    await failure(made, inStep(() => made.b24.v3.call(ADD, TASK)), { mayHaveTakenEffect: true });
    assert.equal(made.sent.length, 3);
  });
});

describe("b24.v3.call() and Idempotency-Key", () => {
  it("has a key in a step, the same in each attempt, and another for each method, body, step and repeated call", async () => {
    const made = counter();
    const attempt = async (): Promise<void> => {
      await made.b24.v3.call(ADD, TASK);
      await made.b24.v3.call(ADD, { fields: { title: "Another" } });
      await made.b24.v3.call("tasks.task.update", TASK);
      await made.b24.v3.call(ADD, TASK);
    };
    await inStep(attempt);
    const first = keys(made);
    assert.equal(new Set(first).size, 4);
    for (const key of first) assert.match(key!, /^[\da-f]{64}$/);
    await inStep(attempt);
    assert.deepEqual(keys(made).slice(4), first);
    await inStep(attempt, "the-key-of-another-step");
    assert.equal(new Set(keys(made)).size, 8);
  });

  it("has none outside of steps, and none for what only reads", async () => {
    const made = counter();
    await made.b24.v3.call(ADD, TASK);
    for (const method of ["tasks.task.get", "tasks.task.list", "mail.message.search", "rest.documentation.openapi"]) {
      await inStep(() => made.b24.v3.call(method, { id: 1 }));
    }
    assert.deepEqual(keys(made), Array(5).fill(null));
  });

  it("has the key that the caller passes, if Bitrix24 would accept it", async () => {
    const made = counter();
    await inStep(() => made.b24.v3.call(ADD, TASK, { idempotencyKey: "x".repeat(255) }));
    assert.deepEqual(keys(made), ["x".repeat(255)]);
    for (const idempotencyKey of ["", "x".repeat(256), "ключ", "a\nb"]) {
      await failure(made, made.b24.v3.call(ADD, TASK, { idempotencyKey }), { name: "TypeError" });
    }
    assert.equal(made.sent.length, 1);
  });

  it("keeps the order of the calls", async () => {
    const made = counter();
    await inStep(() => Promise.all([made.b24.v3.call(ADD, TASK), made.b24.call("crm.deal.add", {})]));
    assert.deepEqual(made.sent.map(({ method }) => method), [`api/${ADD}`, "crm.deal.add"]);
  });

  it("creates no task twice, at whatever operation a process crashes", async () => {
    let bitrix24: FakeBitrix24;
    let portal: FakePortal;
    let tasks: unknown[] = [];
    const report = await crashEverywhere({
      reset: () => {
        tasks = [];
        bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: "secret-of-the-app-0123456789" });
        portal = bitrix24.portal({ memberId: MEMBER_ID, scope: ["task"] });
        portal.answer(`api/${ADD}`, ({ params }) => {
          tasks.push(params);
          return { item: { id: tasks.length } };
        });
      },
      events: [() => portal.install(2), () => portal.update(3)],
      fetch: (request) => bitrix24.fetch(request),
      app: (environment) => {
        const options = { clientId: CLIENT_ID, clientSecret: "secret-of-the-app-0123456789" };
        return createApp({ ...environment, ...options }).use(applicationToken()).use(rest())
          .upgrade("3", async ({ b24, step }) => {
            await step("tasks", async () => await addTasks(b24));
          });
      },
      check: () => assert.deepEqual(tasks, [TASK, TASK, { fields: { title: "Another" } }]),
      pairs: 20,
    });
    assert.deepEqual(report.unsafe.filter(({ call }) => call.includes("/rest/api/")), []);
    assert(report.executions > 20);
  });
});

/** Adds two equal tasks and another one. */
async function addTasks(b24: B24): Promise<void> {
  await b24.v3.call(ADD, TASK);
  await b24.v3.call(ADD, TASK);
  await b24.v3.call(ADD, { fields: { title: "Another" } });
}
