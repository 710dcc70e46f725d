/** The identity that may change tokens, the system user and the application_token of a portal, in apps with applicationToken(). */
import assert from "node:assert/strict";
import { NonRetriableError } from "@b24/onappupdate/errors";
import type { FakePortal } from "@b24/onappupdate/testing";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { openedRecord } from "../../support/credentials.ts";
import { assertRefused, changed, installPortal, type Scene, scene, TOKENLESS } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";

const SECRET = { clientSecret: "client-secret-0123456789abcdef" };
const MINUTE = 60_000;

/** A portal on version 2, installed by user 1, an administrator. */
async function installed(
  addHandlers: (app: Scene["app"]) => void = () => {},
): Promise<Scene & { readonly install: string }> {
  const made = atEvents(scene({}, { ...SECRET }));
  addHandlers(made.app);
  const install = await installPortal(made);
  return Object.assign(made, { install });
}

/** The time of the app is that of the first event, so that no token has expired. */
function atEvents(made: Scene): Scene {
  made.now = 1_785_300_000_000;
  return made;
}

async function recordOf({ storage }: Scene): Promise<PortalRecord> {
  return (await openedRecord(storage, MEMBER_ID))!;
}

/** Returns who the stored pairs belong to, as far as the app knows. */
async function usersOf(made: Scene): Promise<string[]> {
  return ((await recordOf(made)).tokens ?? []).map(({ owner, userId, isVerified, isAdmin }) =>
    [owner, userId, isVerified ? "verified" : "", isAdmin === undefined ? "" : isAdmin ? "admin" : "no admin"]
      .filter((text) => text !== "").join(" ")
  );
}

function form(body: string): URLSearchParams {
  return new URLSearchParams(body);
}

/** Makes `profile` unanswered, or answered again. */
function setProfile(portal: FakePortal, isAnswered: boolean): void {
  portal.answer("profile", isAnswered ? undefined : () => new Response(null, { status: 502 }));
}

const ping = (portal: FakePortal, options: Parameters<FakePortal["event"]>[2] = {}): string =>
  portal.event("ONCRMDEALADD", { "FIELDS[ID]": "7" }, options);

/** An event with an application_token of the sender's choice. */
const withToken = (body: string, token: string): string => changed(body, { "auth[application_token]": token });

describe("an administrator", () => {
  it("is whom `profile` calls one, not the user of an installation or update", async () => {
    const made = atEvents(scene({}, SECRET));
    const { portal, app, send } = made;
    portal.install(2);
    assert.equal(await send(portal.event("ONAPPINSTALL", { VERSION: "2" }, { userId: 7 })), 200);
    assert.deepEqual(await usersOf(made), ["user 7 verified no admin"]);
    assert.equal((await app.portal(MEMBER_ID))?.applicationToken, undefined, "7 is no administrator");
    assert.equal(await send(portal.event("ONAPPINSTALL", { VERSION: "2" })), 200);
    assert.deepEqual(await usersOf(made), ["user 7 verified no admin", "user 1 verified admin"]);
    await app.close();
  });

  it("becomes one with the check that verifies a pair, if only the application_token of the event was compared", async () => {
    const made = await installed();
    const { portal, app, send } = made;
    portal.user(2, { admin: true });
    for (const userId of [2, 3]) await send(portal.event("ONAPPUPDATE", { VERSION: "2" }, { userId }));
    assert.deepEqual(await usersOf(made), ["user 1 verified admin", "user 2", "user 3"]);
    await app.check(MEMBER_ID);
    assert.deepEqual((await usersOf(made)).sort(), [
      "user 1 verified admin",
      "user 2 verified admin",
      "user 3 verified no admin",
    ]);
    await app.close();
  });

  it("is not evicted by other users, however many events of theirs are verified", async () => {
    const made = await installed();
    const { portal, app, send } = made;
    for (const userId of [2, 3, 4, 5, 6]) {
      made.now += MINUTE;
      await send(portal.event("ONAPPUPDATE", { VERSION: "2" }, { userId }));
      await send(portal.userReady({ userId, admin: false, installer: userId }));
      await app.check(MEMBER_ID);
    }
    assert.equal((await usersOf(made)).includes("user 1 verified admin"), true);
    const { userId, isSystemUser } = await app.credentials.get(MEMBER_ID);
    assert.deepEqual([userId, isSystemUser], [1, false]);
    await app.close();
  });

  it("is not known until the portal answers, and asked about with each check", async () => {
    const made = atEvents(scene({}, SECRET));
    const { portal, app, send } = made;
    setProfile(portal, false);
    assert.equal(await send(portal.install(2)), 200);
    assert.deepEqual(await usersOf(made), ["user 1 verified"]);
    await app.check(MEMBER_ID);
    assert.deepEqual(await usersOf(made), ["user 1 verified"]);
    setProfile(portal, true);
    made.now += MINUTE;
    await app.check(MEMBER_ID);
    assert.deepEqual(await usersOf(made), ["user 1 verified admin"]);
    await app.close();
  });
});

