import assert from "node:assert/strict";
import { createFake } from "../../../../src/testing/bitrix24/bitrix24.ts";
import { isSavedWorld, restoreWorld, saveWorld } from "../../../../src/testing/bitrix24/saved.ts";
import { describe, it } from "../../../support/test.ts";

const MEMBER_ID = "a223c6b3710f85df22e9377d6c4f7553";

describe("saveWorld() and restoreWorld()", () => {
  it("keep portals, tokens, users, registrations and former names", async () => {
    let now = 1_785_300_000_000;
    const options = { clientId: "app.dev", clock: () => now };
    const first = createFake(options);
    const portal = first.fake.portal({ memberId: MEMBER_ID, domain: "portal1.example.com" });
    portal.install(3);
    portal.user(7, { name: "Bob" });
    const { accessToken, refreshToken } = portal.tokens();
    const call = (fake: typeof first.fake, method: string, params: object): Promise<Response> =>
      fake.fetch(`https://${portal.domain}/rest/${method}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...params, auth: accessToken }),
      });
    const bound = await call(first.fake, "event.bind", { event: "ONCRMDEALADD", handler: "https://app.example.com/" });
    assert.equal(bound.status, 200);
    portal.rename("portal2.example.com");
    const saved: unknown = JSON.parse(JSON.stringify(saveWorld(first.world)));
    assert.ok(isSavedWorld(saved));

    const second = createFake(options);
    const [restored] = restoreWorld(second.world, second.sender, saved);
    assert.deepEqual(restored!.state(), portal.state());
    assert.deepEqual(restored!.registrations(), portal.registrations());
    assert.equal((await call(second.fake, "profile", {})).status, 200);
    const moved = await second.fake.fetch("https://portal1.example.com/rest/profile", { redirect: "manual" });
    assert.equal(moved.status, 302);
    const refreshed = await second.fake.fetch("https://oauth.bitrix.info/oauth/token/", {
      method: "POST",
      body: new URLSearchParams({
        ...{ grant_type: "refresh_token", client_id: "app.dev", client_secret: "any", refresh_token: refreshToken },
      }),
    });
    assert.equal(refreshed.status, 200);
    // The next pair is none that was issued before.
    assert.notEqual(restored!.accessToken(), accessToken);
    // The token of the application is that of the installation.
    const tokenOf = (body: string): string | null => new URLSearchParams(body).get("auth[application_token]");
    assert.equal(tokenOf(restored!.update(4)), tokenOf(portal.update(4)));

    now += 2 * 3600 * 1000;
    assert.deepEqual(saveWorld(first.world).accessTokens, []);
  });

  it("a file of something else is not taken for one", () => {
    const good = saveWorld(createFake({ clientId: "app.dev" }).world);
    assert.ok(isSavedWorld(good));
    for (
      const bad of [undefined, null, [], {}, { ...good, format: 2 }, { ...good, portals: {} }, {
        ...good,
        portals: [{}],
      }]
    ) {
      assert.equal(isSavedWorld(bad), false);
    }
  });
});
