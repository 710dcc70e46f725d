import assert from "node:assert/strict";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, quietLogger, rig } from "../../support/app.ts";
import { testApp, tokenFields, usersTried } from "../../support/fake_oauth_host.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const MINUTE = 60_000;
type Made = ReturnType<typeof testApp>;

async function install(made: Made): Promise<void> {
  await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(made.oauth.issueTokens(1), 1) });
}

async function installAgain(made: Made): Promise<void> {
  made.now += MINUTE;
  await made.send("ONAPPUNINSTALL", { "data[CLEAN]": "0" });
  made.now += MINUTE;
  await install(made);
}

describe("an answer about an earlier installation", () => {
  it("does not raise the target of the present one, and does not change its address", async () => {
    const made = testApp();
    await install(made);
    await made.app.credentials.get(MEMBER_ID);
    const gate = Promise.withResolvers<void>();
    const old = {
      ...{ installed: true, version: 5, status: "S", scope: "crm", member_id: MEMBER_ID },
      client_endpoint: "https://old.bitrix24.de/rest/",
    };
    const result = { client_id: CLIENT_ID, scope: "crm", user_id: 1, install: old };
    let isFirst = true;
    made.oauth.answer = ({ kind }) => {
      if (kind !== "app.info" || !isFirst) return undefined;
      isFirst = false;
      return gate.promise.then(() => Response.json({ result }));
    };
    const checking = made.app.check(MEMBER_ID);
    await until("the check asks", () => !isFirst);
    await installAgain(made);
    gate.resolve();
    await checking;
    const { generation, target, clientEndpoint } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([generation, target], [2, "2.0.0"]);
    assert.notEqual(clientEndpoint, old.client_endpoint);
    await made.app.close();
  });

  it("does not block the present one", async () => {
    const made = testApp();
    await install(made);
    const access = await made.app.credentials.get(MEMBER_ID);
    const gate = Promise.withResolvers<void>();
    made.oauth.answer = ({ kind }) =>
      kind === "token"
        ? gate.promise.then(() => Response.json({ error: "NOT_INSTALLED" }, { status: 401 }))
        : undefined;
    const refreshing = made.app.credentials.refresh(MEMBER_ID, access);
    await until("the refresh asks", () => made.oauth.asked.at(-1)?.kind === "token");
    await installAgain(made);
    gate.resolve();
    await assert.rejects(refreshing, { b24Code: "NOT_INSTALLED" });
    const { generation, blocked } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([generation, blocked], [2, undefined]);
    await made.app.close();
  });
});

describe("a refresh without a complete answer", () => {
  const half = ({ kind }: { readonly kind: string }): Response | undefined =>
    kind === "token" ? Response.json({ access_token: "x" }) : undefined;

  it("leaves a token in use that is valid for some seconds", async () => {
    const made = testApp();
    await install(made);
    const first = await made.app.credentials.get(MEMBER_ID);
    made.oauth.answer = half;
    made.now += 59.2 * MINUTE;
    assert((await made.app.credentials.get(MEMBER_ID)).accessToken.equals(first.accessToken));
    made.now += MINUTE;
    await assert.rejects(made.app.credentials.get(MEMBER_ID), { name: "UnreachableError" });
    await made.app.close();
  });

  it("leaves another user's token in use", async () => {
    const made = testApp();
    await install(made);
    const system = made.oauth.issueTokens(9);
    await made.send("ONAPPUSERREADY", {
      "data[access_token]": system.access,
      "data[refresh_token]": system.refresh,
      "data[expires_in]": "3600",
      "data[user_id]": "9",
      ...tokenFields(made.oauth.issueTokens()),
    });
    await made.app.check(MEMBER_ID);
    assert.equal((await made.app.credentials.get(MEMBER_ID)).userId, 9);
    made.now += 50 * MINUTE;
    await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(made.oauth.issueTokens(7), 7) });
    await made.app.check(MEMBER_ID);
    made.oauth.answer = half;
    made.now += 11 * MINUTE;
    assert.equal((await made.app.credentials.get(MEMBER_ID)).userId, 7);
    await made.app.close();
  });

  it("is not needed without clientSecret if another user's token is valid", async () => {
    const made = testApp({ clientSecret: undefined as never });
    await install(made);
    const spent = await made.app.credentials.get(MEMBER_ID);
    made.now += MINUTE;
    await made.send("ONCRMDEALADD", tokenFields(made.oauth.issueTokens(7), 7));
    assert.equal((await made.app.credentials.refresh(MEMBER_ID, spent)).userId, 7);
    await made.app.close();
  });
});

describe("tokens that live for less than the minute before which they are refreshed", () => {
  it("are refreshed once at a call", async () => {
    const now = Date.UTC(2026, 10, 1);
    const clock = (): number => now;
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock, accessTokenSeconds: 50 });
    const app = createApp({
      ...{ storage: memoryStorage(), clock, clientId: CLIENT_ID, clientSecret: "client-secret-0123456789abcdef" },
      ...{ acknowledge: "handled", fetch: bitrix24.fetch, tickEveryMs: false, checks: false },
      logger: quietLogger,
    }).use(applicationToken());
    bitrix24.deliverTo((request) => app.fetch(request));
    await bitrix24.portal({ memberId: MEMBER_ID }).sends.install(2);
    assert.equal((await app.credentials.get(MEMBER_ID)).userId, 1);
    assert.equal(bitrix24.refreshes(), 1);
    await app.close();
  });
});

describe("ONAPPUSERREADY of a person who opens the app, with his own tokens", () => {
  for (const claimed of ["1000", "7"]) {
    it(`does not replace the system user, claiming to be user ${claimed}`, async () => {
      const { app, portal, send } = rig({ clientSecret: "client-secret-0123456789abcdef" });
      await send(portal.install(2));
      await send(portal.userReady());
      await app.check(MEMBER_ID);
      const before = await app.credentials.get(MEMBER_ID);
      assert.deepEqual([before.isSystemUser, before.userId], [true, 1000]);
      const own = portal.tokens(7);
      const data = {
        access_token: own.accessToken,
        refresh_token: own.refreshToken,
        expires_in: "3600",
        user_id: claimed,
      };
      assert.equal(await send(portal.event("ONAPPUSERREADY", data, { tokenless: true })), 200);
      assert.equal(await send(portal.event("ONAPPUSERREADY", data, { userId: 7 })), 200);
      await app.check(MEMBER_ID);
      const after = await app.credentials.get(MEMBER_ID);
      assert.deepEqual([after.isSystemUser, after.userId], [true, 1000]);
      assert.deepEqual((await usersTried(app)).map(({ isSystemUser }) => isSystemUser), [true, false, false]);
      await app.close();
    });
  }

  it("does not replace the system user either after his expired token was refreshed", async () => {
    const { app, portal, send, later } = rig({ clientSecret: "client-secret-0123456789abcdef" });
    await send(portal.install(2));
    await send(portal.userReady());
    await app.check(MEMBER_ID);
    const own = portal.tokens(7);
    const data = { access_token: own.accessToken, refresh_token: own.refreshToken, expires_in: "1", user_id: "1000" };
    assert.equal(await send(portal.event("ONAPPUSERREADY", data, { userId: 7 })), 200);
    later();
    await app.check(MEMBER_ID);
    const { isSystemUser, userId } = await app.credentials.get(MEMBER_ID);
    assert.deepEqual([isSystemUser, userId], [true, 1000]);
    await app.close();
  });
});
