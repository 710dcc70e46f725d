import assert from "node:assert/strict";
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { delay } from "../../../src/async/time.ts";
import { maxAttemptMs } from "../../../src/verify/attempt.ts";
import { CLIENT_ID, MEMBER_ID, post, quietLogger } from "../../support/app.ts";
import { CLIENT_SECRET, fakeOAuthHost, NOW, tokenFields } from "../../support/fake_oauth_host.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, virtualTime } from "../../support/time.ts";

describe("maxAttemptMs()", () => {
  it("is more than all time-outs of an attempt together", () => {
    // Twice app.info at both hosts and profile, and a refresh at both hosts.
    assert.ok(maxAttemptMs(2, 5000) > (2 + 1 + 2 + 2 + 1) * 5000);
    assert.ok(maxAttemptMs(1, 60_000) > (1 + 1 + 1 + 1 + 1) * 60_000);
  });

  it("keeps other processes from an event while slow hosts are asked: one process asks", async () => {
    const time = virtualTime(NOW);
    const oauth = fakeOAuthHost();
    const storage = memoryStorage({ clock: time.now });
    const oauthTimeoutMs = 30_000;
    const process = (): App =>
      createApp({
        ...{ storage, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, oauthTimeoutMs, checks: false },
        ...{ logger: quietLogger, tickEveryMs: 10_000, lookup: () => Promise.resolve(undefined) },
        ...simulated(time),
        fetch: async (...args) => {
          await delay(time, oauthTimeoutMs - 100);
          return await oauth.fetch(...args);
        },
      }).use(applicationToken());
    const [first, second] = [process(), process()];
    await second.start();
    const pair = oauth.issueTokens();
    oauth.expireAccessTokens();
    const { "auth[server_endpoint]": _, "auth[expires_in]": __, ...tokens } = tokenFields(pair);
    const event = new URLSearchParams({
      ...{ event: "ONAPPINSTALL", ts: String(NOW / 1000), "data[VERSION]": "2", ...tokens },
      ...{ "auth[member_id]": MEMBER_ID, "auth[domain]": "example.bitrix24.de" },
      ...{ "auth[application_token]": "f".repeat(32), "auth[expires]": String(NOW / 1000) },
    });
    assert.equal((await first.fetch(post(event.toString()))).status, 200);
    await time.elapse(10 * 60_000);
    const asked = oauth.asked.map(({ kind, token }) => token === pair.access ? `expired ${kind}` : kind);
    assert.deepEqual(asked, ["expired app.info", "expired app.info", "token", "app.info"]);
    assert.equal((await first.portal(MEMBER_ID))?.version, "2.0.0");
    for (const app of [first, second]) {
      const closed = app.close();
      await time.elapse(60_000);
      await closed;
    }
  });
});

describe("an event whose access token is refused long before its expiry", () => {
  it("is made up: its refresh token is not used", async () => {
    const time = virtualTime(NOW);
    const oauth = fakeOAuthHost();
    const app = createApp({
      ...{
        storage: memoryStorage({ clock: time.now }),
        clientId: CLIENT_ID,
        clientSecret: CLIENT_SECRET,
        checks: false,
      },
      ...{ logger: quietLogger, tickEveryMs: false as const, lookup: () => Promise.resolve(undefined) },
      ...{ ...simulated(time), fetch: oauth.fetch },
    }).use(applicationToken());
    const pair = oauth.issueTokens();
    oauth.expireAccessTokens();
    const { "auth[expires_in]": _, ...tokens } = tokenFields(pair);
    const event = new URLSearchParams({
      ...{ event: "ONAPPINSTALL", ts: String(NOW / 1000), "data[VERSION]": "2", ...tokens },
      ...{ "auth[member_id]": MEMBER_ID, "auth[domain]": "example.bitrix24.de" },
      ...{ "auth[application_token]": "f".repeat(32), "auth[expires]": String(NOW / 1000 + 3000) },
    });
    assert.equal((await app.fetch(post(event.toString()))).status, 200);
    await time.elapse(60_000);
    assert.deepEqual([...new Set(oauth.asked.map(({ kind }) => kind))], ["app.info"]);
    assert.equal(await app.portal(MEMBER_ID), undefined);
    const closed = app.close();
    await time.elapse(60_000);
    await closed;
  });
});