describe("the system user", () => {
  it("of an event that was compared is not used before its installer proves to be an administrator", async () => {
    const made = await installed();
    const { portal, app, send } = made;
    await send(portal.userReady());
    assert.equal((await app.credentials.get(MEMBER_ID)).isSystemUser, false);
    await app.check(MEMBER_ID);
    assert.equal((await app.credentials.get(MEMBER_ID)).isSystemUser, true);
    assert.equal((await usersOf(made)).includes("system 1000 verified"), true);
    await app.close();
  });

  it("is believed at once if the event was verified as an administrator's", async () => {
    const made = atEvents(scene({}, SECRET));
    const { portal, app, send } = made;
    portal.install(2);
    assert.equal(await send(portal.userReady()), 200);
    const { isSystemUser, userId } = await app.credentials.get(MEMBER_ID);
    assert.deepEqual([isSystemUser, userId], [true, 1000]);
    assert.equal((await app.portal(MEMBER_ID))?.domain, "example.bitrix24.de", "not the OAuth host");
    await app.close();
  });

  it("survives other events of its installer that come before the check", async () => {
    const made = await installed();
    const { portal, app, send } = made;
    await send(portal.userReady());
    made.now += MINUTE;
    await send(portal.event("ONAPPUPDATE", { VERSION: "2" }));
    for (const userId of [2, 3, 4]) await send(ping(portal, { userId }));
    await app.check(MEMBER_ID);
    assert.equal((await app.credentials.get(MEMBER_ID)).isSystemUser, true);
    await app.close();
  });

  it("is never who another user than an administrator says, by whichever event", async () => {
    const made = await installed();
    const { portal, app, send } = made;
    const own = portal.tokens(7);
    const data = { access_token: own.accessToken, refresh_token: own.refreshToken, expires_in: "3600" };
    const forged = portal.event("ONAPPUSERREADY", data, { userId: 7 });
    const forgeries = [
      forged,
      changed(forged, { "auth[user_id]": "1", ts: "1785300001" }),
      // With an access token that nobody has.
      changed(forged, { "auth[user_id]": "1", "auth[access_token]": "x".repeat(40), ts: "1785300002" }),
      changed(forged, { ...TOKENLESS, ts: "1785300003" }),
      withToken(changed(forged, { ts: "1785300004" }), "f".repeat(32)),
    ];
    for (const body of forgeries) {
      await send(body);
      // An administrator's own event follows.
      await send(ping(portal));
      await app.check(MEMBER_ID);
      made.now += 20 * MINUTE;
      const { isSystemUser, userId } = await app.credentials.get(MEMBER_ID);
      assert.deepEqual([isSystemUser, userId], [false, 1]);
    }
    assert.deepEqual((await usersOf(made)).filter((user) => user.startsWith("system")), []);
    await app.close();
  });

  it("waits while the portal does not answer, also beyond the hour of its installer's access token", async () => {
    const made = await installed();
    const { portal, app, send } = made;
    setProfile(portal, false);
    await send(portal.userReady());
    await app.check(MEMBER_ID);
    assert.equal((await app.credentials.get(MEMBER_ID)).isSystemUser, false);
    setProfile(portal, true);
    made.now += 2 * 60 * MINUTE;
    portal.expireTokens();
    await app.check(MEMBER_ID);
    assert.equal((await app.credentials.get(MEMBER_ID)).isSystemUser, true);
    await app.close();
  });
});

