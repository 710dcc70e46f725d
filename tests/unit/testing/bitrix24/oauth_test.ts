import assert from "node:assert/strict";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, OTHER_MEMBER_ID } from "../../../support/app.ts";
import { assertError, CLIENT_SECRET, fakeSetup, INFO, NOW, TECH } from "../../../support/fake.ts";
import { describe, it } from "../../../support/test.ts";

const HOUR = 3_600_000;

describe("fakeBitrix24() as an OAuth host", () => {
  it("returns the portal and user of a token, at both hosts", async () => {
    const { portal, post } = fakeSetup();
    for (const host of [TECH, INFO]) {
      const { status, body } = await post(`${host}/rest/app.info`, { auth: portal.accessToken() });
      assert.equal(status, 200);
      assert.deepEqual(body.result, {
        client_id: CLIENT_ID,
        scope: "crm,placement,user_brief",
        expires: NOW / 1000 + 3600,
        user_id: 1,
        install: {
          installed: true,
          version: 2,
          status: "S",
          scope: "crm,placement,user_brief",
          domain: "https://example.bitrix24.de",
          uri: "",
          client_endpoint: "https://example.bitrix24.de/rest/",
          member_id: MEMBER_ID,
          member_type: "B24",
        },
      });
    }
  });

  it("has only the host in the options, and loopback", async () => {
    const { bitrix24, portal, post } = fakeSetup({ oauthHost: "https://oauth.company.example" });
    const auth = portal.accessToken();
    assert.equal((await post("https://oauth.company.example/rest/app.info.json", { auth })).status, 200);
    assert.equal((await post("http://127.0.0.1:12345/rest/app.info", { auth })).status, 200);
    for (const url of [`${TECH}/rest/app.info`, "https://nobody.bitrix24.de/rest/profile", "http://10.0.0.1/"]) {
      await assert.rejects(bitrix24.fetch(url), { name: "TypeError" }, url);
    }
    assertError(await post("https://oauth.company.example/rest/profile", { auth }), 404, "ERROR_METHOD_NOT_FOUND");
  });

  it("refuses unknown tokens, and those of a removed app", async () => {
    const { portal, post } = fakeSetup();
    const url = `${TECH}/rest/app.info`;
    const old = portal.accessToken();
    assertError(await post(url, {}), 401, "NO_AUTH_FOUND");
    assertError(await post(url, { auth: "of-nobody" }), 401, "expired_token");
    portal.uninstall();
    assertError(await post(url, { auth: old }), 401, "NOT_INSTALLED");
    portal.install(2);
    assertError(await post(url, { auth: old }), 401, "expired_token");
  });

  it("returns a new token pair for a refresh token, once", async () => {
    const { bitrix24, portal, refresh, post } = fakeSetup();
    const { refreshToken } = portal.tokens();
    const { status, body } = await refresh(refreshToken);
    assert.equal(status, 200);
    const { access_token, refresh_token, ...rest } = body;
    assert.deepEqual(rest, {
      expires: NOW / 1000 + 3600,
      expires_in: 3600,
      client_endpoint: "https://example.bitrix24.de/rest/",
      server_endpoint: "https://oauth.bitrix24.tech/rest/",
      domain: "oauth.bitrix24.tech",
      member_id: MEMBER_ID,
      scope: "crm,placement,user_brief",
      status: "S",
      user_id: 1,
    });
    assert.equal((await post(`${TECH}/rest/app.info`, { auth: access_token })).status, 200);
    assertError(await refresh(refreshToken), 400, "invalid_grant");
    assert.equal((await refresh(refresh_token, {}, INFO)).status, 200);
    assert.equal(bitrix24.refreshes(), 2);
  });

  it("returns a pair to one of many concurrent refreshes", async () => {
    const { bitrix24, portal, refresh } = fakeSetup();
    const { refreshToken } = portal.tokens();
    const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await refresh(refreshToken)).status));
    assert.deepEqual(statuses.sort(), [200, ...Array.from({ length: 19 }, () => 400)]);
    assert.equal(bitrix24.refreshes(), 1);
  });

  it("accepts GET requests", async () => {
    const { bitrix24, portal } = fakeSetup();
    const query = new URLSearchParams({
      grant_type: "refresh_token",
      client_id: CLIENT_ID,
      client_secret: CLIENT_SECRET,
      refresh_token: portal.tokens().refreshToken,
    });
    assert.equal((await bitrix24.fetch(`${TECH}/oauth/token/?${query}`)).status, 200);
  });

  it("refuses invalid refreshes, and keeps the refresh token valid", async () => {
    const { bitrix24, portal, refresh } = fakeSetup();
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "b.bitrix24.de", clientId: "app.other" });
    other.install(1);
    const { refreshToken } = portal.tokens();
    assertError(await refresh(refreshToken, { client_secret: "wrong" }), 400, "invalid_client");
    assertError(await refresh(refreshToken, { client_id: "app.unknown" }), 400, "invalid_client");
    assertError(await refresh(refreshToken, { client_id: "app.other" }), 400, "invalid_grant");
    assertError(await refresh(refreshToken, { grant_type: "password" }), 400, "invalid_request");
    assertError(await refresh("of-nobody"), 400, "invalid_grant");
    portal.stopPayment();
    assertError(await refresh(refreshToken), 401, "PAYMENT_REQUIRED");
    portal.pay();
    assert.equal((await refresh(refreshToken)).status, 200);
  });

  it("expires access tokens after an hour, and refresh tokens after 180 days", async () => {
    const made = fakeSetup();
    const { accessToken, refreshToken, expiresAt } = made.portal.tokens();
    assert.equal(expiresAt, NOW + HOUR);
    const info = async () => (await made.post(`${TECH}/rest/app.info`, { auth: accessToken })).status;
    made.now += HOUR - 1;
    assert.equal(await info(), 200);
    made.now++;
    assert.equal(await info(), 401);
    made.now = NOW + 180 * 24 * HOUR;
    assertError(await made.refresh(refreshToken), 400, "invalid_grant");
  });

  it("expires tokens on demand, and when the app is removed", async () => {
    const { portal, refresh, post } = fakeSetup();
    const first = portal.tokens();
    portal.expireTokens();
    assertError(await post(`${TECH}/rest/app.info`, { auth: first.accessToken }), 401, "expired_token");
    assert.equal((await refresh(first.refreshToken)).status, 200);
    const second = portal.tokens();
    portal.expireTokens({ refresh: true });
    assertError(await refresh(second.refreshToken), 400, "invalid_grant");
    const third = portal.tokens();
    portal.uninstall();
    assertError(await refresh(third.refreshToken), 401, "NOT_INSTALLED");
    portal.install(2);
    assertError(await refresh(third.refreshToken), 400, "invalid_grant");
  });

  it("simulates errors, broken connections and other answers, and counts requests", async () => {
    const { bitrix24, portal, post, refresh } = fakeSetup();
    const info = () => post(`${TECH}/rest/app.info`, { auth: portal.accessToken() });
    const { refreshToken } = portal.tokens();
    portal.fail("WRONG_CLIENT", { at: "oauth", method: "app.info" });
    assertError(await info(), 200, "WRONG_CLIENT");
    portal.lose({ at: "oauth", method: "oauth/token", after: "effect" });
    await assert.rejects(refresh(refreshToken), { name: "TypeError" });
    assertError(await refresh(refreshToken), 400, "invalid_grant");
    bitrix24.fail("ERROR_UNEXPECTED_ANSWER", { at: "oauth" });
    assertError(await post(`${TECH}/rest/app.info`, { auth: "of-nobody" }), 500, "ERROR_UNEXPECTED_ANSWER");
    portal.answer("app.info", () => ({ result: "what else" }), { at: "oauth" });
    assert.deepEqual(await info(), { status: 200, body: { result: "what else" } });
    portal.answer("app.info", undefined, { at: "oauth" });
    assert.equal((await info()).body.result.user_id, 1);
    assert.equal(bitrix24.requests(), 6);
    assert.deepEqual(
      bitrix24.calls().map(({ method, status, error }) => [method, status, error]),
      [
        ["app.info", 200, "WRONG_CLIENT"],
        ["oauth/token", undefined, undefined],
        ["oauth/token", 400, "invalid_grant"],
        ["app.info", 500, "ERROR_UNEXPECTED_ANSWER"],
        ["app.info", 200, undefined],
        ["app.info", 200, undefined],
      ],
    );
  });

  it("hides tokens and secrets in calls and errors", async () => {
    const { bitrix24, portal, post, refresh, call } = fakeSetup();
    await refresh(portal.tokens().refreshToken);
    await refresh(portal.tokens().refreshToken, { client_secret: "another-secret" });
    await post(`${TECH}/rest/app.info`, { auth: portal.accessToken() });
    await call("profile");
    await call("batch", { cmd: { me: "profile" } });
    portal.lose();
    const lost = await call("profile").catch(String);
    assert.doesNotMatch(`${JSON.stringify(bitrix24.calls())}${lost}`, /acce55|fe5fe5|secret/);
  });

  it("reports installations and updates late, and removals at once", async () => {
    const made = fakeSetup();
    const { bitrix24, portal, post } = made;
    bitrix24.lag(60_000);
    const { accessToken } = portal.tokens();
    const info = () => post(`${TECH}/rest/app.info`, { auth: accessToken });
    const version = async () => (await info()).body.result.install.version;
    assertError(await info(), 401, "NOT_INSTALLED");
    made.now += 60_000;
    assert.equal(await version(), 2);
    portal.update(3);
    made.now += 59_999;
    assert.equal(await version(), 2);
    made.now++;
    assert.equal(await version(), 3);
    portal.update(4);
    bitrix24.lag(0);
    assert.equal(await version(), 4);
    bitrix24.lag(60_000);
    portal.uninstall();
    assertError(await info(), 401, "NOT_INSTALLED");
  });

  it("is down or hangs until the outage ends", async () => {
    const { bitrix24, portal, post, refresh, call } = fakeSetup();
    const { accessToken, refreshToken } = portal.tokens();
    bitrix24.outage("down");
    await assert.rejects(post(`${TECH}/rest/app.info`, { auth: accessToken }), TypeError);
    await assert.rejects(refresh(refreshToken), TypeError);
    assert.equal((await call("profile")).status, 200);
    bitrix24.outage("hanging");
    const signal = AbortSignal.timeout(20);
    await assert.rejects(bitrix24.fetch(`${TECH}/rest/app.info?auth=${accessToken}`, { signal }), signal.reason);
    bitrix24.outage();
    assert.equal((await refresh(refreshToken)).status, 200);
    assert.equal(bitrix24.requests(), 4);
  });

  it("uses the system's clock for tokens by default", async () => {
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const from = Math.floor(Date.now() / 1000) + 3600;
    const body = new URLSearchParams(portal.install(1));
    assert.equal(body.get("ts"), "1785300000");
    const expires = Number(body.get("auth[expires]"));
    assert(from <= expires && expires <= Date.now() / 1000 + 3600, String(expires));
    const auth = body.get("auth[access_token]")!;
    assert.equal((await bitrix24.fetch(`${TECH}/rest/app.info?auth=${auth}`)).status, 200);
  });
});
