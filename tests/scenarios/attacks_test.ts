/** Attacks by people who can post to the app: what they know is named in each test. Time is virtual. */
import assert from "node:assert/strict";
import { type App, type AppOptions, createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken, type ApplicationTokenOptions } from "@b24/onappupdate/application-token";
import { type HasB24, rest } from "@b24/onappupdate/rest";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, post, quietLogger } from "../support/app.ts";
import { changed, TOKENLESS } from "../support/scene.ts";
import { describe, it } from "../support/test.ts";
import { simulated, virtualTime } from "../support/time.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

interface Attacked {
  readonly app: App<HasB24>;
  readonly bitrix24: FakeBitrix24;
  /** Version 2 is installed. */
  readonly portal: FakePortal;
  /** Posts a body from an IP address. */
  readonly send: (body: string, clientAddress?: string) => Promise<number>;
  readonly elapse: (ms: number) => Promise<void>;
  readonly now: () => number;
  /** Names of the events whose handlers ran, and the ids of upgrades, in order. */
  readonly ran: string[];
  /** Everything stored, as text. */
  readonly stored: () => Promise<string>;
  readonly version: (memberId?: string) => Promise<string | undefined>;
}

async function attacked(
  options: Partial<AppOptions> = {},
  token: ApplicationTokenOptions = {},
): Promise<Attacked> {
  const time = virtualTime();
  const storage = memoryStorage({ clock: time.now });
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: "secret-0123456789", clock: time.now });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const ran: string[] = [];
  const app = createApp({
    ...simulated(time),
    storage,
    clientId: CLIENT_ID,
    clientSecret: "secret-0123456789",
    fetch: bitrix24.fetch,
    logger: quietLogger,
    ...options,
  }).use(applicationToken(token)).use(rest({ attempts: 1 }))
    .on("ONAPPUNINSTALL", ({ event }) => void ran.push(event.data.clean ? "removed, clean" : "removed"))
    .on("ONAPPPAYMENT", () => {
      throw new Error("always fails");
    })
    .on("ONCRMDEALADD", async ({ b24 }) => {
      ran.push("deal");
      await b24.call("crm.deal.list");
    });
  for (const version of ["3", "4", "5"]) app.upgrade(version, () => void ran.push(version));
  await app.start();
  portal.data("crm.deal.list", []);
  const made: Attacked = {
    ...{ app, bitrix24, portal, ran, elapse: time.elapse, now: time.now },
    send: async (body, clientAddress = "198.51.100.1") =>
      (await app.fetch(post(body), { remoteAddr: { hostname: clientAddress } })).status,
    stored: async () => {
      const all: unknown[] = [];
      for await (const { key, value } of storage.list([])) all.push([key, value]);
      return JSON.stringify(all);
    },
    version: async (memberId = MEMBER_ID) => (await app.portal(memberId))?.version,
  };
  assert.equal(await made.send(portal.install(2)), 200);
  await time.elapse(MINUTE);
  assert.equal(await made.version(), "2.0.0");
  return made;
}

const UNKNOWN_TOKEN = "f".repeat(32);
let count = 0;
const madeUp = (): { accessToken: string } => ({ accessToken: `made-up-${count++}-0123456789abcdef` });
/** Returns the body with the `member_id` of no portal. */
const ofNobody = (body: string): string =>
  changed(body, { "auth[member_id]": (count++).toString(16).padStart(32, "0") });
const memberIdOf = (i: number): string => `c${i.toString(16).padStart(31, "0")}`;

