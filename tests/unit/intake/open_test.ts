import assert from "node:assert/strict";
import {
  type App,
  type AppOptions,
  createApp,
  memoryStorage,
  NonRetriableError,
  type Opening,
  type Storage,
  type UpgradeContext,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { CannotVerifyError, InputError, NotAuthenticError } from "@b24/onappupdate/errors";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import type { PortalRecord } from "../../../src/portal/record.ts";
import {
  backgroundWork,
  CLIENT_ID,
  FORM,
  MEMBER_ID,
  OTHER_MEMBER_ID,
  post,
  recorder,
  recordingLogger,
} from "../../support/app.ts";
import { openedRecord } from "../../support/credentials.ts";
import { describe, it, test } from "../../support/test.ts";

const NOW = Date.UTC(2027, 0, 1);
const TOKENS = /acce55|fe5fe5|5e55|a99[0-9a-f]{5}/;

interface Setup {
  readonly app: App;
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly storage: Storage;
  readonly lines: string[];
  readonly names: () => string[];
  /** Versions of the portal when handlers and upgrades ran. */
  readonly ran: string[];
  readonly open: (request?: Request) => Promise<Opening>;
  readonly send: (body: string) => Promise<number>;
  readonly settled: () => Promise<void>;
  readonly record: () => Promise<PortalRecord>;
  now: number;
}

function setUp(
  options: Partial<AppOptions> & {
    readonly upgrade?: (ctx: UpgradeContext) => void | Promise<void>;
    readonly handler?: () => Promise<void>;
  } = {},
): Setup {
  const { upgrade = () => {}, handler = () => Promise.resolve(), ...others } = options;
  const clock = (): number => made.now;
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock });
  const storage = memoryStorage({ clock });
  const { logger, lines } = recordingLogger();
  const { plugin, names } = recorder();
  const { platform, settled } = backgroundWork();
  const ran: string[] = [];
  const app = createApp({
    ...{ storage, clock, logger, clientId: CLIENT_ID, fetch: bitrix24.fetch, acknowledge: "handled" },
    ...{ checks: false, tickEveryMs: false },
    ...others,
  }).use(applicationToken()).use(plugin)
    .on(["ONAPPINSTALL", "ONAPPUPDATE"], async ({ event }) => {
      await handler();
      ran.push(`${event.name} ${event.data.version}`);
    })
    .upgrade("3", async (ctx) => {
      await upgrade(ctx);
      ran.push("upgrade 3");
    });
  const made: Setup = {
    ...{ app, bitrix24, storage, lines, names, ran, settled },
    portal: bitrix24.portal({ memberId: MEMBER_ID }),
    now: NOW,
    open: (request = made.portal.open()) => app.open(request, platform),
    send: async (body) => (await app.fetch(post(body), platform)).status,
    record: async () => (await openedRecord(storage, MEMBER_ID))!,
  };
  return made;
}

/** Returns a request like `request` with fields of its form and query replaced, or removed if undefined. */
async function changed(
  request: Request,
  fields: Readonly<Record<string, string | undefined>>,
  query: Readonly<Record<string, string | undefined>> = {},
): Promise<Request> {
  const body = new URLSearchParams(await request.text());
  const url = new URL(request.url);
  for (const [target, changes] of [[body, fields], [url.searchParams, query]] as const) {
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined) target.delete(name);
      else target.set(name, value);
    }
  }
  return new Request(url, { method: "POST", body: body.toString(), headers: { "content-type": FORM } });
}

