import assert from "node:assert/strict";
import { operatorApi, type OperatorApiOptions } from "@b24/onappupdate/operator";
import { MEMBER_ID, rig } from "../../../support/app.ts";
import { refuses } from "../../../support/refusals.ts";
import { describe, it } from "../../../support/test.ts";
import { answerOf, apiRig, OPERATE, READ, requestOf, tokenOf, TOKENS } from "./_api.ts";

describe("operatorApi()", () => {
  const { app } = rig();
  const make = (options: object): unknown => operatorApi({ app, tokens: TOKENS, ...options } as OperatorApiOptions);
  const DIGEST = "the SHA-256 of a token, in 64 lower-case hexadecimal digits";
  const [viewer, ada] = TOKENS as [OperatorApiOptions["tokens"][number], OperatorApiOptions["tokens"][number]];
  refuses([
    ["cannot serve the operator API with app an object, wanted an app of createApp()", () => make({ app: {} })],
    [
      "cannot serve the operator API with tokens undefined, wanted a list of tokens",
      () => make({ tokens: undefined }),
    ],
    [
      "cannot serve the operator API with tokens an empty list, wanted at least one token",
      () => make({ tokens: [] }),
    ],
    [
      `cannot serve the operator API with tokens.0.sha256 a string, wanted ${DIGEST}`,
      () => make({ tokens: [{ ...ada, sha256: ada.sha256.slice(1) }] }),
    ],
    [
      `cannot serve the operator API with tokens.0.sha256 a string, wanted ${DIGEST}`,
      () => make({ tokens: [{ ...ada, sha256: ada.sha256.toUpperCase() }] }),
    ],
    [
      "cannot serve the operator API with tokens.0.sha256 of an empty string, wanted that of 32 random bytes",
      () => make({ tokens: [tokenOf("ada", "", "read")] }),
    ],
    [
      'cannot serve the operator API with tokens.1.name "viewer" twice, wanted a name for each token',
      () => make({ tokens: [viewer, { ...ada, name: "viewer" }] }),
    ],
    [
      "cannot serve the operator API with tokens.1.sha256 twice, wanted a token for each name",
      () => make({ tokens: [viewer, { ...viewer, name: "bob" }] }),
    ],
    [
      'cannot serve the operator API with tokens.0.role "admin", wanted "read" or "operate"',
      () => make({ tokens: [{ ...ada, role: "admin" }] }),
    ],
    [
      'cannot serve the operator API with tokens.0.name "a\\nb", wanted ' +
      "1 to 100 characters without control characters, also of text direction",
      () => make({ tokens: [{ ...ada, name: "a\nb" }] }),
    ],
    [
      'cannot serve the operator API with base "/ops/", wanted a path such as "/ops", without a slash at its end',
      () => make({ base: "/ops/" }),
    ],
    [
      "cannot serve the operator API with bodyBytes 10, wanted a whole number from 1024 to 1048576",
      () => make({ bodyBytes: 10 }),
    ],
    [
      "cannot serve the operator API with the option token that does not exist, wanted tokens",
      () => make({ token: "x" }),
    ],
  ]);
});