describe("somebody who knows a portal's member_id", () => {
  for (const secret of [{}, { clientSecret: undefined }] as const) {
    const how = "clientSecret" in secret ? "without" : "with";
    it(`does not keep out its update by posts with made-up access tokens, ${how} clientSecret`, async () => {
      const { clientSecret: _, ...others } = { clientSecret: "x", ...secret };
      const { portal, send, elapse, version, app } = await attacked(
        "clientSecret" in secret ? secret as never : others,
      );
      const flood = { applicationToken: UNKNOWN_TOKEN };
      for (let i = 0; i < 6; i++) {
        assert.equal(await send(portal.forge("ONAPPUPDATE", { VERSION: "3" }, { ...flood, tokens: madeUp() })), 200);
        await elapse(SECOND);
      }
      assert.equal(await send(portal.update(3, { rotateToken: true })), 200);
      await elapse(2 * MINUTE);
      assert.equal(await version(), "3.0.0");
      // The new application_token is known.
      assert.equal(await send(portal.event("ONAPPTEST", {}, { tokenless: true })), 200);
      assert.equal(await send(portal.uninstall()), 200);
      await elapse(5 * MINUTE);
      assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
      await app.close();
    });
  }

  it("does not put off its checks by seven posts an hour", async () => {
    const { portal, send, elapse, version, app } = await attacked();
    assert.equal(await send(portal.update(3, { rotateToken: true, tokenless: true })), 403);
    const flood = { applicationToken: UNKNOWN_TOKEN };
    for (let i = 0; i < 14; i++) {
      assert.equal(await send(portal.forge("ONAPPUPDATE", { VERSION: "3" }, { ...flood, tokens: madeUp() })), 200);
      assert.equal(await send(portal.forge("ONAPPUPDATE", { VERSION: "3" }, flood)), 403);
      await elapse(HOUR / 7);
    }
    assert.equal(await version(), "3.0.0");
    await app.close();
  });

  it("does not put off its checks by 10,200 posts with made-up member_ids", async () => {
    const { portal, send, elapse, version, app } = await attacked();
    portal.update(3);
    const forged = portal.forge("ONAPPUPDATE", { VERSION: "3" }, { applicationToken: UNKNOWN_TOKEN });
    assert.equal(await send(forged), 403);
    for (let i = 0; i < 10_200; i++) assert.equal(await send(ofNobody(forged)), 403);
    await elapse(HOUR);
    assert.equal(await version(), "3.0.0");
    await app.close();
  });
});

describe("somebody who floods the member_id of a portal that installs the app", () => {
  it("does not displace the installation if it comes from one of trustedAddresses", async () => {
    const { bitrix24, portal, send, elapse, version, app } = await attacked({}, { trustedAddresses: ["192.0.2.0/24"] });
    const memberId = memberIdOf(1);
    const forge = (): string => {
      const fields = { VERSION: "2" };
      const forged = portal.forge("ONAPPINSTALL", fields, { applicationToken: UNKNOWN_TOKEN, tokens: madeUp() });
      return changed(forged, { "auth[member_id]": memberId });
    };
    for (let i = 0; i < 40; i++) assert.equal(await send(forge()), 200);
    assert.equal(await send(bitrix24.portal({ memberId }).install(2), "192.0.2.7"), 200);
    for (let i = 0; i < 500; i++) assert.equal(await send(forge()), 200);
    await elapse(SECOND);
    assert.equal(await version(memberId), "2.0.0");
    await app.close();
  });

  it("gains nothing by posting from a trusted address: forged events have no effect", async () => {
    const { portal, send, elapse, version, app } = await attacked({}, { trustedAddresses: ["192.0.2.0/24"] });
    const forged = { applicationToken: UNKNOWN_TOKEN, tokens: madeUp() };
    assert.equal(await send(portal.forge("ONAPPUPDATE", { VERSION: "9" }, forged), "192.0.2.7"), 200);
    await elapse(HOUR);
    assert.equal(await version(), "2.0.0");
    await app.close();
  });
});

