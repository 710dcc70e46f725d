import assert from "node:assert/strict";
import { MEMBER_ID } from "../../../support/app.ts";
import { fakeSetup } from "../../../support/fake.ts";
import { describe, it } from "../../../support/test.ts";

/** Returns the result of a method, called with the tokens of an opening. */
async function callAs(made: ReturnType<typeof fakeSetup>, url: string, request: Request): Promise<{
  readonly ADMIN?: boolean;
  readonly install?: { readonly installed: boolean; readonly version: number };
}> {
  const auth = new URLSearchParams(await request.text()).get("AUTH_ID")!;
  return (await made.post(url, { auth })).body.result as object;
}

describe("portal.open()", () => {
  it("returns the POST of a browser", async () => {
    const { portal } = fakeSetup();
    const request = portal.open({
      url: "https://app.example.com/page?own=1",
      placement: "CRM_DEAL_DETAIL_TAB",
      placementOptions: { ID: "42" },
      language: "de",
    });
    const url = new URL(request.url);
    assert.equal(url.searchParams.get("own"), "1");
    const body = new URLSearchParams(await request.text());
    assert.deepEqual(
      [body.get("member_id"), url.searchParams.get("DOMAIN"), url.searchParams.get("LANG"), body.get("PLACEMENT")],
      [MEMBER_ID, "example.bitrix24.de", "de", "CRM_DEAL_DETAIL_TAB"],
    );
    assert.deepEqual(JSON.parse(body.get("PLACEMENT_OPTIONS")!), { ID: "42" });
    assert.match(body.get("AUTH_ID")!, /^\w{32,}$/);
  });

  it("carries tokens of the user, who may be an administrator or not", async () => {
    const made = fakeSetup();
    const profile = "https://example.bitrix24.de/rest/profile";
    assert.equal((await callAs(made, profile, made.portal.open())).ADMIN, true);
    assert.equal((await callAs(made, profile, made.portal.open({ userId: 7 }))).ADMIN, false);
    assert.equal((await callAs(made, profile, made.portal.open({ userId: 7, admin: true }))).ADMIN, true);
    assert.equal((await callAs(made, profile, made.portal.open({ userId: 7 }))).ADMIN, true);
  });
});

describe("an app with a wizard", () => {
  it("is not installed, and sends nothing, before installFinish", async () => {
    const came: string[] = [];
    const made = fakeSetup({
      handler: async (request) => {
        const form = new URLSearchParams(await request.text());
        came.push(`${form.get("event")} ${form.get("data[VERSION]")} ${form.get("data[INSTALLED]")}`);
        return new Response();
      },
    });
    const { portal } = made;
    const info = async (): Promise<unknown> => {
      const { install } = await callAs(made, "https://oauth.bitrix24.tech/rest/app.info", portal.open());
      return [install!.installed, install!.version];
    };
    assert.deepEqual(await portal.sends.install(2, { wizard: true }), []);
    assert.deepEqual(await portal.sends.userReady(), []);
    assert.deepEqual([await info(), came], [[false, 2], []]);
    assert.deepEqual(await portal.sends.installFinish(), [200]);
    assert.deepEqual([await info(), came], [[true, 2], ["ONAPPINSTALL 2 Y"]]);
    assert.deepEqual(await portal.sends.update(3, { wizard: true }), []);
    assert.deepEqual([await info(), came.length], [[false, 3], 1]);
    portal.installFinish();
    assert.deepEqual([await info(), came.length], [[true, 3], 1]);
  });
});
