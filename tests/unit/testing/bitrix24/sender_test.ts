import assert from "node:assert/strict";
import { createApp, memoryStorage, parseEvent } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, quietLogger } from "../../../support/app.ts";
import { type FakeSetup, fakeSetup, NOW } from "../../../support/fake.ts";
import { describe, it } from "../../../support/test.ts";

interface SenderSetup extends FakeSetup {
  /** Received events, by name and version. */
  readonly received: string[];
  status: number;
}

function senderSetup(): SenderSetup {
  const received: string[] = [];
  const made: SenderSetup = Object.assign(
    fakeSetup({
      handler: async (request) => {
        const event = parseEvent(await request.text());
        assert.equal(request.method, "POST");
        received.push(`${event.name} ${"version" in event.data ? event.data.version : ""}`.trim());
        return new Response("ignored", { status: made.status });
      },
    }),
    { received, status: 200 },
  );
  return made;
}

describe("FakePortal.sends", () => {
  it("sends events and returns the statuses", async () => {
    const { portal, received, bitrix24 } = senderSetup();
    assert.deepEqual(await portal.sends.install(2), [200]);
    assert.deepEqual(await portal.sends.update(3), [200]);
    assert.deepEqual(await portal.sends.userReady(), [200]);
    assert.deepEqual(await portal.sends.event("ONAPPTEST", { "QUERY[a]": "1" }), [200]);
    assert.deepEqual(await portal.sends.stopPayment(), [200]);
    assert.deepEqual(await portal.sends.pay(), [200]);
    assert.deepEqual(await portal.sends.uninstall(), [200]);
    assert.deepEqual(received, [
      "ONAPPINSTALL 2",
      "ONAPPUPDATE 3",
      "ONAPPUSERREADY",
      "ONAPPTEST",
      "ONAPPPAYMENT 3",
      "ONAPPPAYMENT 3",
      "ONAPPUNINSTALL",
    ]);
    assert.deepEqual(bitrix24.events()[1], {
      memberId: MEMBER_ID,
      event: "ONAPPUPDATE",
      version: "3",
      outcome: "answered",
      status: 200,
    });
  });

  it("loses, repeats and reorders events", async () => {
    const { portal, received, bitrix24 } = senderSetup();
    assert.deepEqual(await portal.sends.update(3, { lose: true }), []);
    assert.deepEqual(await portal.sends.update(4, { duplicate: 2 }), [200, 200, 200]);
    assert.deepEqual(await portal.sends.update(5, { reorder: true }), []);
    assert.deepEqual(await portal.sends.update(6, { reorder: true, duplicate: 1 }), []);
    assert.equal(portal.state().version, 6);
    assert.deepEqual(await portal.sends.update(7), [200, 200, 200, 200]);
    assert.deepEqual(await portal.sends.pay(), [200]);
    received.pop();
    assert.deepEqual(received.map((event) => event.split(" ")[1]), ["4", "4", "4", "7", "5", "6", "6"]);
    assert.deepEqual(bitrix24.events().slice(0, -1).map(({ version, outcome }) => [version, outcome]), [
      ["3", "lost"],
      ...["4", "4", "4", "7", "5", "6", "6"].map((version) => [version, "answered"]),
    ]);
  });

  it("sends each event once, whatever the answer is", async () => {
    const made = senderSetup();
    made.status = 503;
    assert.deepEqual(await made.portal.sends.update(3), [503]);
    assert.equal(made.received.length, 1);
    made.bitrix24.deliverTo(() => Promise.reject(new Error("down")));
    assert.deepEqual(await made.portal.sends.update(4), []);
    assert.deepEqual(made.bitrix24.events().map(({ outcome }) => outcome), ["answered", "failed"]);
  });

  it("sends any body", async () => {
    const { portal, received } = senderSetup();
    const update = portal.update(3);
    portal.update(4);
    assert.deepEqual(await portal.send(update, { duplicate: 1 }), [200, 200]);
    assert.deepEqual(received, ["ONAPPUPDATE 3", "ONAPPUPDATE 3"]);
  });

  it("sends nothing before the installation is finished, or while the app is not paid for", async () => {
    const { portal, received, bitrix24 } = senderSetup();
    const install = await portal.sends.install(2, { finished: false });
    assert.deepEqual([install, portal.state().finished], [[200], false]);
    await portal.sends.update(3);
    portal.installFinish();
    await portal.sends.update(4);
    await portal.sends.stopPayment();
    await portal.sends.update(5);
    await portal.sends.pay();
    await portal.sends.update(6);
    assert.deepEqual(received, [
      "ONAPPINSTALL 2",
      "ONAPPUPDATE 4",
      "ONAPPPAYMENT 4",
      "ONAPPPAYMENT 5",
      "ONAPPUPDATE 6",
    ]);
    const silenced = bitrix24.events().filter(({ outcome }) => outcome === "silenced");
    assert.deepEqual(silenced.map(({ version }) => version), ["3", "5"]);
  });

  it("throws without a receiver", async () => {
    await assert.rejects(fakeSetup().portal.sends.update(3), { name: "TypeError", message: /deliverTo\(\)/ });
  });

  it("sends ONAPPTEST for event.test if it is bound", async () => {
    const { portal, call, received, bitrix24 } = senderSetup();
    assert.equal((await call("event.test", { any: { deep: "data" } })).body.result, true);
    await call("event.bind", { event: "ONAPPTEST", handler: "https://app.example/" });
    const bodies: string[] = [];
    bitrix24.deliverTo(async (request) => {
      bodies.push(await request.text());
      return new Response();
    });
    await call("event.test", { any: { deep: "data" }, list: ["a"] });
    await bitrix24.settled();
    assert.deepEqual(received, []);
    const event = parseEvent(bodies[0]!);
    assert(event.name === "ONAPPTEST");
    assert.deepEqual(JSON.parse(JSON.stringify(event.data.query)), { any: { deep: "data" }, list: ["a"] });
    assert.equal(event.auth.memberId, portal.memberId);
  });

  it("sends an update as an installation for apps without an interface", async () => {
    const { portal, received } = senderSetup();
    const before = new URLSearchParams(portal.event("ONAPPTEST", {})).get("auth[application_token]");
    await portal.sends.update(3, { as: "ONAPPINSTALL" });
    assert.deepEqual(received, ["ONAPPINSTALL 3"]);
    const after = new URLSearchParams(portal.event("ONAPPTEST", {})).get("auth[application_token]");
    assert.equal(after, before);
  });

  it("takes an app through installations, updates and a removal", async () => {
    let now = NOW;
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock: () => now, handler: (request) => app.fetch(request) });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const app = createApp({
      storage: memoryStorage(),
      clientId: CLIENT_ID,
      acknowledge: "handled",
      clock: () => now,
      fetch: bitrix24.fetch,
      checks: false,
      logger: quietLogger,
    }).use(applicationToken());
    assert.deepEqual(await portal.sends.install(1), [200]);
    now += 60_000;
    assert.deepEqual(await portal.sends.update(2, { rotateToken: true, duplicate: 1 }), [200, 200]);
    assert.deepEqual(await portal.sends.update(3, { lose: true }), []);
    now += 60_000;
    assert.deepEqual(await portal.sends.update(4), [200]);
    assert.equal((await app.portal(MEMBER_ID))?.version, "4.0.0");
    await app.close();
  });
});