describe("anybody who can post to the app", () => {
  it("does not keep out installations by two posts a second with made-up member_ids", async () => {
    const { bitrix24, portal, send, elapse, version, app } = await attacked();
    const customers: string[] = [];
    for (let second = 0; second < 200; second++) {
      for (let i = 0; i < 2; i++) {
        const forged = portal.forge("ONAPPINSTALL", { VERSION: "2" }, {
          applicationToken: UNKNOWN_TOKEN,
          tokens: madeUp(),
        });
        assert.equal(await send(ofNobody(forged)), 200);
      }
      if (second % 2 === 0) {
        const memberId = memberIdOf(second);
        customers.push(memberId);
        assert.equal(await send(bitrix24.portal({ memberId, domain: `c${second}.bitrix24.de` }).install(2)), 200);
      }
      await elapse(SECOND);
    }
    await elapse(5 * MINUTE);
    assert.equal(customers.length, 100);
    for (const memberId of customers) assert.equal(await version(memberId), "2.0.0");
    await app.close();
  });
});

describe("an OAuth host that answers 500 for a minute", () => {
  it("loses no installation", async () => {
    const { bitrix24, send, elapse, version, app } = await attacked();
    bitrix24.fail("INTERNAL_SERVER_ERROR", { at: "oauth", times: 1000 });
    for (let i = 0; i < 100; i++) {
      assert.equal(
        await send(bitrix24.portal({ memberId: memberIdOf(i), domain: `c${i}.bitrix24.de` }).install(2)),
        200,
      );
    }
    await elapse(20 * MINUTE);
    for (let i = 0; i < 100; i++) assert.equal(await version(memberIdOf(i)), "2.0.0");
    await app.close();
  });
});

describe("600 portals whose application_token changes in one minute", () => {
  it("are all updated", async () => {
    const { bitrix24, send, elapse, version, app } = await attacked();
    const portals = Array.from(
      { length: 600 },
      (_, i) => bitrix24.portal({ memberId: memberIdOf(i), domain: `c${i}.bitrix24.de` }),
    );
    for (const portal of portals) assert.equal(await send(portal.install(2)), 200);
    await elapse(10 * MINUTE);
    for (const portal of portals) assert.equal(await send(portal.update(3, { rotateToken: true })), 200);
    await elapse(5 * MINUTE);
    for (const { memberId } of portals) assert.equal(await version(memberId), "3.0.0");
    await app.close();
  });
});

