import assert from "node:assert/strict";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { backgroundWork, CLIENT_ID, MEMBER_ID, post, quietLogger, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

describe("two equal events within one second", () => {
  it("are both handled if the second arrives while the handler of the first runs", async () => {
    const { app, portal, send } = rig({ acknowledge: "stored" });
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const states: string[] = [];
    let state = "old";
    app.on("ONCRMDEALUPDATE", async () => {
      states.push(state);
      await gates[states.length - 1]?.promise;
    });
    await send(portal.install(1));
    const deal = (userId: number): string => portal.event("ONCRMDEALUPDATE", { "FIELDS[ID]": "7" }, { userId });
    const ts = (body: string): string => new URLSearchParams(body).get("ts")!;
    const first = deal(1);
    const second = new URLSearchParams(deal(7));
    second.set("ts", ts(first));
    assert.equal(await send(first), 200);
    await until("the first handler", () => states.length === 1);
    state = "new";
    assert.equal(await send(second.toString()), 200);
    gates[0]!.resolve();
    await until("the second handler", () => states.length === 2);
    gates[1]!.resolve();
    await app.close();
    assert.deepEqual(states, ["old", "new"]);
  });
});

describe("messages to bots", () => {
  const files = Array.from({ length: 10 }, (_, i) => [`PARAMS[FILES][${i}][name]`, `file ${i}`] as const);
  const grid = "PARAMS[ATTACH][0][BLOCKS][0][GRID][0][VALUE][0][LINK][0][NAME]";
  const messages: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    "of 9,000 Cyrillic letters": { "PARAMS[MESSAGE]": "ы".repeat(9000) },
    "of 20,000 Cyrillic letters": { "PARAMS[MESSAGE]": "ы".repeat(20_000) },
    "with nested attachments": { "PARAMS[MESSAGE]": "x", [grid]: "deep" },
    "with ten files": { "PARAMS[MESSAGE]": "x", ...Object.fromEntries(files) },
  };
  for (const [name, data] of Object.entries(messages)) {
    it(`${name} are handled`, async () => {
      const { app, portal, send } = rig();
      const seen: unknown[] = [];
      app.on("ONIMBOTMESSAGEADD", ({ event }) => void seen.push(event.data.extra));
      await send(portal.install(1));
      assert.equal(await send(withData(portal.event("ONIMBOTMESSAGEADD", {}), data)), 200);
      const { PARAMS } = seen[0] as { readonly PARAMS: { readonly MESSAGE: string; readonly FILES?: object } };
      assert.equal(PARAMS.MESSAGE, data["PARAMS[MESSAGE]"]);
      assert.equal(Object.keys(PARAMS.FILES ?? {}).length, name.includes("files") ? 10 : 0);
      await app.close();
    });
  }

  it("of a webhook bot, whose auth has no tokens of a user, are handled", async () => {
    const { app, portal, send } = rig();
    const seen: unknown[] = [];
    app.on("ONIMBOTMESSAGEADD", ({ event }) => void seen.push(event.auth.accessToken));
    await send(portal.install(1));
    const body = withData(portal.event("ONIMBOTMESSAGEADD", {}, { tokenless: true }), { "PARAMS[MESSAGE]": "x" });
    assert.equal(await send(body), 200);
    assert.deepEqual(seen, [undefined]);
    await app.close();
  });
});

/** Returns the body with fields of `data` that have nested names. */
function withData(body: string, data: Readonly<Record<string, string>>): string {
  const parameters = new URLSearchParams(body);
  for (const [name, value] of Object.entries(data)) parameters.set(`data[${name.replace("[", "][")}`, value);
  return parameters.toString();
}

describe("an event of the queue kind", () => {
  it("has no data, and is handled", async () => {
    const { app, portal, send } = rig();
    const seen: unknown[] = [];
    app.on("ONOFFLINEEVENT", ({ event }) => void seen.push(Object.keys(event.data.extra)));
    await send(portal.install(1));
    const body = new URLSearchParams(portal.event("ONOFFLINEEVENT", {}));
    for (const name of [...body.keys()]) if (name.startsWith("data")) body.delete(name);
    assert.equal(await send(body.toString()), 200);
    assert.deepEqual(seen, [[]]);
    await app.close();
  });
});

describe("portal.domain", () => {
  it("is not the OAuth host of ONAPPUSERREADY, also if that is the first event of the portal", async () => {
    for (const isFirst of [true, false]) {
      const { app, portal, send } = rig();
      const install = portal.install(1);
      if (!isFirst) await send(install);
      const body = portal.userReady();
      assert.match(new URLSearchParams(body).get("auth[domain]")!, /^oauth\./);
      assert.equal(await send(body), 200);
      assert.equal((await app.portal(MEMBER_ID))?.domain, portal.domain);
      await app.close();
    }
  });

  it("follows a portal that was renamed, at the next call, before any event", async () => {
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const { platform, settled } = backgroundWork();
    const calls = rest();
    const app = createApp({
      ...{ storage: memoryStorage(), clientId: CLIENT_ID, fetch: bitrix24.fetch, logger: quietLogger, checks: false },
    }).use(applicationToken()).use(calls);
    assert.equal((await app.fetch(post(portal.install(1)), platform)).status, 200);
    await settled();
    portal.rename("renamed.bitrix24.de");
    await calls.portal(MEMBER_ID).call("profile");
    const { domain, clientEndpoint } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([domain, clientEndpoint], ["renamed.bitrix24.de", "https://renamed.bitrix24.de/rest/"]);
    await app.close();
  });
});