describe("the application_token", () => {
  it("is not displaced by the events of a user who is no administrator", async () => {
    const made = await installed();
    const { portal, send, app } = made;
    const before = (await app.portal(MEMBER_ID))?.applicationToken;
    for (const token of ["f".repeat(32), "e".repeat(32)]) {
      assert.equal(await send(withToken(portal.event("ONAPPUPDATE", { VERSION: "2" }, { userId: 7 }), token)), 200);
    }
    assert.deepEqual((await app.portal(MEMBER_ID))?.applicationToken, before);
    await app.close();
  });

  it("waits for the portal's answer, and counts from then on", async () => {
    const made = atEvents(scene({}, SECRET));
    const { portal, send, app } = made;
    setProfile(portal, false);
    assert.equal(await send(portal.install(2)), 200);
    assert.deepEqual([(await recordOf(made)).version, (await recordOf(made)).applicationToken], ["2.0.0", undefined]);
    // Meanwhile, an event with it is like any whose application_token is unknown.
    await assertRefused(made, ping(portal, { tokenless: true }), 403);
    assert.equal(await send(ping(portal)), 200);
    assert.equal(made.asked.length > 0, true);
    setProfile(portal, true);
    made.now += MINUTE;
    await app.check(MEMBER_ID);
    made.forget();
    assert.equal(await send(ping(portal, { tokenless: true })), 200);
    assert.equal(made.asked.length, 0);
    await app.close();
  });

  it("that waits for the portal's answer suffices to claim a removal, and one that nobody has verified does not", async () => {
    const made = atEvents(scene({}, SECRET));
    const { portal, send, app } = made;
    setProfile(portal, false);
    await send(portal.install(2));
    made.now += MINUTE;
    const forged = portal.event("ONAPPUNINSTALL", { CLEAN: "1" }, { tokenless: true });
    await assertRefused(made, withToken(forged, "f".repeat(32)), 403);
    assert.equal(await send(forged), 200);
    const { status, claims } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([status, claims?.[0]?.isContradicted], ["installed", true], "Bitrix24 knows the app as installed");
    made.now += MINUTE;
    assert.equal(await send(portal.uninstall()), 200);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    await app.close();
  });

  for (const [how, options] of [["with", SECRET], ["without", {}]] as const) {
    it(`that waits does not remove the app once a later one is proved, ${how} a client secret`, async () => {
      const made = atEvents(scene({}, options));
      const { portal, send, app } = made;
      setProfile(portal, false);
      await send(portal.install(2));
      assert.equal((await app.portal(MEMBER_ID))?.pendingApplicationTokens?.length, 1);
      setProfile(portal, true);
      // The app is installed again, and another administrator opens it before the event of the removal comes.
      const removal = portal.uninstall();
      portal.install(2);
      made.now += 3 * 60 * MINUTE;
      await app.open(portal.open({ userId: 2, admin: true }));
      assert.equal((await app.portal(MEMBER_ID))?.pendingApplicationTokens, undefined);
      // Without a client secret, there is no token left to ask with.
      made.now += 2 * 60 * MINUTE;
      await assertRefused(made, removal, 403);
      assert.equal((await app.portal(MEMBER_ID))?.status, "installed");
      await app.close();
    });
  }

  it("that waited when a removal was forged with it is no sign of a new installation once it is proved", async () => {
    const made = atEvents(scene({}, SECRET));
    const { portal, send, app } = made;
    setProfile(portal, false);
    await send(portal.install(2));
    assert.equal(await send(portal.event("ONAPPUNINSTALL", { CLEAN: "1" }, { tokenless: true })), 200);
    assert.equal((await app.portal(MEMBER_ID))?.claims?.[0]?.isContradicted, true);
    setProfile(portal, true);
    made.now += MINUTE;
    // An app without an interface gets ONAPPINSTALL at each update.
    assert.equal(await send(portal.update(3, { as: "ONAPPINSTALL" })), 200);
    const { generation, initialVersion, version, claims } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([generation, initialVersion, version, claims], [1, "2.0.0", "3.0.0", undefined]);
    await app.close();
  });

  it("is forgotten if the user turns out to be no administrator", async () => {
    const made = await installed();
    const { portal, send, app } = made;
    const before = (await app.portal(MEMBER_ID))?.applicationToken;
    setProfile(portal, false);
    await send(withToken(ping(portal, { userId: 7 }), "f".repeat(32)));
    assert.equal((await recordOf(made)).tokens?.some(({ pending }) => pending !== undefined), true);
    setProfile(portal, true);
    made.now += MINUTE;
    await app.check(MEMBER_ID);
    assert.equal((await recordOf(made)).tokens?.some(({ pending }) => pending !== undefined), false);
    assert.deepEqual((await app.portal(MEMBER_ID))?.applicationToken, before);
    await app.close();
  });

  it("of the installation before neither removes the new one nor lets any event in", async () => {
    const made = await installed();
    const { portal, send, app } = made;
    const old = form(made.install).get("auth[application_token]")!;
    await send(portal.uninstall());
    made.now += MINUTE;
    await send(portal.install(3));
    await assertRefused(made, withToken(portal.event("ONAPPUNINSTALL", { CLEAN: "1" }, { tokenless: true }), old), 403);
    await assertRefused(made, withToken(ping(portal, { tokenless: true }), old), 403);
    assert.equal((await app.portal(MEMBER_ID))?.status, "installed");
    await app.close();
  });

  it("that was replaced does not remove the app, and lets other events in for its grace period", async () => {
    const made = await installed();
    const { portal, send, app } = made;
    const old = form(made.install).get("auth[application_token]")!;
    await send(portal.update(3, { rotateToken: true }));
    await assertRefused(made, withToken(portal.event("ONAPPUNINSTALL", { CLEAN: "1" }, { tokenless: true }), old), 403);
    assert.equal(await send(withToken(ping(portal, { tokenless: true }), old)), 200);
    await app.close();
  });
});