describe("app.open()", () => {
  it("resolves to what a page can rely on", async () => {
    const { app, portal, open, send } = setUp();
    await send(portal.install(2));
    const request = portal.open({ placement: "CRM_DEAL_DETAIL_TAB", placementOptions: { ID: "42" }, language: "de" });
    const { portal: record, appSid, frameAncestors, ...opening } = await open(request);
    assert.deepEqual(opening, {
      ...{ memberId: MEMBER_ID, userId: 1, isAdmin: true, isInstalled: true, isNew: false, language: "de" },
      ...{ placement: "CRM_DEAL_DETAIL_TAB", placementOptions: { ID: "42" }, upgrade: { state: "current" } },
    });
    assert.deepEqual([record.version, record.target, record.domain], ["2.0.0", "2.0.0", "example.bitrix24.de"]);
    assert.equal(record.clientEndpoint, "https://example.bitrix24.de/rest/");
    assert.match(appSid!.reveal(), /^5e55/);
    assert(frameAncestors.includes("https://*.bitrix24.com"), frameAncestors.join());
    assert(frameAncestors.includes("https://example.bitrix24.de"), frameAncestors.join());
    await app.close();
  });

  it("makes a portal known that had the app before, and asks the vendor for the version of its data", async () => {
    const made = setUp({ initialVersion: ({ auth }) => auth.memberId === MEMBER_ID ? "1.5" : undefined });
    const { portal, open, settled, ran, app } = made;
    portal.install(3);
    const { isNew, upgrade, portal: { version, target } } = await open();
    assert.deepEqual([isNew, upgrade.state, version, target], [true, "upgrading", undefined, "3.0.0"]);
    assert.equal((await open(portal.open({ userId: 7 }))).isNew, false);
    // Its ONAPPINSTALL might be on its way.
    await settled();
    assert.deepEqual(ran, []);
    made.now += 60_000;
    await app.tick();
    assert.deepEqual(ran, ["upgrade 3", "ONAPPUPDATE 3.0.0"]);
    const { initialVersion, version: reached } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([initialVersion, reached], ["1.5.0", "3.0.0"]);
    await app.close();
  });

  it("stores the tokens of administrators, and of nobody else", async () => {
    const { app, portal, open, record } = setUp();
    portal.install(2);
    const { isAdmin, isNew } = await open(portal.open({ userId: 7 }));
    assert.deepEqual([isAdmin, isNew], [false, true]);
    assert.deepEqual([(await record()).tokens, (await record()).applicationToken], [undefined, undefined]);
    assert.equal((await open()).isAdmin, true);
    assert.deepEqual((await record()).tokens?.map(({ userId }) => userId), [1]);
    assert.notEqual((await record()).applicationToken, undefined);
    assert.equal((await app.credentials.get(MEMBER_ID)).userId, 1);
    await app.close();
  });

  it("makes an administrator's application token known, so that events are accepted by it", async () => {
    const { app, portal, open, send } = setUp();
    portal.install(2);
    await open();
    portal.update(3, { rotateToken: true });
    await open();
    assert.equal(await send(portal.event("ONAPPTEST", {}, { tokenless: true })), 200);
    await app.close();
  });

  it("raises the target to the version that Bitrix24 confirms, and does the work", async () => {
    const made = setUp();
    const { portal, open, settled, ran, app } = made;
    await made.send(portal.install(2));
    portal.update(3); // no event
    assert.deepEqual((await open(portal.open({ userId: 7 }))).upgrade, { state: "upgrading" });
    await settled();
    assert.deepEqual(ran, ["ONAPPINSTALL 2", "upgrade 3", "ONAPPUPDATE 3.0.0"]);
    made.now += 61_000;
    const opening = await open();
    assert.deepEqual([opening.upgrade, opening.portal.version], [{ state: "current" }, "3.0.0"]);
    await app.close();
  });

  it("continues the work of a portal that was blocked for want of an administrator's tokens", async () => {
    let isExpired = false;
    const made = setUp({
      clientSecret: "secret",
      upgrade: async ({ memberId }) => {
        if (!isExpired) {
          isExpired = true;
          made.now += 3_600_000;
          portal.expireTokens({ refresh: true });
        }
        await made.app.credentials.get(memberId);
      },
    });
    const { portal, open, settled, ran, app } = made;
    await made.send(portal.install(2));
    await made.send(portal.update(3, { tokenless: true }));
    assert.equal((await app.portal(MEMBER_ID))?.blocked?.on, "authorization");
    assert.equal((await open(portal.open({ userId: 7 }))).upgrade.state, "blocked");
    assert.equal((await open()).upgrade.state, "upgrading");
    await settled();
    assert.deepEqual(ran.slice(1), ["upgrade 3", "ONAPPUPDATE 3"]);
    await app.close();
  });

  it("starts the app", async () => {
    const { portal, open, app } = setUp();
    portal.install(2);
    await open();
    await app.close();
    await assert.rejects(open(), { name: "CannotVerifyError", message: "the app is not running" });
  });

  it("refuses what is not authentic, with the errors of verification", async () => {
    const made = setUp();
    const { portal, bitrix24, open, app, lines, storage } = made;
    portal.install(2);
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.de" });
    other.install(2);
    const foreign = bitrix24.portal({ memberId: "f".repeat(32), domain: "foreign.bitrix24.de", clientId: "app.other" });
    foreign.install(2);
    const expired = portal.open();
    portal.expireTokens();
    const rows: readonly (readonly [
      request: Request | Promise<Request>,
      error: new (...args: never) => Error,
      message: RegExp,
    ])[] = [
      [new Request("https://app.example.com/"), InputError, /wanted the method POST/],
      [post("{}", "application/json"), InputError, /wanted application\/x-www-form-urlencoded/],
      [post("x".repeat(2 ** 20 + 1)), InputError, /wanted at most 1048576 bytes/],
      [
        new Request(post(""), { headers: { "content-type": FORM, "content-encoding": "gzip" } }),
        InputError,
        /saw content-encoding "gzip", wanted a body without one/,
      ],
      [post(portal.event("ONAPPTEST", {})), InputError, /query\.DOMAIN.*body\.AUTH_ID/],
      [changed(portal.open(), { AUTH_ID: undefined }), InputError, /body\.AUTH_ID: saw nothing/],
      [changed(portal.open(), { member_id: "me" }), InputError, /body\.member_id/],
      [changed(portal.open(), {}, { DOMAIN: undefined }), InputError, /query\.DOMAIN/],
      [
        changed(portal.open(), { AUTH_ID: "acce55-made-up" }),
        NotAuthenticError,
        /refuses the access token: expired_token/,
      ],
      [changed(other.open(), { member_id: MEMBER_ID }), NotAuthenticError, /belongs to another portal/],
      [changed(foreign.open(), { member_id: MEMBER_ID }), NotAuthenticError, /belongs to another app/],
      [expired, NotAuthenticError, /refuses the access token: expired_token/],
    ];
    for (const [request, type, message] of rows) {
      await assert.rejects(open(await request), (error) => {
        assert(error instanceof type, `${error}`);
        assert.match(error.message, message);
        assert.doesNotMatch(`${error.message} ${error.stack}`, TOKENS);
        return true;
      });
    }
    const keys = await Array.fromAsync(storage.list([]), ({ key }) => key.join());
    assert.deepEqual(keys, ["app"]);
    assert.doesNotMatch(lines.join(), TOKENS);
    await app.close();
  });

  it("asks no host that the browser names, and takes the portal's address from Bitrix24", async () => {
    const made = setUp();
    const { portal, open, bitrix24, app } = made;
    portal.install(2);
    const request = await changed(
      portal.open(),
      { SERVER_ENDPOINT: "https://attacker.example/rest/" },
      { DOMAIN: "attacker.example" },
    );
    const opening = await open(request);
    assert.equal(opening.portal.domain, "example.bitrix24.de");
    assert(!opening.frameAncestors.some((origin) => origin.includes("attacker")));
    assert.deepEqual(bitrix24.calls().map(({ method, at }) => [method, at]), [["app.info", "oauth"], [
      "profile",
      "portal",
    ]]);
    await app.close();
  });

  it("cannot verify while no OAuth host answers, and says so; a token that it knows suffices", async () => {
    const made = setUp();
    const { portal, open, bitrix24, app } = made;
    portal.install(2);
    const known = portal.open();
    await open(known.clone());
    made.now += 120_000;
    bitrix24.lose({ at: "oauth", times: 99 });
    assert.equal((await open(known)).memberId, MEMBER_ID);
    await assert.rejects(open(), (error) => {
      assert(error instanceof CannotVerifyError);
      assert.match(error.message, /oauth\.bitrix/);
      return true;
    });
    await app.close();
  });

  it("opens the app soon after its installation, of which the OAuth host knew nothing at first", async () => {
    const made = setUp();
    const { portal, bitrix24, open, app } = made;
    portal.install(2);
    bitrix24.lag(30_000);
    const request = portal.open();
    await assert.rejects(open(request.clone()), CannotVerifyError);
    made.now += 30_000;
    assert.equal((await open(request.clone())).memberId, MEMBER_ID);
    await app.close();
  });

  it("takes a user for no administrator while the portal does not answer, and asks again later", async () => {
    const made = setUp();
    const { portal, open, app, record } = made;
    portal.install(2);
    const request = portal.open();
    portal.fail("INTERNAL_SERVER_ERROR", { method: "profile" });
    const opening = await open(request.clone());
    assert.deepEqual([opening.isAdmin, opening.upgrade.state], [false, "upgrading"]);
    assert.deepEqual([(await record()).tokens, (await record()).applicationToken], [undefined, undefined]);
    made.now += 61_000;
    assert.equal((await open(request.clone())).isAdmin, true);
    assert.deepEqual((await record()).tokens?.map(({ isVerified, isAdmin }) => [isVerified, isAdmin]), [[true, true]]);
    assert.notEqual((await record()).applicationToken, undefined);
    await app.close();
  });

  it("changes the application_token only for an administrator, and forgets those of the installation before", async () => {
    const made = setUp();
    const { portal, open, app, send, record } = made;
    portal.install(2);
    await open();
    const { current } = (await record()).applicationToken!;
    const forged = { APPLICATION_TOKEN: "f".repeat(32) };
    made.now += 61_000;
    await open(await changed(portal.open({ userId: 7 }), forged));
    assert.deepEqual((await record()).applicationToken, { current });
    await open(await changed(portal.open(), forged));
    assert.deepEqual((await record()).applicationToken?.previous?.map(({ digest }) => digest), [current]);
    await open();
    await send(portal.uninstall());
    assert.deepEqual([(await record()).status, (await record()).tokens], ["uninstalled", undefined]);
    made.now += 61_000;
    portal.install(3);
    await open();
    const { applicationToken, generation } = await record();
    assert.deepEqual([generation, applicationToken?.previous], [2, undefined]);
    assert.notEqual(applicationToken?.current, current);
    await app.close();
  });

  it("keeps answers about tokens: one question for many openings, also of forged ones", async () => {
    const made = setUp();
    const { portal, open, bitrix24, app } = made;
    portal.install(2);
    const authentic = portal.open();
    for (let i = 0; i < 5; i++) await open(authentic.clone());
    assert.equal(bitrix24.requests(), 1);
    const forged = await changed(portal.open(), { AUTH_ID: "acce55-made-up" });
    for (let i = 0; i < 5; i++) await assert.rejects(open(forged.clone()), NotAuthenticError);
    assert.equal(bitrix24.requests(), 2);
    made.now += 10 * 60_000;
    await assert.rejects(open(forged.clone()), NotAuthenticError);
    assert.equal(bitrix24.requests(), 3);
    await app.close();
  });

  it("stays within the budget in a flood of forged openings, which does not end the use of known tokens", async () => {
    const { portal, open, bitrix24, app } = setUp();
    portal.install(2);
    const known = portal.open();
    await open(known.clone());
    const errors: string[] = [];
    for (let i = 0; i < 50; i++) {
      await open(await changed(portal.open(), { AUTH_ID: `acce55-made-up-${i}` })).catch(({ name }) =>
        errors.push(name)
      );
    }
    assert.equal(errors.filter((name) => name === "NotAuthenticError").length, 6);
    assert.equal(errors.filter((name) => name === "CannotVerifyError").length, 44);
    assert.equal(bitrix24.requests(), 1 + 6);
    assert.equal((await open(known.clone())).memberId, MEMBER_ID);
    await app.close();
  });

  it("counts the requests to all OAuth hosts that an opening causes which names none", async () => {
    const { portal, open, bitrix24, app } = setUp();
    portal.install(2);
    for (let i = 0; i < 400; i++) {
      const fields = { AUTH_ID: `acce55-made-up-${i}`, member_id: i.toString(16).padStart(32, "0") };
      await assert.rejects(open(await changed(portal.open(), { ...fields, SERVER_ENDPOINT: undefined })));
    }
    // Half of the budget of a minute is left to known portals.
    assert.equal(bitrix24.requests(), 300);
    await app.close();
  });

  it("lets many users of one portal open the app at once", async () => {
    const { portal, open, app } = setUp();
    portal.install(2);
    const users = await Promise.all(Array.from({ length: 50 }, (_, i) => open(portal.open({ userId: i + 1 }))));
    assert.deepEqual(users.map(({ userId }) => userId), Array.from({ length: 50 }, (_, i) => i + 1));
    await app.close();
  });

  it("does not undo a removal by an answer from before it", async () => {
    const made = setUp();
    const { portal, open, send, app } = made;
    await send(portal.install(2));
    const request = portal.open();
    await open(request.clone());
    made.now += 1000;
    assert.equal(await send(portal.uninstall()), 200);
    await assert.rejects(open(request.clone()), CannotVerifyError);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    await app.close();
  });

  it("is where app.fetch sends an opening that reaches it by mistake", async () => {
    const { portal, app } = setUp();
    const response = await app.fetch(portal.open());
    assert.equal(response.status, 400);
    const text = await response.text();
    assert.match(text, /app\.open\(\)/);
    assert.doesNotMatch(text, TOKENS);
    await app.close();
  });

  it("needs a clientId", async () => {
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    portal.install(2);
    const app = createApp({ storage: memoryStorage(), logger: recordingLogger().logger, tickEveryMs: false })
      .use({ name: "trust", phase: "verify", around: (_ctx, next) => next() });
    await assert.rejects(app.open(portal.open()), { name: "TypeError", message: /app\.open\(\) needs clientId/ });
    await app.close();
  });
});