describe("FakePortal", () => {
  it("returns events with the time of the clock, each different, and the tokens of their user", () => {
    const made = fakeSetup();
    const body = (text: string) => new URLSearchParams(text);
    const events = [made.portal.event("ONAPPTEST", {}), made.portal.event("ONAPPTEST", {}, { userId: 5 })].map(body);
    made.now += 60_000;
    events.push(body(made.portal.event("ONAPPTEST", {}, { tokenless: true })));
    const start = NOW / 1000;
    // The installation of the town was the first.
    assert.deepEqual(events.map((event) => Number(event.get("ts")) - start), [1, 2, 60]);
    assert.deepEqual(events.map((event) => event.get("auth[user_id]")), ["1", "5", null]);
    assert.equal(Number(events[0]!.get("auth[expires]")), start + 3600);
    assert.equal(events[2]!.has("auth[access_token]"), false);
  });

  it("forges events, which change nothing", () => {
    const { portal } = fakeSetup();
    const own = new URLSearchParams(portal.event("ONAPPTEST", {})).get("auth[application_token]");
    const plain = new URLSearchParams(portal.forge("ONAPPUPDATE", { VERSION: "9", "QUERY[a]": "1" }));
    const seen = ["event", "data[VERSION]", "data[QUERY][a]", "ts", "auth[member_id]", "auth[application_token]"];
    assert.deepEqual(
      seen.map((name) => plain.get(name)),
      ["ONAPPUPDATE", "9", "1", String(NOW / 1000), MEMBER_ID, own],
    );
    assert.equal(plain.get("auth[access_token]"), null);
    const other = new URLSearchParams(portal.forge("ONAPPUNINSTALL", {}, {
      applicationToken: "f".repeat(32),
      tokens: { accessToken: "made-up", refreshToken: "also" },
      ts: 7,
      auth: { server_endpoint: undefined, domain: "evil.example" },
    }));
    assert.deepEqual(
      [
        "ts",
        "auth[application_token]",
        "auth[access_token]",
        "auth[refresh_token]",
        "auth[server_endpoint]",
        "auth[domain]",
      ]
        .map((name) => other.get(name)),
      ["7", "f".repeat(32), "made-up", "also", null, "evil.example"],
    );
    assert.equal(portal.state().version, 2);
  });
});