describe("what is verified is taken in", () => {
  /** The update of an administrator with a new application_token, and its copy that somebody else posts first. */
  async function race(copy: (body: string) => string): Promise<[Scene, string]> {
    const made = await installed();
    const { portal, send } = made;
    const old = form(made.install).get("auth[application_token]")!;
    const body = portal.update(3, { rotateToken: true });
    assert.equal(await send(withToken(copy(body), old)), 200);
    made.now += MINUTE;
    assert.equal(await send(body), 200);
    return [made, body];
  }

  it("from an event whose copy came first", async () => {
    const copies = [
      (body: string) => changed(body, TOKENLESS),
      (body: string) => changed(body, { "auth[access_token]": "x".repeat(40), "auth[refresh_token]": undefined }),
    ];
    for (const copy of copies) {
      const [made, body] = await race(copy);
      const { tokens, applicationToken, version } = await recordOf(made);
      assert.equal(version, "3.0.0");
      const own = tokens?.find(({ accessToken }) => accessToken === form(body).get("auth[access_token]"));
      assert.deepEqual([own?.isVerified, own?.isAdmin], [true, true]);
      assert.equal(applicationToken?.previous?.length, 1);
      made.forget();
      assert.equal(
        await made.send(made.portal.event("ONCRMDEALADD", {}, { tokenless: true })),
        200,
        "the new application_token counts",
      );
      assert.equal(made.asked.length, 0);
      await made.app.close();
    }
  });

  it("from an event after one with a `ts` in the far future", async () => {
    const [made, body] = await race((body) => changed(body, { ...TOKENLESS, ts: "4102444800" }));
    const { tokens, applicationToken } = await recordOf(made);
    assert.equal(tokens?.some(({ accessToken }) => accessToken === form(body).get("auth[access_token]")), true);
    assert.equal(applicationToken?.previous?.length, 1);
    await made.app.close();
  });
});