describe("app.open() while the installation is not finished", () => {
  it("installs a new portal once, and takes Bitrix24's own event as its duplicate", async () => {
    const gate = Promise.withResolvers<void>();
    const made = setUp({ handler: () => gate.promise });
    const { portal, open, settled, ran, app, names } = made;
    portal.install(2, { wizard: true });
    const [first, second] = await Promise.all([open(), open()]);
    assert.deepEqual([first!.isInstalled, first!.isNew, first!.upgrade.state], [false, true, "upgrading"]);
    assert.deepEqual([second!.isInstalled, second!.upgrade.state], [false, "upgrading"]);
    gate.resolve();
    await settled();
    assert.deepEqual(ran, ["ONAPPINSTALL 2"]);
    const reopened = await open();
    assert.deepEqual([reopened.upgrade, reopened.isNew, typeof reopened.ticket], [
      { state: "current" },
      false,
      "string",
    ]);
    made.now += 3 * 60 * 60 * 1000;
    const event = portal.installFinish();
    assert.deepEqual([await made.send(event), await made.send(event)], [200, 200]);
    assert.deepEqual(ran, ["ONAPPINSTALL 2"]);
    assert.equal(names().filter((name) => name === "duplicateReceived").length, 2);
    const { upgrade, isInstalled, ticket } = await open();
    assert.deepEqual([upgrade, isInstalled, ticket], [{ state: "current" }, true, undefined]);
    assert.doesNotMatch(made.lines.join(), TOKENS);
    await app.close();
  });

  it("updates a known portal once, and takes Bitrix24's own event as its duplicate", async () => {
    for (const as of ["ONAPPUPDATE", "ONAPPINSTALL"] as const) {
      const gate = Promise.withResolvers<void>();
      const made = setUp({ upgrade: () => gate.promise });
      const { portal, open, settled, ran, app } = made;
      await made.send(portal.install(2));
      made.now += 60_000;
      const event = portal.update(3, { wizard: true, as });
      assert.equal((await open()).upgrade.state, "upgrading");
      gate.resolve();
      await settled();
      await open();
      await settled();
      assert.deepEqual(ran, ["ONAPPINSTALL 2", "upgrade 3", "ONAPPUPDATE 3.0.0"]);
      portal.installFinish();
      made.now += 24 * 60 * 60 * 1000;
      assert.equal(await made.send(event), 200);
      assert.equal(ran.length, 3, as);
      // The next version is no duplicate.
      assert.equal(await made.send(portal.update(4)), 200);
      assert.deepEqual(ran.slice(3), ["ONAPPUPDATE 4"]);
      await app.close();
    }
  });

  it("does not take the event of another installation as a duplicate, though its removal was missed", async () => {
    const made = setUp();
    const { portal, open, settled, ran, app } = made;
    portal.install(2, { wizard: true });
    await open();
    await settled();
    portal.installFinish();
    made.now += 24 * 60 * 60 * 1000;
    portal.uninstall();
    assert.equal(await made.send(portal.install(2)), 200);
    assert.deepEqual(ran, ["ONAPPINSTALL 2", "ONAPPINSTALL 2"]);
    await app.close();
  });

  it("installs a removed portal again", async () => {
    const made = setUp();
    const { portal, open, settled, ran, app } = made;
    for (const generation of [1, 2]) {
      portal.install(2, { wizard: true });
      made.now += 1000;
      const opening = await open();
      assert.deepEqual([opening.isNew, opening.portal.generation], [true, generation]);
      await settled();
      await made.send(portal.installFinish());
      made.now += 1000;
      await made.send(portal.uninstall());
      made.now += 1000;
    }
    assert.deepEqual(ran, ["ONAPPINSTALL 2", "ONAPPINSTALL 2"]);
    await app.close();
  });

  it("changes nothing for a user who is no administrator", async () => {
    const { portal, open, settled, ran, app } = setUp();
    portal.install(2, { wizard: true });
    const opening = await open(portal.open({ userId: 7 }));
    assert.deepEqual([opening.isAdmin, opening.upgrade.state, opening.portal.target], [false, "blocked", "2.0.0"]);
    assert.match(opening.upgrade.message!, /an administrator of the portal has to open the app/);
    await settled();
    assert.deepEqual([await app.portal(MEMBER_ID), ran], [undefined, []]);
    assert.equal((await app.opening(opening.ticket!))?.upgrade.state, "blocked");
    await app.close();
  });

  it("cannot tell who may install while the portal does not answer", async () => {
    const { portal, open, app } = setUp();
    portal.install(2, { wizard: true });
    portal.fail("INTERNAL_SERVER_ERROR", { method: "profile" });
    await assert.rejects(open(), { name: "CannotVerifyError", message: /whether the user is an administrator/ });
    await app.close();
  });

  it("needs the application token", async () => {
    const { portal, open, app } = setUp();
    portal.install(2, { wizard: true });
    await assert.rejects(
      open(await changed(portal.open(), { APPLICATION_TOKEN: undefined })),
      /body\.APPLICATION_TOKEN/,
    );
    await app.close();
  });
});