describe("operatorApi() access", () => {
  it("answers 401 to everything without a known token, in any form", async () => {
    const { app, fetch, call } = apiRig();
    for (const route of ["GET /portals", "GET /nope", "POST /pause", "DELETE /portals"]) {
      const { status, headers, body } = await call(route, undefined, { token: null });
      assert.deepEqual([status, body.error.code], [401, "no_token"]);
      assert.equal(headers.get("www-authenticate"), 'Bearer realm="onappupdate"');
    }
    const digest = TOKENS[1]!.sha256;
    for (const authorization of ["Bearer x", `Basic ${OPERATE}`, `Bearer ${digest}`, `Bearer ${OPERATE} x`, OPERATE]) {
      const request = requestOf("GET /portals", undefined, { token: null, headers: { authorization } });
      const { status, headers } = await answerOf(await fetch(request));
      assert.equal(status, 401, authorization);
      assert.match(headers.get("www-authenticate")!, /^Bearer realm="onappupdate", error="invalid_/);
    }
    const inQuery = await call(`GET /portals?access_token=${OPERATE}`, undefined, { token: null });
    assert.equal(inQuery.status, 401);
    const cookie = await call("GET /portals", undefined, { token: null, headers: { cookie: `token=${OPERATE}` } });
    assert.equal(cookie.status, 401);
    assert.deepEqual((await app.admin.audit()).items, [], "guesses are no entries of the audit log");
    await app.close();
  });

  it("refuses a password in place of a token, though its digest is configured", async () => {
    const password = "correct horse battery staple".replaceAll(" ", "-");
    const { app, call } = apiRig({}, {
      tokens: [tokenOf("ada", password, "operate"), tokenOf("bob", "b".repeat(43), "read")],
    });
    const { status, body } = await call("GET /counts", undefined, { token: password });
    assert.equal(status, 401);
    assert.match(body.error.message, /32 random bytes/);
    assert.equal((await call("GET /counts", undefined, { token: "b".repeat(43) })).status, 200);
    await app.close();
  });

  it("logs guesses at most once a minute, with their number", async () => {
    let now = 1_785_400_000_000;
    const { app, call, apiLines } = apiRig({}, { clock: () => now });
    const guess = (): Promise<unknown> => call("GET /portals", undefined, { token: "guess" });
    for (let i = 0; i < 5; i++) await guess();
    now += 59_999;
    await guess();
    assert.equal(apiLines.length, 1);
    now += 1;
    await guess();
    const counts = apiLines.map((line) => JSON.parse(line)).map(({ event, count }) => [event, count]);
    assert.deepEqual(counts, [["operator.unauthorized", 1], ["operator.unauthorized", 6]]);
    assert.ok(!apiLines.join().includes("guess"));
    await app.close();
  });

  it("answers 403 to actions of those who may only read, and records them", async () => {
    const { app, call, send, portal } = apiRig();
    await send(portal.install(2));
    const read = { token: READ };
    assert.equal((await call("GET /portals", undefined, read)).status, 200);
    assert.deepEqual((await call("GET /token", undefined, read)).body, { name: "viewer", role: "read" });
    const { status, body } = await call(`POST /portals/${portal.domain}/retry`, { reason: "ticket 17" }, read);
    assert.deepEqual([status, body.error.code], [403, "forbidden"]);
    assert.match(body.error.message, /the role of token "viewer" is "read", wanted "operate"/);
    assert.equal((await call("POST /pause", { by: "ada" }, read)).status, 403);
    assert.equal((await call(`POST /portals/${MEMBER_ID}/check`, undefined, read)).status, 403);
    const { items } = await app.admin.audit();
    assert.deepEqual(
      items.map(({ action, by, reason, outcome, memberId }) => [action, by, reason, outcome, memberId]),
      [
        ["check", "viewer", "no valid reason was given", "refused", MEMBER_ID],
        ["pause", "viewer", "no valid reason was given", "refused", undefined],
        ["retry", "viewer", "ticket 17", "refused", MEMBER_ID],
      ],
    );
    await app.close();
  });

  it("records at most ten refused attempts of a token a minute", async () => {
    let now = 1_785_400_000_000;
    const { app, call } = apiRig({}, { clock: () => now });
    const attempt = async (): Promise<number> => (await call("POST /pause", { reason: "x" }, { token: READ })).status;
    for (let i = 0; i < 15; i++) assert.equal(await attempt(), 403);
    assert.equal((await app.admin.audit()).items.length, 10);
    now += 60_000;
    await attempt();
    assert.equal((await app.admin.audit()).items.length, 11);
    await app.close();
  });

  it("sends the headers that keep answers out of caches and pages", async () => {
    const { app, call } = apiRig();
    for (
      const { headers } of [
        await call("GET /portals"),
        await call("GET /nope"),
        await call("GET /x", undefined, { token: null }),
      ]
    ) {
      assert.deepEqual(
        ["cache-control", "x-content-type-options", "content-type", "set-cookie", "access-control-allow-origin"].map((
          name,
        ) => headers.get(name)),
        ["no-store", "nosniff", "application/json", null, null],
      );
    }
    await app.close();
  });
});
