import assert from "node:assert/strict";
import { fakeAnswers } from "@b24/onappupdate/testing";
import { MEMBER_ID, OTHER_MEMBER_ID } from "../../../support/app.ts";
import { assertError, fakeSetup, NOW, read, TECH } from "../../../support/fake.ts";
import { describe, it } from "../../../support/test.ts";

/** Error codes and HTTP statuses. */
const ERRORS: readonly (readonly [code: string, status: number])[] = [
  ["expired_token", 401],
  ["invalid_token", 401],
  ["NO_AUTH_FOUND", 401],
  ["invalid_grant", 400],
  ["invalid_client", 400],
  ["WRONG_CLIENT", 200],
  ["NOT_INSTALLED", 401],
  ["PAYMENT_REQUIRED", 401],
  ["insufficient_scope", 403],
  ["invalid_scope", 403],
  ["user_access_error", 403],
  ["ACCESS_DENIED", 403],
  ["METHOD_CONFIRM_WAITING", 401],
  ["METHOD_CONFIRM_DENIED", 403],
  ["QUERY_LIMIT_EXCEEDED", 503],
  ["OPERATION_TIME_LIMIT", 429],
  ["OVERLOAD_LIMIT", 503],
  ["INTERNAL_SERVER_ERROR", 500],
  ["ERROR_UNEXPECTED_ANSWER", 500],
];

const REST = "https://example.bitrix24.de/rest";