describe("app.opening()", () => {
  it("follows the upgrade by a ticket, which is stored as a digest and says nothing of the portal", async () => {
    const gate = Promise.withResolvers<void>();
    const made = setUp({
      upgrade: async ({ progress }) => {
        await progress(1, 2, "half");
        await gate.promise;
      },
    });
    const { portal, open, settled, app, storage } = made;
    await made.send(portal.install(2));
    portal.update(3);
    const { ticket, upgrade } = await open();
    assert.equal(upgrade.state, "upgrading");
    const keys = await Array.fromAsync(storage.list(["opening"]), ({ key }) => key.join("/"));
    assert.equal(keys.length, 1);
    assert.match(keys[0]!, /^opening\/[0-9a-f]{64}$/);
    assert(!ticket!.includes(MEMBER_ID) && !keys[0]!.includes(ticket!));
    while ((await app.opening(ticket!))?.upgrade.progress === undefined) {
      await new Promise((next) => setTimeout(next, 1));
    }
    assert.deepEqual(await app.opening(ticket!), {
      ...{ isAdmin: true, isInstalled: true, language: "en" },
      upgrade: { state: "upgrading", progress: { done: 1, total: 2, note: "half" } },
    });
    gate.resolve();
    await settled();
    assert.deepEqual((await app.opening(ticket!))?.upgrade, { state: "current" });
    assert.equal(await app.opening("another"), undefined);
    made.now += 60 * 60 * 1000 + 1;
    assert.equal(await app.opening(ticket!), undefined);
    await app.close();
  });

  it("keeps its ticket while a page goes on asking, for a day", async () => {
    const made = setUp({ upgrade: () => Promise.reject(new NonRetriableError("no")) });
    const { portal, open, app } = made;
    await made.send(portal.install(2));
    portal.update(3);
    const { ticket } = await open();
    const start = made.now;
    while (made.now < start + 3 * 24 * 3_600_000 && await app.opening(ticket!) !== undefined) {
      made.now += 20 * 60 * 1000;
    }
    const hours = (made.now - start) / 3_600_000;
    assert(hours > 24 && hours < 26, `${hours} hours`);
    await app.close();
  });

  it("issues one ticket for all openings with a token", async () => {
    const made = setUp();
    const { portal, open, app, storage } = made;
    portal.install(2, { wizard: true });
    portal.user(2, { admin: false });
    const byUser = portal.open({ userId: 2 });
    const tickets = new Set<string>();
    for (let i = 0; i < 20; i++) {
      tickets.add((await open(byUser.clone())).ticket!);
      made.now += 60_000;
    }
    const count = async (): Promise<number> => (await Array.fromAsync(storage.list(["opening"]))).length;
    assert.deepEqual([tickets.size, await count()], [1, 1]);
    made.now += 58 * 60_000;
    assert.equal((await app.opening([...tickets][0]!))?.isAdmin, false, "an hour after the last opening");
    const other = await open(portal.open({ userId: 2 }));
    assert(!tickets.has(other.ticket!));
    await app.close();
  });

  it("retries a parked upgrade for administrators only", async () => {
    let isBroken = true;
    const made = setUp({
      retry: { maxAttempts: 1 },
      upgrade: () => {
        if (isBroken) throw new Error("no");
      },
    });
    const { portal, open, settled, app, ran } = made;
    await made.send(portal.install(2));
    portal.update(3);
    const byAdmin = await open();
    const byUser = await open(portal.open({ userId: 7 }));
    await settled();
    isBroken = false;
    assert.deepEqual((await app.opening(byUser.ticket!, { retry: true }))?.upgrade, {
      state: "parked",
      message: "no",
      isUpdate: true,
    });
    assert.equal((await app.opening(byAdmin.ticket!))?.upgrade.state, "parked");
    assert.equal((await app.opening(byAdmin.ticket!, { retry: true }))?.upgrade.state, "upgrading");
    while ((await app.opening(byAdmin.ticket!))?.upgrade.state !== "current") {
      await new Promise((next) => setTimeout(next, 1));
    }
    assert(ran.includes("upgrade 3"));
    await app.close();
  });

  it("retries a portal at most once a minute: each retry is in the audit log", async () => {
    const made = setUp({ retry: { maxAttempts: 1 }, upgrade: () => Promise.reject(new Error("no")) });
    const { portal, open, settled, app } = made;
    await made.send(portal.install(2));
    portal.update(3);
    const { ticket } = await open();
    await settled();
    const retries = async (): Promise<number> => (await app.admin.audit({ action: "retry" })).items.length;
    const again = async (): Promise<string | undefined> => {
      const state = (await app.opening(ticket!, { retry: true }))?.upgrade.state;
      await app.settled();
      return state;
    };
    assert.deepEqual([await again(), await again(), await again(), await retries()], [
      ...["upgrading", "parked", "parked", 1],
    ]);
    made.now += 60_000;
    assert.deepEqual([await again(), await retries()], ["upgrading", 2]);
    await app.close();
  });

  it("retries a parked installation", async () => {
    let isBroken = true;
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const { platform, settled } = backgroundWork();
    const app = createApp({
      ...{ storage: memoryStorage(), clientId: CLIENT_ID, fetch: bitrix24.fetch, checks: false, tickEveryMs: false },
      ...{ retry: { maxAttempts: 1 }, logger: recordingLogger().logger },
    }).use(applicationToken()).on("ONAPPINSTALL", () => {
      if (isBroken) throw new Error("no");
    });
    portal.install(2, { wizard: true });
    const { ticket } = await app.open(portal.open(), platform);
    await settled();
    assert.deepEqual((await app.opening(ticket!))?.upgrade, { state: "parked", message: "no" });
    isBroken = false;
    await app.opening(ticket!, { retry: true });
    while ((await app.opening(ticket!))?.upgrade.state !== "current") await new Promise((next) => setTimeout(next, 1));
    await app.close();
  });
});

test("an opening checks the portal at most once a minute", async () => {
  const made = setUp({ checks: {} });
  const { portal, open, settled, app, bitrix24 } = made;
  await made.send(portal.install(2));
  await settled();
  const infos = (): number =>
    bitrix24.calls().filter(({ method, at }) => method === "app.info" && at === "oauth").length;
  const before = infos();
  for (let i = 0; i < 3; i++) await open();
  await settled();
  assert.equal(infos() - before, 3 + 1);
  made.now += 61_000;
  await open();
  await settled();
  assert.equal(infos() - before, 4 + 2);
  await app.close();
});
