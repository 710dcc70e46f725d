import assert from "node:assert/strict";
import { type Answer, type FakeSetup, fakeSetup, read } from "../../../support/fake.ts";
import { describe, it } from "../../../support/test.ts";

const ADD = "api/tasks.task.add";

interface Sent {
  readonly method?: string;
  readonly key?: string;
  readonly token?: string;
  readonly params?: object;
  readonly type?: string;
  readonly body?: string;
}

interface Setup extends FakeSetup {
  /** Sets the clock. */
  readonly setNow: (now: number) => void;
  readonly token: string;
  readonly send: (sent?: Sent) => Promise<Answer & { readonly headers: Headers }>;
  /** Fails if the call is not refused with this code. */
  readonly refused: (sent: Sent, status: number, code: string) => Promise<void>;
}

/** Returns a fake with a method that counts its calls, and functions that call it. */
function setup(): Setup {
  const made = fakeSetup({}, { scope: ["task"] });
  let tasks = 0;
  made.portal.answer(ADD, () => ({ item: { id: ++tasks } }));
  const token = made.portal.accessToken();
  const send: Setup["send"] = async (sent = {}) => {
    const { method = ADD, key, params = { fields: { title: "a" } }, type = "application/json" } = sent;
    const headers = new Headers({ "content-type": type, authorization: `Bearer ${sent.token ?? token}` });
    if (key !== undefined) headers.set("idempotency-key", key);
    const init = { method: "POST", headers, body: sent.body ?? JSON.stringify(params) };
    const response = await made.bitrix24.fetch(`https://example.bitrix24.de/rest/${method}`, init);
    return { ...await read(response.clone()), headers: response.headers };
  };
  const refused: Setup["refused"] = async (sent, status, code) => {
    const answered = await send(sent);
    assert.deepEqual([answered.status, answered.body.error.code], [status, `BITRIX_REST_V3_EXCEPTION_${code}`]);
    assert.equal(typeof answered.body.error.message, "string");
  };
  return { ...made, setNow: (now: number) => void (made.now = now), token, send, refused };
}

describe("fakeBitrix24() as REST 3.0 of a portal", () => {
  it("accepts the token in a header or in the body, and answers with the time", async () => {
    const { send, bitrix24, token } = setup();
    const { status, body } = await send();
    assert.deepEqual([status, body.result, typeof body.time.operating_reset_at], [200, { item: { id: 1 } }, "number"]);
    const inBody = await bitrix24.fetch(`https://example.bitrix24.de/rest/${ADD}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ fields: {}, auth: token }),
    });
    assert.equal(inBody.status, 200);
    assert.deepEqual(bitrix24.calls().map(({ method, params, userId }) => [method, params, userId]), [
      [ADD, { fields: { title: "a" } }, 1],
      [ADD, { fields: {} }, 1],
    ]);
  });

  it("refuses with codes of its own, and with one for whatever is wrong with the token", async () => {
    const { refused, portal, call } = setup();
    await refused({ token: "of-nobody" }, 401, "ACCESSDENIEDEXCEPTION");
    await refused({ method: "api/tasks.task.nothing" }, 404, "METHODNOTFOUNDEXCEPTION");
    await refused({ body: "fields[title]=a" }, 400, "INVALIDJSONEXCEPTION");
    await refused({ type: "text/plain" }, 400, "INVALIDJSONEXCEPTION");
    portal.revoke("task");
    await refused({}, 403, "INSUFFICIENTSCOPEEXCEPTION");
    portal.grant("task");
    portal.fail("BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION", { method: ADD });
    await refused({}, 429, "RATELIMITEXCEPTION");
    portal.expireTokens();
    await refused({}, 401, "ACCESSDENIEDEXCEPTION");
    const ofVersion2 = await call("tasks.task.add");
    assert.deepEqual([ofVersion2.status, ofVersion2.body.error], [404, "ERROR_METHOD_NOT_FOUND"]);
    assert(!(await call("methods")).body.result.includes(ADD));
  });

  it("answers a repeated call from the first one: of the same user, method and key, within 24 hours", async () => {
    const { send, refused, portal, setNow, now } = setup();
    const first = await send({ key: "k" });
    assert.equal(first.headers.get("idempotency-key"), "k");
    portal.expireTokens();
    const token = portal.accessToken();
    const again = await send({ key: "k", token });
    assert.deepEqual(again.body, first.body);
    assert.deepEqual([again.headers.get("idempotent-replayed"), first.headers.get("idempotent-replayed")], [
      "true",
      null,
    ]);
    assert.deepEqual(portal.calls().map(({ idempotencyKey, isReplayed }) => [idempotencyKey, isReplayed]), [
      ["k", undefined],
      ["k", true],
    ]);
    await refused({ key: "k", token, params: { fields: { title: "b" } } }, 422, "IDEMPOTENCYKEYREUSEDEXCEPTION");
    for (const key of ["", "x".repeat(256)]) await refused({ key, token }, 400, "INVALIDIDEMPOTENCYKEYEXCEPTION");
    assert.equal((await send({ key: "k", token: portal.accessToken(2) })).body.result.item.id, 2);
    setNow(now + 24 * 3_600_000);
    assert.equal((await send({ key: "k", token: portal.accessToken() })).body.result.item.id, 3);
  });

  it("forgets the key of a call that failed, and remembers that of one whose answer was lost", async () => {
    const { send, portal } = setup();
    portal.fail("BITRIX_REST_V3_EXCEPTION_INTERNAL_INTERNALEXCEPTION", { method: ADD });
    assert.equal((await send({ key: "k" })).status, 500);
    portal.lose({ method: ADD, after: "effect" });
    await assert.rejects(send({ key: "k" }), { name: "TypeError" });
    assert.equal((await send({ key: "k" })).body.result.item.id, 1);
    portal.answer(ADD, () => Response.json({ error: { code: "X", message: "" } }, { status: 400 }));
    assert.equal((await send({ key: "other" })).status, 400);
    portal.answer(ADD, () => Response.json({ result: "own" }));
    assert.equal((await send({ key: "other" })).body.result, "own");
    portal.answer(ADD, () => "never run");
    assert.equal((await send({ key: "other" })).body.result, "own");
  });
});