describe("fakeBitrix24() as a portal's REST", () => {
  for (const [code, status] of ERRORS) {
    it(`answers ${code} with HTTP ${status}, once`, async () => {
      const { portal, call } = fakeSetup();
      portal.fail(code);
      const answered = await call("profile");
      assertError(answered, status, code);
      assert.notEqual(answered.body.error_description, "");
      assert.equal((await call("profile")).status, 200);
    });
  }

  it("fails only the given methods, the given number of times", async () => {
    const { portal, call } = fakeSetup();
    portal.fail("OPERATION_TIME_LIMIT", { method: "profile", times: 2, resetAt: 1_785_400_600 });
    assert.equal((await call("scope")).status, 200);
    const { body } = await call("profile");
    assert.deepEqual(body.time, { operating: 480, operating_reset_at: 1_785_400_600 });
    assertError(await call("profile"), 429, "OPERATION_TIME_LIMIT");
    assert.equal((await call("profile")).status, 200);
    portal.fail("PAYMENT_REQUIRED", { status: 402, description: "Pay!" });
    assertError(await call("profile"), 402, "PAYMENT_REQUIRED", "Pay!");
  });

  it("fails and loses calls after their effect", async () => {
    const { portal, call } = fakeSetup();
    const placement = { PLACEMENT: "LEFT_MENU", HANDLER: "https://app.example/1" };
    portal.fail("INTERNAL_SERVER_ERROR", { method: "placement.bind", after: "effect" });
    assertError(await call("placement.bind", placement), 500, "INTERNAL_SERVER_ERROR");
    assert.equal(portal.registrations().placements.length, 1);
    portal.lose({ after: "effect" });
    await assert.rejects(call("placement.bind", { ...placement, HANDLER: "https://app.example/2" }), {
      name: "TypeError",
    });
    assert.equal(portal.registrations().placements.length, 2);
    portal.lose();
    await assert.rejects(call("placement.bind", { ...placement, HANDLER: "https://app.example/3" }), {
      name: "TypeError",
    });
    assert.equal(portal.registrations().placements.length, 2);
  });

  it("decodes parameters of forms, JSON and the query, with PHP's brackets", async () => {
    const { bitrix24, portal } = fakeSetup();
    portal.answer("crm.deal.add", ({ params }) => params);
    const auth = portal.accessToken();
    const wanted = { fields: { TITLE: "Ha&lo", TAGS: ["a", "b"] } };
    const form = `fields[TITLE]=Ha%26lo&fields%5BTAGS%5D[]=a&fields[TAGS][]=b`;
    const send = async (url: string, type?: string, body?: string) => {
      const init = body === undefined ? {} : { method: "POST", body, headers: { "content-type": type! } };
      return (await read(await bitrix24.fetch(url, init))).body.result;
    };
    const FORM = "application/x-www-form-urlencoded";
    assert.deepEqual(await send(`${REST}/crm.deal.add.json`, FORM, `${form}&auth=${auth}`), wanted);
    assert.deepEqual(await send(`${REST}/crm.deal.add/?${form}&auth=${auth}`), wanted);
    assert.deepEqual(await send(`${REST}/crm.deal.add?auth=${auth}`, FORM, form), wanted);
    const json = JSON.stringify({ ...wanted, n: 1, auth });
    assert.deepEqual(await send(`${REST}/crm.deal.add`, "application/json", json), { ...wanted, n: 1 });
    const { body } = await read(
      await bitrix24.fetch(`${REST}/crm.deal.add?auth=${auth}`, {
        method: "POST",
        body: new URLSearchParams({ "a[b]": "1" }),
      }),
    );
    assert.deepEqual(body.result, { a: { b: "1" } });
  });

  it("returns the time of the call", async () => {
    const { call } = fakeSetup();
    const { body } = await call("profile");
    assert.deepEqual(body, {
      result: { ID: "1", ADMIN: true, NAME: "Ada", LAST_NAME: "", PERSONAL_GENDER: "", TIME_ZONE: "" },
      time: {
        start: NOW / 1000,
        finish: NOW / 1000,
        duration: 0,
        processing: 0,
        date_start: "2026-07-30T08:26:40+00:00",
        date_finish: "2026-07-30T08:26:40+00:00",
        operating_reset_at: NOW / 1000 + 600,
        operating: 0,
      },
    });
  });

  it("accepts only tokens of the app on this portal", async () => {
    const made = fakeSetup();
    const { bitrix24, portal, call } = made;
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.de" });
    other.install(1);
    assertError(await call("profile", { auth: "" }), 401, "NO_AUTH_FOUND", "Wrong authorization data");
    assertError(await call("profile", { auth: "of-nobody" }), 401, "invalid_token");
    assertError(await call("profile", { auth: other.accessToken() }), 401, "invalid_token");
    const auth = portal.accessToken();
    made.now += 3_600_000 - 1;
    assert.equal((await call("profile", { auth })).status, 200);
    made.now++;
    assertError(await call("profile", { auth }), 401, "expired_token", "The access token provided has expired.");
    const fresh = portal.accessToken();
    portal.expireTokens();
    assertError(await call("profile", { auth: fresh }), 401, "expired_token");
    portal.uninstall();
    assertError(await call("profile", { auth }), 401, "NOT_INSTALLED");
  });

  it("distinguishes portals with one host name by the token", async () => {
    const { bitrix24, portal, call } = fakeSetup();
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID });
    other.install(7);
    assert.equal((await call("app.info")).body.result.VERSION, 2);
    assert.equal((await call("app.info", { auth: other.accessToken() })).body.result.VERSION, 7);
    assert.deepEqual([portal.calls().length, other.calls().length], [1, 1]);
  });

  it("refuses calls while the app is not paid for", async () => {
    const { portal, call } = fakeSetup();
    const ended = new URLSearchParams(portal.stopPayment());
    assert.deepEqual([ended.get("event"), ended.get("data[PAYMENT_EXPIRED]")], ["ONAPPPAYMENT", "Y"]);
    assertError(await call("profile"), 401, "PAYMENT_REQUIRED", "Payment required");
    const paid = new URLSearchParams(portal.pay());
    assert.deepEqual([paid.get("data[PAYMENT_EXPIRED]"), paid.has("auth[refresh_token]")], ["N", false]);
    assert.equal((await call("profile")).status, 200);
  });

  it("refuses methods outside the scope, and unknown ones", async () => {
    const { portal, call } = fakeSetup();
    assertError(await call("bizproc.robot.list"), 403, "insufficient_scope");
    portal.grant("bizproc");
    assert.deepEqual((await call("bizproc.robot.list")).body.result, []);
    assert.deepEqual((await call("scope")).body.result, ["crm", "placement", "user_brief", "bizproc"]);
    portal.revoke("bizproc", "crm");
    assertError(await call("bizproc.robot.list"), 403, "insufficient_scope");
    assertError(await call("crm.automation.trigger.list"), 403, "insufficient_scope");
    assert.deepEqual(portal.state().scope, ["placement", "user_brief"]);
    assertError(await call("crm.deal.nothing"), 404, "ERROR_METHOD_NOT_FOUND", "Method not found!");
    assert.deepEqual((await call("method.get", { name: "crm.automation.trigger.add" })).body.result, {
      isExisting: true,
      isAvailable: false,
    });
    portal.data("user.get", []);
    const { result } = (await call("methods")).body;
    assert.deepEqual(
      ["placement.bind", "user.get", "crm.automation.trigger.add"].map((name) => result.includes(name)),
      [
        true,
        true,
        false,
      ],
    );
  });

  it("has users, and lets only administrators register", async () => {
    const { portal, call } = fakeSetup();
    portal.user(2, { name: "Bob" });
    const auth = portal.accessToken(2);
    assert.deepEqual((await call("profile", { auth })).body.result.ADMIN, false);
    const event = { event: "ONCRMDEALADD", handler: "https://app.example/" };
    assertError(await call("event.bind", { ...event, auth }), 403, "ACCESS_DENIED", "Access denied!");
    portal.user(2, { admin: true });
    assert.equal((await call("event.bind", { ...event, auth })).body.result, true);
    portal.user(2, { active: false });
    assertError(await call("profile", { auth }), 403, "user_access_error");
    assert.equal((await call("profile")).status, 200);
    assert.deepEqual(portal.calls().map(({ userId }) => userId), [2, 2, 2, 2, 1]);
  });

  it("gives the app its own user", async () => {
    const { portal, call, refresh } = fakeSetup();
    const body = new URLSearchParams(portal.userReady({ userId: 77 }));
    assert.deepEqual([body.get("event"), body.get("data[user_id]"), body.get("data[expires_in]")], [
      "ONAPPUSERREADY",
      "77",
      "3600",
    ]);
    assert.deepEqual([body.get("auth[domain]"), body.get("data[domain]")], [
      "oauth.bitrix24.tech",
      "oauth.bitrix24.tech",
    ]);
    const installer = (await call("profile", { auth: body.get("auth[access_token]") })).body.result;
    assert.deepEqual([installer.ID, installer.ADMIN], ["1", true]);
    const { result } = (await call("profile", { auth: body.get("data[access_token]") })).body;
    assert.deepEqual([result.ID, result.ADMIN], ["77", true]);
    assert.equal((await refresh(body.get("data[refresh_token]")!)).body.user_id, 77);
  });

  it("accepts as many requests as the bucket holds, which empties with time", async () => {
    const made = fakeSetup({ rateLimit: { perSecond: 2, bucket: 50 } });
    const statuses = async (count: number) =>
      (await Promise.all(Array.from({ length: count }, () => made.call("profile")))).map(({ status }) => status);
    assert.deepEqual(await statuses(52), [...Array.from({ length: 50 }, () => 200), 503, 503]);
    made.now += 1000;
    assert.deepEqual(await statuses(3), [200, 200, 503]);
    const other = made.bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "b.bitrix24.de" });
    other.install(1);
    const url = `https://b.bitrix24.de/rest/profile?auth=${other.accessToken()}`;
    assert.equal((await made.bitrix24.fetch(url)).status, 200);
  });

  it("redirects from its former host name", async () => {
    const { bitrix24, portal, call, refresh } = fakeSetup();
    const { accessToken: auth, refreshToken } = portal.tokens();
    portal.rename("new.bitrix24.com");
    assert.equal(portal.domain, "new.bitrix24.com");
    const init = { method: "POST", body: new URLSearchParams({ auth }) };
    const moved = await bitrix24.fetch(`${REST}/crm.deal.list.json`, { ...init, redirect: "manual" });
    assert.deepEqual([moved.status, moved.headers.get("location")], [
      302,
      "https://new.bitrix24.com/rest/crm.deal.list.json",
    ]);
    // A client that follows the redirect loses the body.
    assertError(await read(await bitrix24.fetch(`${REST}/profile`, init)), 401, "NO_AUTH_FOUND");
    await assert.rejects(bitrix24.fetch(`${REST}/profile`, { ...init, redirect: "error" }), { name: "TypeError" });
    assert.equal((await call("profile")).status, 200);
    assert.equal((await refresh(refreshToken)).body.client_endpoint, "https://new.bitrix24.com/rest/");
    const info = await read(await bitrix24.fetch(`${TECH}/rest/app.info?auth=${auth}`));
    assert.equal(info.body.result.install.client_endpoint, "https://new.bitrix24.com/rest/");
    assert.equal(new URLSearchParams(portal.update(3)).get("auth[domain]"), "new.bitrix24.com");
    portal.rename("example.bitrix24.de");
    assert.equal((await call("profile")).status, 200);
  });

  it("answers methods as the test defines, and records their calls", async () => {
    const { bitrix24, portal, call } = fakeSetup();
    portal.answer("crm.deal.get", ({ params, userId }) => ({ ID: params["id"], ASSIGNED_BY_ID: userId }));
    assert.deepEqual((await call("crm.deal.get", { id: 5 })).body.result, { ID: 5, ASSIGNED_BY_ID: 1 });
    portal.answer("crm.deal.get", undefined);
    assertError(await call("crm.deal.get", { id: 5 }), 404, "ERROR_METHOD_NOT_FOUND");
    const about = { memberId: MEMBER_ID, method: "crm.deal.get", at: "portal", params: { id: 5 }, userId: 1 };
    assert.deepEqual(bitrix24.calls(), [
      { ...about, status: 200 },
      { ...about, status: 404, error: "ERROR_METHOD_NOT_FOUND" },
    ]);
  });

  it("returns broken answers", async () => {
    const { bitrix24, portal } = fakeSetup();
    const ask = (answer: () => Response, init: RequestInit = {}) => {
      portal.answer("profile", answer);
      return bitrix24.fetch(`${REST}/profile?auth=${portal.accessToken()}`, { redirect: "manual", ...init });
    };
    assert.match(await (await ask(() => fakeAnswers.html(502))).text(), /<html>/);
    await assert.rejects((await ask(fakeAnswers.halfJson)).json(), { name: "SyntaxError" });
    assert.deepEqual(await (await ask(fakeAnswers.wrongJson)).json(), ["result"]);
    assert.equal((await (await ask(() => fakeAnswers.oversized(3_000_000))).arrayBuffer()).byteLength, 3_000_000);
    assert.equal((await ask(() => fakeAnswers.empty(504))).status, 504);
    assert.equal(
      (await ask(() => fakeAnswers.redirect("http://10.0.0.1/"))).headers.get("location"),
      "http://10.0.0.1/",
    );
    for (const answer of [fakeAnswers.hanging, () => fakeAnswers.dripping(1)]) {
      const stop = new AbortController();
      const response = await ask(answer, { signal: stop.signal });
      assert.equal(response.status, 200);
      const body = response.text();
      stop.abort(new Error("enough"));
      await assert.rejects(body, { message: "enough" });
    }
  });

  it("rejects when the request is aborted", async () => {
    const { bitrix24, portal } = fakeSetup();
    portal.answer("profile", () => new Promise(() => {}));
    const stop = new AbortController();
    const asking = bitrix24.fetch(`${REST}/profile?auth=${portal.accessToken()}`, { signal: stop.signal });
    stop.abort(new Error("enough"));
    await assert.rejects(asking, { message: "enough" });
    await assert.rejects(bitrix24.fetch(`${REST}/profile`, { signal: stop.signal }), { message: "enough" });
  });
});