describe("a user of a portal, whose browser knows the application_token,", () => {
  it("cannot make up a version: nothing runs, the operator sees it, and the authentic updates run", async () => {
    const { portal, send, elapse, ran, app } = await attacked();
    assert.equal(await send(portal.forge("ONAPPUPDATE", { VERSION: "999999", PREVIOUS_VERSION: "2" })), 200);
    await elapse(HOUR);
    assert.deepEqual(ran, []);
    assert.equal((await app.portal(MEMBER_ID))?.target, "2.0.0");
    const { problems } = await app.check(MEMBER_ID);
    assert.deepEqual(problems.map(({ code }) => code), ["unconfirmed"]);
    for (const version of [3, 4, 5]) {
      assert.equal(await send(portal.update(version)), 200);
      await elapse(30 * MINUTE);
    }
    assert.deepEqual(ran, ["3", "4", "5"]);
    await app.close();
  });

  it("cannot fake a removal: the portal goes on, its handlers do not run, and the operator sees it", async () => {
    const { portal, send, elapse, ran, app } = await attacked();
    assert.equal(await send(portal.forge("ONAPPUNINSTALL", { CLEAN: "1", LANGUAGE_ID: "de" })), 200);
    for (let hour = 0; hour < 30; hour++) await elapse(HOUR);
    assert.equal((await app.portal(MEMBER_ID))?.status, "installed");
    const { problems } = await app.check(MEMBER_ID);
    assert.deepEqual(problems.map(({ code }) => code), ["unconfirmed"]);
    assert.equal(await send(portal.update(3)), 200);
    await elapse(MINUTE);
    assert.deepEqual(ran, ["3"]);
    await app.close();
  });

  it("does not displace the application_token by two updates with their own access token", async () => {
    const { portal, send, elapse, version, app } = await attacked();
    for (const token of ["a".repeat(32), "b".repeat(32)]) {
      const forged = portal.forge("ONAPPUPDATE", { VERSION: "2" }, {
        applicationToken: token,
        tokens: portal.tokens(7),
      });
      assert.equal(await send(forged), 200);
      await elapse(2 * MINUTE);
    }
    assert.equal(await send(portal.update(3, { tokenless: true })), 200);
    await elapse(MINUTE);
    assert.equal(await version(), "3.0.0");
    await app.close();
  });

  for (const name of ["ONAPPUPDATE", "ONAPPUSERREADY"] as const) {
    it(`does not become the user that calls run as, nor evict the administrator, by ${name}`, async () => {
      const { portal, send, elapse, ran, app } = await attacked();
      for (const userId of [7, 8, 9, 10, 11]) {
        portal.user(userId, {});
        const tokens = portal.tokens(userId);
        const own = portal.tokens(userId);
        const data = name === "ONAPPUPDATE" ? { VERSION: "2", PREVIOUS_VERSION: "2" } : {
          access_token: own.accessToken,
          refresh_token: own.refreshToken,
          expires_in: "3600",
          scope: "crm",
          user_id: String(userId),
        };
        assert.equal(await send(portal.forge(name, data, { tokens, auth: { user_id: String(userId) } })), 200);
        await elapse(20 * MINUTE);
      }
      const add = { "FIELDS][ID": "1" };
      assert.equal(await send(portal.event("ONCRMDEALADD", add, { tokenless: true })), 200);
      await elapse(MINUTE);
      assert.deepEqual(ran, ["deal"]);
      assert.deepEqual(portal.calls().filter(({ method }) => method === "crm.deal.list").map(({ userId }) => userId), [
        1,
      ]);
      await app.close();
    });
  }

  for (const domain of ["169.254.169.254", "evil.example"]) {
    it(`does not change portal.domain to ${domain}`, async () => {
      const { portal, send, elapse, app } = await attacked();
      assert.equal(await send(portal.forge("ONCRMDEALADD", { "FIELDS][ID": "1" }, { auth: { domain } })), 200);
      await elapse(MINUTE);
      assert.equal((await app.portal(MEMBER_ID))?.domain, portal.domain);
      await app.close();
    });
  }

  it("does not make an authentic update useless by posting a copy before it", async () => {
    const { portal, send, elapse, version, app } = await attacked();
    const first = portal.event("ONAPPTEST", {});
    const update = portal.update(3, { rotateToken: true });
    const known = new URLSearchParams(first).get("auth[application_token]")!;
    assert.equal(await send(changed(update, { ...TOKENLESS, "auth[application_token]": known })), 200);
    assert.equal(await send(update), 200);
    await elapse(2 * MINUTE);
    assert.equal(await version(), "3.0.0");
    assert.equal(await send(portal.event("ONAPPTEST", {}, { tokenless: true })), 200, "its application_token is known");
    await app.close();
  });

  it("does not make an authentic update useless by an event from the far future", async () => {
    const { portal, send, elapse, version, now, app } = await attacked();
    const ts = Math.floor(now() / 1000) + 10 * 365 * 86_400;
    const forged = portal.forge("ONCRMDEALADD", { "FIELDS][ID": "1" }, { ts });
    const update = portal.update(3, { rotateToken: true });
    await elapse(5 * SECOND);
    assert.equal(await send(forged), 200);
    assert.equal(await send(update), 200);
    await elapse(2 * MINUTE);
    assert.equal(await version(), "3.0.0");
    assert.equal(await send(portal.event("ONAPPTEST", {}, { tokenless: true })), 200, "its application_token is known");
    await app.close();
  });
});