describe("portal.domain", () => {
  it("is the host of the verified address, and follows it", async () => {
    const made = await installed();
    const { portal, send, app } = made;
    for (const domain of ["169.254.169.254", "evil.example"]) {
      await send(changed(ping(portal), { "auth[domain]": domain }));
      await send(withToken(changed(ping(portal), { "auth[domain]": domain }), "f".repeat(32)));
      assert.equal((await app.portal(MEMBER_ID))?.domain, "example.bitrix24.de");
    }
    portal.rename("renamed.bitrix24.de");
    await app.check(MEMBER_ID);
    const { domain, clientEndpoint } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([domain, clientEndpoint], ["renamed.bitrix24.de", "https://renamed.bitrix24.de/rest/"]);
    await app.close();
  });
});

describe("a removed portal", () => {
  it("leaves no token in the storage, of parked and waiting events least of all", async () => {
    const seen: unknown[] = [];
    const made = await installed((app) =>
      app.on(["ONCRMDEALADD", "ONAPPUNINSTALL"], ({ event: { name, auth } }) => {
        if (name === "ONAPPUNINSTALL") seen.push(auth.applicationToken?.reveal());
        throw new NonRetriableError("broken");
      })
    );
    const { portal, send, app } = made;
    const bodies = [
      made.install,
      portal.userReady(),
      ping(portal),
      portal.update(3, { rotateToken: true }),
      ping(portal),
    ];
    for (const body of bodies.slice(1)) await send(body);
    made.answer = () => Response.json({ error: "INTERNAL_SERVER_ERROR" }, { status: 500 });
    const waiting = withToken(ping(portal), "f".repeat(32));
    assert.equal(await send(waiting), 503);
    made.answer = undefined;
    made.now += 1;
    const removal = portal.uninstall();
    await send(removal);
    const all = JSON.stringify(await made.stored());
    const secrets = [...bodies, waiting, removal].flatMap((body) =>
      [...form(body)].filter(([name]) => /token\]$/.test(name)).map(([, value]) => value)
    );
    assert.equal(secrets.length > 20, true);
    for (const secret of secrets) assert.equal(all.includes(secret), false, secret);
    assert.match(all, /ONAPPUNINSTALL/, "the removal itself is parked");
    assert.deepEqual(seen, ["[redacted]"]);
    await app.close();
  });

  it("runs no handlers, but those of its removal, once", async () => {
    const ran: string[] = [];
    const made = await installed((app) =>
      app.on(["ONCRMDEALADD", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPUSERREADY"], ({ event: { name, ts } }) => {
        ran.push(`${name} ${ts}`);
      })
    );
    const { portal, send, app } = made;
    const events = [ping(portal), portal.event("ONAPPUPDATE", { VERSION: "3" }), portal.userReady()];
    const removal = portal.uninstall({ clean: false });
    assert.equal(await send(removal), 200);
    assert.deepEqual(ran.length, 1);
    for (const days of [0, 90]) {
      made.now += days * 24 * 60 * MINUTE;
      const ts = String(Math.floor(made.now / 1000));
      for (const body of events) assert.equal(await send(changed(body, { ...TOKENLESS, ts })), 200);
      assert.equal(await send(changed(removal, { ts, "data[CLEAN]": "1" })), 200, "another removal");
    }
    assert.deepEqual(ran, [`ONAPPUNINSTALL ${form(removal).get("ts")}`]);
    assert.deepEqual(await usersOf(made), []);
    await app.close();
  });

  it("does not run the handlers of an event from before the removal in the next installation", async () => {
    const ran: string[] = [];
    let isBroken = true;
    const made = await installed((app) =>
      app.on("ONCRMDEALADD", () => {
        if (isBroken) throw new Error("broken");
        ran.push("ran");
      })
    );
    const { portal, send, app } = made;
    await send(ping(portal));
    await send(portal.uninstall());
    made.now += MINUTE;
    await send(portal.install(3));
    isBroken = false;
    made.now += 24 * 60 * MINUTE;
    await app.tick();
    assert.deepEqual(ran, []);
    await app.close();
  });
});