describe("fakeBitrix24() in a batch", () => {
  it("runs commands in order, each with its own error", async () => {
    const { portal, call } = fakeSetup();
    portal.data("crm.deal.list", Array.from({ length: 60 }, (_, i) => ({ ID: String(i + 1) })));
    portal.answer("crm.deal.add", () => 7);
    const { status, body } = await call("batch", {
      halt: 0,
      cmd: {
        list: "crm.deal.list?filter[>ID]=5&select[]=ID",
        no: "crm.deal.nothing",
        scope: "bizproc.robot.list",
        nested: "batch?cmd[a]=profile",
        bad: "event.bind?event=ONCRMDEALADD",
        add: "crm.deal.add?fields[TITLE]=a",
      },
    });
    assert.equal(status, 200);
    const { result } = body;
    assert.deepEqual([result.result.list.length, result.result.list[0], result.result.add], [50, { ID: "6" }, 7]);
    assert.deepEqual(Object.keys(result.result), ["list", "add"]);
    assert.deepEqual([result.result_total, result.result_next], [{ list: 55 }, { list: 50 }]);
    assert.deepEqual(result.result_error, {
      no: { error: "ERROR_METHOD_NOT_FOUND", error_description: "Method not found!" },
      scope: {
        error: "insufficient_scope",
        error_description: "The request requires higher privileges than provided by the access token",
      },
      nested: { error: "ERROR_BATCH_METHOD_NOT_ALLOWED", error_description: "Method is not allowed for batch usage" },
      bad: { error: "ERROR_ARGUMENT", error_description: "Argument 'HANDLER' is null or empty", argument: "HANDLER" },
    });
    assert.deepEqual(Object.keys(result.result_time), ["list", "add"]);
    assert.deepEqual(Object.keys(result.result_time.list).includes("operating_reset_at"), true);
    assert.deepEqual(portal.calls().map(({ method, isInBatch, error }) => [method, isInBatch, error]), [
      ["batch", undefined, undefined],
      ["crm.deal.list", true, undefined],
      ["crm.deal.nothing", true, "ERROR_METHOD_NOT_FOUND"],
      ["bizproc.robot.list", true, "insufficient_scope"],
      ["event.bind", true, "ERROR_ARGUMENT"],
      ["crm.deal.add", true, undefined],
    ]);
  });

  it("encodes maps as PHP does: empty and numbered ones as lists", async () => {
    const { call } = fakeSetup();
    assert.deepEqual((await call("batch", {})).body.result, {
      result: [],
      result_error: [],
      result_total: [],
      result_next: [],
      result_time: [],
    });
    const { result } = (await call("batch", { cmd: ["scope", "profile"] })).body;
    assert(Array.isArray(result.result) && result.result[1].ID === "1");
    assert.deepEqual(Object.keys((await call("batch", { cmd: ["no", "profile"] })).body.result.result), ["1"]);
  });

  it("stops at the first error with halt", async () => {
    const { call } = fakeSetup();
    const { result } = (await call("batch", { halt: 1, cmd: { a: "profile", b: "no", c: "profile" } })).body;
    assert.deepEqual([Object.keys(result.result), Object.keys(result.result_error)], [["a"], ["b"]]);
  });

  it("runs 50 commands, and refuses the others", async () => {
    const { call } = fakeSetup();
    const { result } = (await call("batch", { cmd: Array.from({ length: 52 }, () => "profile") })).body;
    assert.equal(result.result.length, 50);
    assert.deepEqual(Object.keys(result.result_error), ["50", "51"]);
    assert.equal(result.result_error["51"].error, "ERROR_BATCH_LENGTH_EXCEEDED");
  });

  it("replaces references to earlier commands as Bitrix24 does", async () => {
    const { portal, call } = fakeSetup();
    portal.data("crm.deal.list", Array.from({ length: 60 }, (_, i) => ({ ID: String(i + 1), TAGS: ["x"], N: 7 })));
    portal.answer("crm.deal.update", ({ params }) => params);
    const update = (value: string): string => `crm.deal.update?v=${encodeURIComponent(value)}`;
    const { result } = (await call("batch", {
      cmd: {
        deals: "crm.deal.list?filter[<ID]=9",
        more: "crm.deal.list",
        whole: update("$result[deals][0][TAGS]"),
        any_case: update("$RESULT[deals][0][ID]"),
        // Bitrix24 replaces all up to the next space, and only by strings.
        part: update("no $result[deals][0][ID]! yes"),
        number: update("no $result[deals][0][N]"),
        suffix: update("$result[deals][1][ID]000"),
        next: update("$next[more]"),
        total: update("$total[more]"),
        price: update("$result"),
        // A missing part is replaced by the part that contains it.
        none: update("$result[deals][8][ID]"),
        nobody: update("$next[deals]"),
      },
    })).body;
    const value = (name: string): unknown => result.result[name].v;
    assert.deepEqual(["whole", "part", "number", "suffix", "next", "total", "price"].map(value), [
      ["x"],
      "no 1 yes",
      "no $result[deals][0][N]",
      "2",
      50,
      60,
      "$result",
    ]);
    assert.equal(value("any_case"), null);
    assert.deepEqual([value("none"), value("nobody")], [result.result.deals, { more: 50 }]);
  });

  it("starts again from the first row if a bound refers to a row that is not there", async () => {
    const { portal, call } = fakeSetup();
    portal.data("crm.deal.list", Array.from({ length: 60 }, (_, i) => ({ ID: String(i + 2) })));
    const page = (after: string): string => `crm.deal.list?start=-1&order[ID]=ASC&filter[>ID]=${after}`;
    const cmd = { a: page("40"), b: page("$result[a][49][ID]") };
    const { result } = (await call("batch", { cmd })).body;
    assert.deepEqual([result.result.a.length, result.result.b.length, result.result.b[0].ID], [21, 50, "2"]);
  });

  it("adds up the operating time of each method, and blocks it above 480 seconds in ten minutes", async () => {
    const made = fakeSetup();
    const start = made.now;
    made.portal.answer("crm.deal.list", () => {
      made.now += 250_000;
      return [];
    });
    const { body } = await made.call("crm.deal.list");
    const resetAt = Math.floor(start / 1000) + 600;
    assert.deepEqual([body.time.operating, body.time.operating_reset_at], [250, resetAt]);
    const { result } = (await made.call("batch", { cmd: { a: "crm.deal.list", b: "crm.deal.list" } })).body;
    assert.deepEqual([result.result_time.a.operating, result.result_time.a.operating_reset_at], [500, resetAt]);
    assert.equal(result.result_error.b.error, "OPERATION_TIME_LIMIT");
    assertError(await made.call("crm.deal.list"), 429, "OPERATION_TIME_LIMIT");
    assert.equal((await made.call("profile")).status, 200);
    made.now = start + 600_000;
    assert.equal((await made.call("crm.deal.list")).status, 200);
  });

  it("fails single commands, also those answered with an error response", async () => {
    const { portal, call } = fakeSetup();
    portal.fail("ACCESS_DENIED", { method: "scope" });
    portal.answer("crm.deal.add", () => Response.json({ error: "", error_description: "Not found" }, { status: 400 }));
    const { result } = (await call("batch", { cmd: { a: "scope", b: "profile", c: "crm.deal.add" } })).body;
    assert.deepEqual(Object.keys(result.result), ["b"]);
    assert.deepEqual(result.result_error, {
      a: { error: "ACCESS_DENIED", error_description: "Access denied!" },
      c: { error: "", error_description: "Not found" },
    });
  });
});

