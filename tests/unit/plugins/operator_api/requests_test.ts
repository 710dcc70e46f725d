import assert from "node:assert/strict";
import { MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { apiRig, requestOf } from "./_api.ts";

const RETRY = `POST /portals/${MEMBER_ID}/retry`;

/** Requests that are refused, and what the error says about each field. */
const BAD:
  readonly (readonly [route: string, body: unknown, issues: readonly (readonly [string, RegExp, RegExp])[]])[] = [
    ["GET /portals?status=stuck", undefined, [["status", /"stuck"/, /"current" or "upgrading"/]]],
    ["GET /portals?limit=0", undefined, [["limit", /0/, /a whole number from 1 to 1000/]]],
    ["GET /portals?limit=1e2", undefined, [["limit", /"1e2"/, /a whole number/]]],
    ["GET /portals?limit=1&limit=2", undefined, [["limit", /several values/, /one/]]],
    ["GET /portals?state=parked", undefined, [["state", /does not exist/, /version, status/]]],
    ["GET /portals?__proto__=x", undefined, [["__proto__", /does not exist/, /version, status/]]],
    ["GET /plan?from=2", undefined, [["to", /nothing/, /1 to 100 characters/]]],
    ["GET /plan?from=a&to=3", undefined, [["from", /"a"/, /a version such as/]]],
    ["GET /audit?memberId=x", undefined, [["memberId", /"x"/, /32 lower-case hexadecimal digits/]]],
    ["GET /outbox?state=dead&afterId=x", undefined, [[
      "afterPlugin",
      /nothing/,
      /afterPlugin and afterId, or neither/,
    ]]],
    [RETRY, {}, [["reason", /nothing/, /1 to 500 characters without control characters/]]],
    [RETRY, { reason: " " }, [["reason", /" "/, /1 to 500/]]],
    [RETRY, { reason: "a\nb" }, [["reason", /"a\\nb"/, /without control characters/]]],
    [RETRY, { reason: "a\u202eb" }, [["reason", /"a.b"/u, /also of text direction/]]],
    [RETRY, { reason: 1 }, [["reason", /1/, /1 to 500/]]],
    [RETRY, { reason: "x", by: "bob" }, [["by", /not accepted/, /the operator is the name of the token/]]],
    [RETRY, { reason: "x", force: true }, [["force", /does not exist/, /only reason/]]],
    [RETRY, [], [["", /a list/, /an object/]]],
    [RETRY, "{", [["", /a body that is not JSON/, /JSON/]]],
    [RETRY, undefined, [["", /no body/, /JSON/]]],
    [`POST /portals/${MEMBER_ID}/set-target`, { version: "x", reason: "x" }, [["version", /"x"/, /a version such as/]]],
    [`POST /portals/${MEMBER_ID}/skip`, { reason: "x" }, [["upgradeId", /nothing/, /1 to 1000/]]],
    ["GET /portals/a%2Fb", undefined, [["portal", /another string/, /a member_id/]]],
    [
      "POST /batches",
      { action: "forget", match: { state: "parked" }, reason: "x" },
      [["match.state", /./, /./], ["expect", /nothing/, /from 0/], ["action", /"forget"/, /"retry" or "skip"/]],
    ],
  ];

const BATCH = { action: "retry", match: { status: "parked" }, expect: 0, reason: "x" };
const BAD_BATCHES: typeof BAD = [
  ["POST /batches", { ...BATCH, match: {} }, [["match", /matches all portals/, /at least one member/]]],
  ["POST /batches", { ...BATCH, action: "skip" }, [["upgradeId", /nothing/, /a value: action is "skip"/]]],
  ["POST /batches", { ...BATCH, version: "3" }, [["version", /a value/, /nothing: action is "retry"/]]],
  ["POST /batches", { ...BATCH, action: "setTarget", version: "x" }, [["version", /"x"/, /a version such as/]]],
];

describe("operatorApi() requests", () => {
  for (const [route, sent, issues] of [...BAD, ...BAD_BATCHES]) {
    it(`answers 400 to ${route} ${JSON.stringify(sent) ?? ""}`, async () => {
      const { app, call, send, portal } = apiRig();
      await send(portal.install(2));
      const headers = { "content-type": "application/json" };
      const { status, body } = await call(route, sent, { headers });
      assert.deepEqual([status, body.error.issues?.length], [400, issues.length], JSON.stringify(body));
      for (const [path, saw, wanted] of issues) {
        const issue = body.error.issues.find((one: { path: string }) => one.path === path);
        assert.ok(issue !== undefined, `no issue of ${path}: ${JSON.stringify(body)}`);
        assert.match(issue.saw, saw);
        assert.match(issue.wanted, wanted);
      }
      assert.deepEqual((await app.admin.audit()).items.filter(({ outcome }) => outcome === "done"), []);
      await app.close();
    });
  }

  it("answers 404 to unknown routes and portals", async () => {
    const { app, call } = apiRig();
    for (
      const route of ["GET /", "GET /nope", "GET /portals/", "GET /portals//runs", "GET /portals/%zz", "POST /portal"]
    ) {
      const { status, body } = await call(route);
      assert.deepEqual([status, body.error.code], [404, "unknown_route"], route);
    }
    for (const portal of [MEMBER_ID, "example.bitrix24.de", "localhost:8080"]) {
      const { status, body } = await call(`GET /portals/${portal}`);
      assert.deepEqual([status, body.error.code], [404, "unknown_portal"], portal);
    }
    await app.close();
  });

  it("answers 405 with the methods that a path has", async () => {
    const { app, call, fetch } = apiRig();
    for (const [route, allow] of [["POST /portals", "GET"], ["PUT /batches", "GET, POST"], ["GET /resume", "POST"]]) {
      const { status, headers } = await call(route!);
      assert.deepEqual([status, headers.get("allow")], [405, allow]);
    }
    const preflight = await call("OPTIONS /portals", undefined, { headers: { origin: "https://evil.example" } });
    assert.equal(preflight.status, 405);
    assert.ok(fetch !== undefined);
    await app.close();
  });

  it("answers 413 to a body that is too large, with and without its length", async () => {
    const { app, fetch, call } = apiRig({}, { bodyBytes: 1024 });
    const body = JSON.stringify({ reason: "x".repeat(2000) });
    const headers = { "content-length": String(body.length) };
    assert.equal((await call("POST /pause", body, { headers })).status, 413);
    const chunks = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(400).fill(32)),
    });
    const request = new Request("https://ops.example/api/v1/pause", {
      ...{ method: "POST", body: chunks, duplex: "half" } as RequestInit,
      headers: { authorization: `Bearer ${"o".repeat(43)}`, "content-type": "application/json" },
    });
    assert.equal((await fetch(request)).status, 413);
    await app.close();
  });

  it("answers 415 to what is not JSON, so that no form of a page is an action", async () => {
    const { app, call } = apiRig();
    const types = [
      "text/plain",
      "application/x-www-form-urlencoded",
      "application/json; charset=utf-16",
      "application/jsonp",
    ];
    for (const type of types) {
      const { status } = await call("POST /pause", { reason: "x" }, { headers: { "content-type": type } });
      assert.equal(status, 415, type);
    }
    const gzip = await call("POST /pause", { reason: "x" }, { headers: { "content-encoding": "gzip" } });
    assert.equal(gzip.status, 415);
    const utf8 = { "content-type": "application/json; charset=UTF-8" };
    assert.equal((await call("POST /pause", { reason: "x" }, { headers: utf8 })).status, 200);
    await app.close();
  });

  it("answers 500 and says so if the body was read before", async () => {
    const { app, fetch, apiLines } = apiRig();
    const request = new Request("https://ops.example/api/v1/pause", {
      ...{ method: "POST", body: '{"reason":"x"}' },
      headers: { authorization: `Bearer ${"o".repeat(43)}`, "content-type": "application/json" },
    });
    await request.text();
    assert.equal((await fetch(request)).status, 500);
    assert.match(apiLines.join(), /it was read before, wanted the handler before anything that reads bodies/);
    assert.equal(await app.admin.paused(), undefined);
    await app.close();
  });

  it("do not have their signal read unless the route needs it: Deno would print a warning", async () => {
    const { app, fetch } = apiRig();
    const request = requestOf("GET /counts");
    Object.defineProperty(request, "signal", { get: () => assert.fail("it was read") });
    assert.equal((await fetch(request)).status, 200);
    await app.close();
  });

  it("serves below a base, and nothing beside it", async () => {
    const { app, fetch } = apiRig({}, { base: "/ops" });
    const get = async (path: string): Promise<number> => {
      const headers = { authorization: `Bearer ${"o".repeat(43)}` };
      return (await fetch(new Request(`https://ops.example${path}`, { headers }))).status;
    };
    assert.deepEqual([await get("/ops/api/v1/counts"), await get("/api/v1/counts"), await get("/opsapi/v1/counts")], [
      ...[200, 404],
      404,
    ]);
    await app.close();
  });
});