describe("somebody who knows the application_token of the installation before", () => {
  it("cannot remove the new one", async () => {
    const { portal, send, elapse, app } = await attacked();
    const removal = portal.uninstall();
    assert.equal(await send(removal), 200);
    await elapse(5 * MINUTE);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    assert.equal(await send(portal.install(2)), 200);
    await elapse(MINUTE);
    const old = new URLSearchParams(removal).get("auth[application_token]")!;
    assert.equal(await send(portal.forge("ONAPPUNINSTALL", { CLEAN: "1" }, { applicationToken: old })), 403);
    assert.equal(await send(portal.forge("ONCRMDEALADD", { "FIELDS][ID": "1" }, { applicationToken: old })), 403);
    await elapse(5 * MINUTE);
    const { status, generation } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([status, generation], ["installed", 2]);
    await app.close();
  });

  it("runs no handlers of a removed portal, also 90 days later", async () => {
    const { portal, send, elapse, ran, app } = await attacked({ tickEveryMs: HOUR });
    assert.equal(await send(portal.uninstall()), 200);
    await elapse(2 * HOUR);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    ran.length = 0;
    const forged = () => portal.forge("ONCRMDEALADD", { "FIELDS][ID": String(count++) });
    await send(forged());
    await elapse(MINUTE);
    for (let day = 0; day < 90; day++) await elapse(DAY);
    await send(forged());
    await elapse(MINUTE);
    assert.deepEqual(ran, []);
    await app.close();
  });
});

describe("an update that the app cannot verify or never receives", () => {
  it("is noticed within an hour if it comes without an access token and with a new application_token", async () => {
    const { portal, send, elapse, version, app } = await attacked();
    assert.equal(await send(portal.update(3, { rotateToken: true, tokenless: true })), 403);
    await elapse(HOUR);
    assert.equal(await version(), "3.0.0");
    await app.close();
  });

  for (const name of ["an event", "ONAPPUSERREADY"]) {
    it(`is noticed within half an hour if ${name} came just before it`, async () => {
      const { portal, send, elapse, version, app } = await attacked();
      await app.check(MEMBER_ID);
      await elapse(5 * MINUTE);
      assert.equal(await send(name === "an event" ? portal.event("ONAPPTEST", {}) : portal.userReady()), 200);
      await elapse(5 * SECOND);
      portal.update(3);
      await elapse(30 * MINUTE);
      if (name === "an event") assert.equal(await version(), "3.0.0");
      assert.equal(await send(portal.userReady()), 200);
      await elapse(MINUTE);
      assert.equal(await version(), "3.0.0");
      await app.close();
    });
  }
});

describe("a removal", () => {
  it("deletes all tokens of the portal, also those of parked events", async () => {
    const { portal, send, elapse, stored, app, ran } = await attacked({ retry: { maxAttempts: 1 } });
    assert.equal(await send(portal.pay()), 200);
    await elapse(MINUTE);
    assert.match(await stored(), /acce55/);
    assert.equal(await send(portal.uninstall()), 200);
    await elapse(5 * MINUTE);
    assert.deepEqual(ran, ["removed, clean"]);
    assert.doesNotMatch(await stored(), /acce55|fe5fe5/);
    await app.close();
  });
});

describe("an operator", () => {
  it("sees no token of a portal", async () => {
    const { portal, send, elapse, stored, app } = await attacked();
    assert.equal(await send(portal.pay()), 200);
    await elapse(MINUTE);
    const seen = [await app.portal(MEMBER_ID), await app.admin.portals({}), await app.check(MEMBER_ID)];
    assert.match(await stored(), /acce55/);
    assert.doesNotMatch(JSON.stringify(seen), /acce55|fe5fe5/);
    await app.close();
  });
});

describe("the page of the app", () => {
  it("that posts to app.fetch is told about app.open(), which finds updates that no event announced", async () => {
    const { portal, elapse, ran, app } = await attacked();
    const response = await app.fetch(portal.open());
    assert.equal(response.status, 400);
    assert.match((await response.json()).detail, /pass openings to app\.open\(\) or openingPage\(\)/);
    portal.update(3, { wizard: true });
    const opening = await app.open(portal.open());
    assert.equal(opening.isAdmin, true);
    await elapse(MINUTE);
    assert.deepEqual(ran, ["3"]);
    await app.close();
  });
});