describe("fakeBitrix24() in a list", () => {
  const rows = Array.from({ length: 120 }, (_, i) => ({ ID: String(i + 1), STAGE: i % 2 === 0 ? "NEW" : "WON" }));

  it("returns pages of 50 with `next` and `total`", async () => {
    const { portal, call } = fakeSetup();
    portal.data("crm.deal.list", rows);
    const page = async (params: object) => {
      const { result, next, total } = (await call("crm.deal.list", params)).body;
      return [result.length, result[0]?.ID, next, total];
    };
    assert.deepEqual(await page({}), [50, "1", 50, 120]);
    assert.deepEqual(await page({ start: 50 }), [50, "51", 100, 120]);
    assert.deepEqual(await page({ start: "100" }), [20, "101", undefined, 120]);
    assert.deepEqual(await page({ start: 150 }), [0, undefined, undefined, 120]);
    assert.deepEqual(await page({ start: -1 }), [50, "1", undefined, undefined]);
    assert.deepEqual(await page({ start: -1, filter: { ">ID": 100 } }), [20, "101", undefined, undefined]);
    assert.deepEqual(await page({ order: { ID: "DESC" }, filter: { "<=ID": 9, STAGE: "NEW" } }), [
      5,
      "9",
      undefined,
      5,
    ]);
    assert.deepEqual(await page({ filter: { "@ID": [3, 4], "!STAGE": "WON" } }), [1, "3", undefined, 1]);
    assert.deepEqual(await page({ FILTER: { "!ID": ["1"] } }), [50, "2", 50, 119]);
    assert.deepEqual(await page({ filter: { "<=ID": 100 }, start: 50 }), [50, "51", undefined, 100]);
    assertError(await call("crm.deal.list", { start: "x" }), 400, "ERROR_ARGUMENT");
  });

  it("leaves `next` out, or sends it for ever, as odd lists do", async () => {
    const { portal, call } = fakeSetup();
    portal.data("crm.address.list", rows, { next: "missing" });
    portal.data("odd.list", rows, { next: "endless" });
    const page = async (method: string, start: number) => {
      const { result, next, total } = (await call(method, { start })).body;
      return [result.length, next, total];
    };
    assert.deepEqual(await page("crm.address.list", 0), [50, undefined, 50]);
    assert.deepEqual(await page("crm.address.list", 100), [20, undefined, 20]);
    assert.deepEqual(await page("odd.list", 50), [50, 100, 101]);
    assert.deepEqual(await page("odd.list", 150), [0, 200, 201]);
  });

  it("returns rows under the key of the method, reads them at each call, and selects fields", async () => {
    const { portal, call } = fakeSetup();
    const items: { id: number; title: string }[] = [{ id: 2, title: "b" }, { id: 1, title: "a" }];
    portal.data("crm.item.list", items, { key: "items" });
    const ask = async () => (await call("crm.item.list", { order: { id: "asc" }, select: ["title"] })).body.result;
    assert.deepEqual(await ask(), { items: [{ title: "a" }, { title: "b" }] });
    items.push({ id: 0, title: "z" });
    assert.equal((await ask()).items[0].title, "z");
  });
});
