import assert from "node:assert/strict";
import type { AppOptions, DurableReport, Observers, VersionScheme } from "@b24/onappupdate";
import type { ApplicationTokenOptions } from "@b24/onappupdate/application-token";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { entryTime } from "../../../src/portal/schedule.ts";
import { CLIENT_ID, MEMBER_ID } from "../../support/app.ts";
import { memberIdOf } from "../../support/crowd.ts";
import { changed, HOSTS, type Scene, scene, TOKENLESS } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";
import { waitingDeliveries } from "../../support/waiting.ts";
import { until } from "../../support/until.ts";
import { OPERATOR } from "../../support/operator.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const SECRET = { clientSecret: "client-secret-0123456789abcdef" };

/** A portal on version 2, and what has run for it. */
interface Setup extends Scene {
  readonly ran: string[];
  /** Lets time pass, with a tick every `step` milliseconds. */
  readonly pass: (ms: number, step?: number) => Promise<void>;
  readonly record: () => Promise<NonNullable<Awaited<ReturnType<Scene["app"]["portal"]>>>>;
  /** Reports of `claimDropped`, without their ids and times. */
  readonly dropped: () => Omit<Parameters<Observers["claimDropped"]>[0], keyof DurableReport>[];
}

async function setUp(
  { token = {}, ...options }: Partial<AppOptions> & { readonly token?: ApplicationTokenOptions } = {},
): Promise<Setup> {
  const made = scene(token, { tickEveryMs: false, ...SECRET, ...options });
  const { app, portal } = made;
  const ran: string[] = [];
  for (const version of ["3", "4", "5"]) {
    app.upgrade(version, ({ confirmed }) => void ran.push(`upgrade ${version}${confirmed ? "" : ", unconfirmed"}`));
  }
  app.on(["ONAPPINSTALL", "ONAPPUPDATE"], ({ event }) => void ran.push(`${event.name} ${event.data.version}`))
    .on(
      "ONAPPUNINSTALL",
      ({ event: { data }, confirmed }) =>
        void ran.push(`removal${data.clean ? ", clean" : ""}${confirmed ? "" : ", unconfirmed"}`),
    )
    .on("ONAPPPAYMENT", ({ event: { data } }) => void ran.push(data.paymentExpired ? "expired" : "paid"))
    .on("ONCRMDEALADD", () => void ran.push("deal"));
  assert.equal(await made.send(portal.install(2)), 200);
  ran.length = 0;
  made.forget();
  made.now += MINUTE;
  return Object.assign(made, {
    ran,
    pass: async (ms: number, step = MINUTE) => {
      const end = made.now + ms;
      while (made.now < end) {
        made.now = Math.min(end, made.now + step);
        await app.tick();
      }
    },
    record: async () => (await app.portal(MEMBER_ID))!,
    dropped: () =>
      made.reports.filter((report) => report.name === "claimDropped")
        .map(({ name: _n, id: _i, changedAt: _c, ...report }) => report),
  });
}

/** Posts what any user of the portal can: an event with its application_token, and no other. */
function forged({ portal, now }: Setup, name: string, data: Readonly<Record<string, string>>): string {
  const body = portal.event(name, data, { tokenless: true });
  return changed(body, { ...TOKENLESS, ts: String(Math.floor(now / 1000)) });
}

/** Returns the log lines about questions that settled nothing. */
function unanswered({ lines }: Setup): readonly string[] {
  return lines.filter((line) => line.includes("claim.unanswered"));
}

describe("a claimed version", () => {
  it("of a forged event runs nothing, and authentic ones afterwards run", async () => {
    const made = await setUp();
    const { portal, ran, send } = made;
    assert.equal(await send(forged(made, "ONAPPUPDATE", { VERSION: "999999", PREVIOUS_VERSION: "2" })), 200);
    assert.deepEqual(ran, []);
    for (const version of [3, 4, 5]) {
      made.now += 2 * MINUTE;
      assert.equal(await send(portal.update(version)), 200);
      assert.deepEqual(ran.splice(0), [`upgrade ${version}`, `ONAPPUPDATE ${version}`]);
    }
    const { version, target, claims } = await made.record();
    assert.deepEqual([version, target], ["5.0.0", "5.0.0"]);
    assert.deepEqual(claims?.map(({ kind, version, state }) => [kind, version, state]), [
      ["version", "999999.0.0", "open"],
    ]);
    await made.pass(2 * DAY, 10 * MINUTE);
    assert.deepEqual(made.dropped(), [{ memberId: MEMBER_ID, kind: "version", version: "999999.0.0" }]);
    assert.deepEqual(ran, []);
    const { problems } = await made.app.check(MEMBER_ID);
    assert.deepEqual(problems.map(({ code }) => code), ["unconfirmed"]);
    assert.match(problems[0]!.message, /^an event of 2027-01-01T00:01:00.000Z claims version 999999\.0\.0, which/);
    assert.equal((await made.record()).claims?.[0]?.state, "unconfirmed");
    await made.pass(91 * DAY, DAY);
    await made.app.check(MEMBER_ID);
    assert.equal((await made.record()).claims, undefined);
    await made.app.close();
  });

  for (const minutes of [0, 3, 20, 200]) {
    it(`is confirmed once app.info is ${minutes} minutes late, and runs once`, async () => {
      const made = await setUp();
      const { portal, ran, send } = made;
      made.now += 4 * HOUR;
      made.bitrix24.lag(minutes * MINUTE);
      assert.equal(await send(portal.update(3)), 200);
      assert.deepEqual(ran, minutes === 0 ? ["upgrade 3", "ONAPPUPDATE 3"] : []);
      assert.equal(await send(portal.event("ONCRMDEALADD", {})), 200);
      assert.equal(ran.at(-1), "deal", "other events do not wait");
      await made.pass(7 * HOUR);
      assert.deepEqual(ran.filter((one) => one !== "deal"), ["upgrade 3", "ONAPPUPDATE 3"]);
      assert.deepEqual([(await made.record()).version, (await made.record()).claims], ["3.0.0", undefined]);
      assert(made.asked.length <= 8, `${made.asked.length} questions`);
      await made.app.close();
    });
  }

  it("is not lost while all OAuth hosts are down for two hours", async () => {
    const made = await setUp();
    const { portal, ran, send } = made;
    made.answer = () => Promise.reject(new TypeError("down"));
    assert.equal(await send(portal.update(3)), 200);
    assert.equal(await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" })), 200);
    await made.pass(2 * HOUR);
    assert.deepEqual([ran, (await made.record()).status], [[], "installed"]);
    assert(made.asked.length < 30 * HOSTS.length, `${made.asked.length} questions`);
    made.answer = undefined;
    await made.pass(11 * MINUTE);
    assert.deepEqual(ran, ["upgrade 3", "ONAPPUPDATE 3"]);
    assert.equal((await made.record()).status, "installed");
    await made.app.close();
  });

  it("without a token to ask with waits for one", async () => {
    const made = await setUp({ clientSecret: undefined as never });
    const { portal, ran, send } = made;
    made.now += HOUR;
    assert.equal(await send(portal.update(3, { tokenless: true })), 200);
    await made.pass(DAY, HOUR);
    assert.deepEqual([ran, made.asked.length], [[], 0]);
    assert.deepEqual((await made.record()).claims?.map(({ nextAskAt }) => nextAskAt), [undefined]);
    assert.equal(await send(portal.event("ONCRMDEALADD", {})), 200);
    await made.settled();
    assert.deepEqual(ran.sort(), ["ONAPPUPDATE 3", "deal", "upgrade 3"]);
    await made.app.close();
  });

  it("without a token to ask with is believed if the vendor wants that", async () => {
    const made = await setUp({ clientSecret: undefined as never, token: { confirm: "when-possible" } });
    const { portal, ran, send } = made;
    made.now += HOUR;
    assert.equal(await send(portal.update(3, { tokenless: true })), 200);
    assert.deepEqual(ran.splice(0), ["upgrade 3, unconfirmed", "ONAPPUPDATE 3"]);
    const { claims, target } = await made.record();
    assert.deepEqual([claims, target], [undefined, "3.0.0"]);
    await made.app.close();
  });

  it("is asked about by a token that an opening brings", async () => {
    const made = await setUp({ clientSecret: undefined as never });
    const { portal, ran, app } = made;
    made.now += HOUR;
    made.bitrix24.lag(5 * MINUTE);
    await made.send(portal.update(3, { tokenless: true }));
    await app.open(portal.open());
    await until("Bitrix24 is asked", async () => (await made.record()).claims?.[0]?.isContradicted === true);
    await made.pass(20 * MINUTE);
    assert.deepEqual(ran, ["upgrade 3", "ONAPPUPDATE 3"]);
    await app.close();
  });

  it("above what app.info says is a claim too, if an access token verified the event", async () => {
    const made = await setUp();
    const { portal, ran, send } = made;
    made.now += HOUR;
    made.bitrix24.lag(4 * MINUTE);
    const update = portal.update(4, { rotateToken: true });
    assert.equal(await send(update), 200);
    assert.deepEqual([ran, (await made.record()).target], [[], "2.0.0"]);
    await made.pass(10 * MINUTE);
    assert.deepEqual(ran, ["upgrade 3", "upgrade 4", "ONAPPUPDATE 4"]);
    await made.app.close();
  });

  it("is not believed more exactly than Bitrix24 says, unless an administrator's event names it", async () => {
    for (const [userId, expected] of [[7, "3.0.0"], [1, "3.1.0"]] as const) {
      const made = await setUp();
      const { portal, ran, send } = made;
      const update = portal.update(3, { rotateToken: true, userId });
      assert.equal(await send(changed(update, { "data[VERSION]": "3.1" })), 200);
      assert.deepEqual([(await made.record()).version, ran], [expected, ["upgrade 3", "ONAPPUPDATE 3.1"]]);
      await made.app.close();
    }
    const made = await setUp();
    const known = changed(made.portal.update(3, { tokenless: true }), { "data[VERSION]": "3.1" });
    assert.equal(await made.send(known), 200);
    assert.deepEqual([(await made.record()).version, made.ran], ["3.0.0", ["upgrade 3", "ONAPPUPDATE 3.1"]]);
    await made.app.close();
  });

  it("in full is shown to handlers as it was sent, also beside a forged higher one", async () => {
    for (const minutes of [0, 20]) {
      const made = await setUp();
      const { portal, ran, send } = made;
      await send(forged(made, "ONAPPUPDATE", { VERSION: "999999", PREVIOUS_VERSION: "2" }));
      await made.pass(2 * MINUTE);
      made.bitrix24.lag(minutes * MINUTE);
      assert.equal(await send(changed(portal.update(3), { "data[VERSION]": "3.1.4" })), 200);
      await made.pass(HOUR);
      assert.deepEqual(ran, ["upgrade 3", "ONAPPUPDATE 3.1.4"], `${minutes} minutes`);
      await made.pass(2 * DAY, HOUR);
      assert.deepEqual([ran.length, made.dropped().map(({ version }) => version)], [2, ["999999.0.0"]]);
      await made.app.close();
    }
  });

  it("of an installation is not shown to handlers: they see the version that Bitrix24 reports", async () => {
    const made = await setUp();
    const { portal, ran, send } = made;
    const data = { VERSION: "901", ACTIVE: "Y", INSTALLED: "Y" };
    const old = changed(portal.event("ONAPPINSTALL", data, { tokenless: true }), { ts: "1700000000" });
    assert.equal(await send(old), 200);
    assert.deepEqual(ran, ["ONAPPINSTALL 2.0.0"]);
    await made.app.close();

    const other = scene({}, { tickEveryMs: false, ...SECRET });
    const seen: string[] = [];
    other.app.on("ONAPPINSTALL", ({ event }) => void seen.push(event.data.version));
    other.portal.install(2);
    // The access token is that of a user.
    assert.equal(await other.send(other.portal.event("ONAPPINSTALL", data, { userId: 7 })), 200);
    assert.deepEqual([seen, (await other.app.portal(MEMBER_ID))?.version], [["2"], "2.0.0"]);
    await other.app.close();
  });

  it("of a version that the portal has already is handled at once, also while Bitrix24 does not answer", async () => {
    const made = await setUp();
    made.answer = () => Promise.reject(new TypeError("down"));
    await made.send(forged(made, "ONAPPUPDATE", { VERSION: "2", PREVIOUS_VERSION: "1" }));
    assert.deepEqual([made.ran, made.asked.length], [["ONAPPUPDATE 2"], 0]);
    await made.app.close();
  });

  it("does not keep the app's page waiting", async () => {
    const made = await setUp();
    await made.send(forged(made, "ONAPPUPDATE", { VERSION: "9", PREVIOUS_VERSION: "2" }));
    assert.deepEqual((await made.app.open(made.portal.open())).upgrade, { state: "current" });
    await made.app.close();
  });

  it("is asked about with the token pair of its event, whatever pairs others make up meanwhile", async () => {
    const made = await setUp({ clientSecret: undefined as never });
    const { portal, ran, send } = made;
    made.now += 2 * HOUR;
    made.answer = () => Promise.reject(new TypeError("down"));
    assert.equal(await send(portal.update(3)), 200);
    for (const [i, userId] of [1, 7, 8, 9, 10, 1].entries()) {
      made.now += 10_000;
      const pair = {
        "auth[access_token]": `made-up-${i}-0123456789abcdef0123456789`,
        "auth[refresh_token]": `made-up-too-${i}-0123456789abcdef01234`,
        "auth[user_id]": String(userId),
        "auth[expires]": String(Math.floor(made.now / 1000) + 999_999),
        ts: String(Math.floor(made.now / 1000)),
      };
      const forged = portal.event(i % 2 === 0 ? "ONCRMDEALADD" : "ONAPPUPDATE", {
        VERSION: "9",
        PREVIOUS_VERSION: "2",
      });
      assert.equal(await send(changed(forged, pair)), 200);
    }
    made.answer = undefined;
    await made.pass(20 * MINUTE);
    assert.equal((await made.record()).version, "3.0.0");
    assert(ran.includes("upgrade 3") && !ran.includes("upgrade 4"), ran.join());
    await made.app.close();
  });

  it("is not lost among many others: a few of them wait, and the claim stays", async () => {
    const made = await setUp();
    const { portal, ran, send } = made;
    made.bitrix24.lag(20 * MINUTE);
    assert.equal(await send(portal.update(3, { tokenless: true })), 200);
    for (let i = 0; i < 60; i++) {
      made.now += 1000;
      await send(forged(made, "ONAPPUPDATE", { VERSION: String(900 - i), PREVIOUS_VERSION: "2" }));
    }
    const waiting = await waitingDeliveries(made.storage, MEMBER_ID);
    assert.equal(waiting.length, 16);
    await made.pass(2 * HOUR);
    assert.equal((await made.record()).version, "3.0.0");
    assert.deepEqual(ran.filter((one) => one.startsWith("upgrade")), ["upgrade 3"]);
    await made.pass(2 * DAY, HOUR);
    assert.deepEqual([await waitingDeliveries(made.storage, MEMBER_ID), made.dropped().length], [[], 1]);
    await made.app.close();
  });

  it("is asked about again by admin.retry()", async () => {
    const made = await setUp();
    const { portal, ran, app } = made;
    made.bitrix24.lag(2 * HOUR);
    await made.send(portal.update(3));
    await made.pass(2 * HOUR);
    assert.deepEqual(ran, []);
    await app.admin.retry(MEMBER_ID, OPERATOR);
    await until("the portal is on 3", async () => (await made.record()).version === "3.0.0");
    await app.close();
    assert.deepEqual(ran, ["upgrade 3", "ONAPPUPDATE 3"]);
  });
});

describe("a claimed version that the scheme does not know yet", () => {
  /** Knows the VERSIONs up to `latest`, as mapped() does; a deploy raises it. */
  const table = (latest: number): { latest: number; readonly versions: VersionScheme } => {
    const found = {
      latest,
      versions: {
        name: "table",
        parse: (raw: string) => {
          if (!(Number(raw) <= found.latest)) throw new RangeError(`unknown VERSION ${raw}`);
          return `${raw}.0.0`;
        },
      },
    };
    return found;
  };
  const isWaiting = async ({ storage }: Setup): Promise<boolean> =>
    (await waitingDeliveries(storage, MEMBER_ID)).length > 0;

  for (const raw of ["901", "900.1.0", "beta"]) {
    it(`is dropped if Bitrix24 does not confirm it: ${raw}`, async () => {
      const made = await setUp({ versions: table(5).versions });
      const { portal, ran, send } = made;
      assert.equal(await send(forged(made, "ONAPPUPDATE", { VERSION: raw, PREVIOUS_VERSION: "2" })), 200);
      made.now += 2 * MINUTE;
      assert.equal(await send(portal.update(3)), 200);
      assert.deepEqual(ran, ["upgrade 3", "ONAPPUPDATE 3"]);
      await made.pass(2 * DAY, 10 * MINUTE);
      assert.deepEqual(made.dropped(), [{ memberId: MEMBER_ID, kind: "version", version: raw }]);
      assert.deepEqual([ran.length, await isWaiting(made), (await made.record()).target], [2, false, "3.0.0"]);
      const { problems } = await made.app.check(MEMBER_ID);
      assert.match(problems[0]!.message, new RegExp(`claims version ${raw}, which Bitrix24 does not confirm`));
      await made.app.close();
    });
  }

  it("is dropped too if a user's access token verified the event", async () => {
    const made = await setUp({ versions: table(5).versions });
    const update = changed(made.portal.event("ONAPPUPDATE", { VERSION: "901", PREVIOUS_VERSION: "2" }, { userId: 7 }), {
      "auth[application_token]": "f".repeat(32),
    });
    assert.equal(await made.send(update), 200);
    await made.pass(2 * DAY, 10 * MINUTE);
    assert.deepEqual([made.ran, made.dropped().length, await isWaiting(made)], [[], 1, false]);
    await made.app.close();
  });

  for (const isForgedToo of [false, true]) {
    it(`waits for newer code once Bitrix24 reports it${isForgedToo ? ", also beside a forged one" : ""}`, async () => {
      const code = table(2);
      const made = await setUp({ versions: code.versions });
      const { portal, ran, send } = made;
      made.bitrix24.lag(20 * MINUTE);
      assert.equal(await send(portal.update(3)), 200);
      if (isForgedToo) await send(forged(made, "ONAPPUPDATE", { VERSION: "901", PREVIOUS_VERSION: "2" }));
      await made.pass(3 * DAY, 10 * MINUTE);
      assert.deepEqual([ran, made.dropped(), await isWaiting(made)], [[], [], true]);
      code.latest = 3;
      await made.pass(isForgedToo ? 11 * MINUTE : 2 * MINUTE);
      assert.deepEqual(ran, ["upgrade 3", "ONAPPUPDATE 3"]);
      await made.pass(2 * DAY, 10 * MINUTE);
      assert.deepEqual([made.dropped().length, await isWaiting(made)], [isForgedToo ? 1 : 0, false]);
      assert.equal(ran.length, 2);
      await made.app.close();
    });
  }

  it("is not shown to the handlers of an installation, whose own version waits for newer code", async () => {
    const code = table(1);
    const made = await setUp({ versions: code.versions });
    assert.equal(await made.send(forged(made, "ONAPPINSTALL", { VERSION: "901", ACTIVE: "Y", INSTALLED: "Y" })), 200);
    await made.pass(30 * MINUTE);
    assert.deepEqual([made.ran, (await made.record()).version], [[], undefined]);
    code.latest = 2;
    await made.pass(30 * MINUTE);
    // Bitrix24's event, and the other one with what Bitrix24 reports.
    assert.deepEqual(made.ran.toSorted(), ["ONAPPINSTALL 2", "ONAPPINSTALL 2.0.0"]);
    assert.deepEqual([(await made.record()).version, await isWaiting(made)], ["2.0.0", false]);
    await made.app.close();
  });

  it("is not believed without a token to ask with before the code knows it", async () => {
    const code = table(2);
    const made = await setUp({
      ...{ versions: code.versions, clientSecret: undefined as never },
      token: { confirm: "when-possible" },
    });
    made.now += HOUR;
    assert.equal(await made.send(made.portal.update(3, { tokenless: true })), 200);
    await made.pass(10 * MINUTE);
    assert.deepEqual([made.ran, await isWaiting(made)], [[], true]);
    code.latest = 3;
    await made.pass(2 * MINUTE);
    assert.deepEqual(made.ran, ["upgrade 3, unconfirmed", "ONAPPUPDATE 3"]);
    await made.app.close();
  });
});

describe("a claimed removal", () => {
  it("of a forged event changes nothing, and is shown as unconfirmed after a day", async () => {
    const made = await setUp();
    const { portal, ran, send } = made;
    assert.equal(await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" })), 200);
    await made.pass(DAY + HOUR, 10 * MINUTE);
    assert.deepEqual([ran, (await made.record()).status], [[], "installed"]);
    assert.deepEqual(made.dropped(), [{ memberId: MEMBER_ID, kind: "removal" }]);
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems.map(({ code }) => code), ["unconfirmed"]);
    const { deliveries: [removal] } = await made.app.admin.history(MEMBER_ID);
    assert.deepEqual([removal?.name, removal?.state], ["ONAPPUNINSTALL", "unconfirmed"]);
    assert.equal(await send(portal.update(3)), 200);
    assert.deepEqual(ran, ["upgrade 3", "ONAPPUPDATE 3"]);
    await made.app.close();
  });

  it("that Bitrix24 confirms runs the handlers, with CLEAN", async () => {
    for (const clean of [true, false]) {
      const made = await setUp();
      assert.equal(await made.send(made.portal.uninstall({ clean })), 200);
      assert.deepEqual([made.ran, (await made.record()).status], [
        [clean ? "removal, clean" : "removal"],
        "uninstalled",
      ]);
      assert.doesNotMatch(JSON.stringify(await made.stored()), /acce55|fe5fe5/);
      assert.deepEqual(unanswered(made), []);
      await made.app.close();
    }
  });

  it("is not confirmed by invalid_client, and waits for an answer", async () => {
    const made = await setUp();
    const removal = made.portal.uninstall();
    made.answer = () => Response.json({ error: "invalid_client" }, { status: 400 });
    await made.send(removal);
    await made.pass(30 * MINUTE);
    assert.deepEqual([made.ran, (await made.record()).status], [[], "installed"]);
    assert(unanswered(made).length > 0);
    made.answer = undefined;
    made.forget();
    await made.pass(11 * MINUTE);
    assert.deepEqual(made.ran, ["removal, clean"]);
    assert.deepEqual(unanswered(made), []);
    await made.app.close();
  });

  it("is confirmed at once if a check has found the app removed before the event came", async () => {
    const made = await setUp();
    const removal = made.portal.uninstall();
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems.map(({ code }) => code), ["installation"]);
    assert.equal((await made.record()).blocked?.on, "installation");
    made.now += 1;
    await made.send(removal);
    await made.app.settled(MEMBER_ID);
    assert.deepEqual([made.ran, (await made.record()).status], [["removal, clean"], "uninstalled"]);
    await made.app.close();
  });

  it("is confirmed among many forged ones, of which a few wait", async () => {
    const made = await setUp();
    const { portal, ran, send } = made;
    made.answer = () => Promise.reject(new TypeError("down"));
    await send(portal.uninstall());
    for (let i = 0; i < 40; i++) {
      made.now += 1000;
      await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
    }
    assert.equal((await waitingDeliveries(made.storage, MEMBER_ID)).length, 16);
    made.answer = undefined;
    await made.pass(11 * MINUTE);
    assert.equal((await made.record()).status, "uninstalled");
    assert.deepEqual([...new Set(ran)], ["removal, clean"]);
    await made.app.close();
  });

  it("is completed by a later check, also after it was dropped", async () => {
    const made = await setUp();
    const { portal, ran } = made;
    await made.send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
    await made.pass(2 * DAY, 10 * MINUTE);
    assert.equal(made.dropped().length, 1);
    portal.uninstall({ clean: false });
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems.map(({ code }) => code), ["uninstalled"]);
    await until("the handlers have run", () => ran.length > 0);
    await made.pass(DAY, HOUR);
    assert.deepEqual(ran, ["removal, clean, unconfirmed"], "nobody has confirmed that the data is to be deleted");
    await made.app.close();
  });

  it("of a user who wants the data deleted is not confirmed by the removal of an administrator who keeps it", async () => {
    for (const isRepeated of [false, true]) {
      const made = await setUp();
      const { portal, ran, send } = made;
      await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
      await made.pass(30 * MINUTE);
      made.answer = () => Promise.reject(new TypeError("down"));
      await send(portal.uninstall({ clean: false }));
      made.now += 1000;
      if (isRepeated) await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
      made.answer = undefined;
      await made.pass(HOUR);
      assert.equal((await made.record()).status, "uninstalled");
      assert(ran.includes("removal") && ran.includes("removal, clean, unconfirmed"), ran.join());
      assert(!ran.includes("removal, clean"), ran.join());
      await made.app.close();
    }
  });

  it("of an administrator who wants the data deleted is confirmed, also after a forged one", async () => {
    for (const clean of ["0", "1"]) {
      const made = await setUp();
      const { portal, ran, send } = made;
      await send(forged(made, "ONAPPUNINSTALL", { CLEAN: clean }));
      await made.pass(30 * MINUTE);
      await send(portal.uninstall({ clean: true }));
      await made.pass(HOUR);
      assert(ran.includes("removal, clean"), ran.join());
      await made.app.close();
    }
  });

  it("is what a check needs to take a portal as removed", async () => {
    const made = await setUp();
    made.portal.uninstall();
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems.map(({ code }) => code), ["installation"]);
    const { status, blocked } = await made.record();
    assert.deepEqual([status, blocked?.on, made.ran], ["installed", "installation", []]);
    assert.match(JSON.stringify(await made.stored()), /acce55/);
    await made.app.close();
  });

  it("ends what waits, and a forged installation that waits begins no new one", async () => {
    const made = await setUp();
    const { portal, ran, send } = made;
    const removal = portal.uninstall({ clean: false });
    made.now += MINUTE;
    made.answer = () => Promise.reject(new TypeError("down"));
    await send(forged(made, "ONAPPINSTALL", { VERSION: "901", ACTIVE: "Y", INSTALLED: "Y" }));
    await send(removal);
    made.answer = undefined;
    await made.pass(DAY, 10 * MINUTE);
    const { status, generation, version } = await made.record();
    assert.deepEqual([status, generation, version, ran], ["uninstalled", 1, "2.0.0", ["removal"]]);
    assert.deepEqual(await waitingDeliveries(made.storage, MEMBER_ID), []);
    await made.app.close();
  });

  it("is not ended by an update that was verified before it, and waits", async () => {
    const made = await setUp();
    const { app, portal, send } = made;
    await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
    made.now += MINUTE;
    const update = portal.event("ONAPPUPDATE", { VERSION: "901", PREVIOUS_VERSION: "2" }, { userId: 7 });
    const ts = String(Math.floor(made.now / 1000));
    assert.equal(await send(changed(update, { "auth[application_token]": "f".repeat(32), ts })), 200);
    portal.uninstall();
    await app.check(MEMBER_ID);
    const isWaiting = async (): Promise<boolean> =>
      (await waitingDeliveries(made.storage, MEMBER_ID)).some(({ id }) => id.startsWith("ONAPPUNINSTALL"));
    await until("the removal is processed", async () => !await isWaiting());
    const { status, generation } = await made.record();
    assert.deepEqual([status, generation], ["uninstalled", 1]);
    await app.close();
  });

  it("that was missed is not forgotten because an operator retries the portal", async () => {
    const made = await setUp();
    made.answer = () => Response.json({ error: "NOT_INSTALLED" }, { status: 401 });
    await made.app.check(MEMBER_ID);
    await made.app.admin.retry(MEMBER_ID, OPERATOR);
    await made.settled();
    await made.app.tick();
    assert.equal((await made.record()).blocked?.on, "installation");
    made.answer = undefined;
    made.now += 16 * MINUTE;
    await made.app.admin.retry(MEMBER_ID, OPERATOR);
    await until("Bitrix24 is asked", async () => (await made.record()).blocked === undefined);
    await made.app.close();
  });

  it("is not confirmed by a token of another portal", async () => {
    const made = await setUp();
    const { bitrix24, portal, ran } = made;
    const other = bitrix24.portal({ memberId: "b".repeat(32), domain: "other.bitrix24.de" });
    other.install(2);
    const pair = other.tokens();
    other.uninstall();
    const foreign = {
      "auth[access_token]": pair.accessToken,
      "auth[refresh_token]": pair.refreshToken,
      "auth[expires]": String(Math.floor(made.now / 1000) + 3600),
    };
    await made.send(changed(portal.event("ONCRMDEALADD", {}), foreign));
    await made.send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
    assert.deepEqual([ran, (await made.record()).status], [["deal"], "installed"]);
    await made.app.close();
  });

  it("without a token to ask with is believed, and a contact that Bitrix24 verifies undoes it", async () => {
    const made = await setUp({ clientSecret: undefined as never });
    const { portal, ran, send } = made;
    await send(portal.update(3));
    made.now += 2 * HOUR;
    assert.equal(await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" })), 200);
    assert.deepEqual([ran.at(-1), (await made.record()).status], ["removal, clean, unconfirmed", "uninstalled"]);
    await made.pass(29 * DAY, DAY);
    assert.equal(await send(portal.update(4)), 200);
    const { status, generation, version } = await made.record();
    assert.deepEqual([status, generation, version], ["installed", 1, "4.0.0"]);
    assert.deepEqual(ran.slice(3), ["upgrade 4", "ONAPPUPDATE 4"]);
    await made.app.close();
  });

  it("is believed once the last token to ask with is void or has expired, without clientSecret", async () => {
    for (const isDown of [false, true]) {
      const made = await setUp({ clientSecret: undefined as never });
      const { portal, ran, send } = made;
      made.now += 2 * HOUR;
      // The pair of this event is not verified: the event is accepted by its application_token.
      const deal = portal.event("ONCRMDEALADD", {});
      const removal = portal.uninstall();
      assert.equal(await send(deal), 200);
      if (isDown) made.answer = () => Promise.reject(new TypeError("down"));
      assert.equal(await send(removal), 200);
      assert.equal((await made.record()).status, isDown ? "installed" : "uninstalled");
      await made.pass(HOUR + 10 * MINUTE);
      assert.deepEqual([(await made.record()).status, ran.at(-1)], ["uninstalled", "removal, clean, unconfirmed"]);
      await made.app.close();
    }
  });

  it("is shown as unconfirmed if Bitrix24 has contradicted it, and it can no longer be asked", async () => {
    const made = await setUp({ clientSecret: undefined as never });
    const { portal, ran, send } = made;
    await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
    await made.pass(2 * HOUR);
    assert.equal(await send(portal.uninstall()), 200);
    await made.pass(2 * DAY, HOUR);
    assert.deepEqual([(await made.record()).status, ran, made.dropped().length], ["installed", [], 1]);
    const codes = (await made.app.check(MEMBER_ID)).problems.map(({ code }) => code);
    assert.deepEqual(codes, ["configuration", "unconfirmed"]);
    assert.deepEqual(await waitingDeliveries(made.storage, MEMBER_ID), []);
    await made.app.close();
  });

  it("that was believed is a removal for good after 30 days", async () => {
    const made = await setUp({ clientSecret: undefined as never, limits: { retentionMs: DAY } });
    const { portal, send } = made;
    made.now += 2 * HOUR;
    await send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
    await made.pass(29 * DAY, DAY);
    assert.equal((await made.record()).version, "2.0.0", "the version is kept for longer than retentionMs");
    await made.pass(2 * DAY, DAY);
    assert.equal((await made.record()).version, undefined);
    assert.equal(await send(portal.update(4)), 200);
    assert.equal((await made.record()).generation, 2);
    await made.app.close();
  });

  it("is believed if the OAuth host refuses all tokens, unless Bitrix24 has contradicted it", async () => {
    for (const isContradicted of [false, true]) {
      const made = await setUp();
      const { portal, ran } = made;
      if (isContradicted) await made.send(forged(made, "ONAPPUNINSTALL", { CLEAN: "0" }));
      portal.expireTokens({ refresh: true });
      if (isContradicted) await made.pass(2 * MINUTE);
      else await made.send(forged(made, "ONAPPUNINSTALL", { CLEAN: "0" }));
      await made.pass(2 * DAY, HOUR);
      const expected = isContradicted ? ["installed", []] : ["uninstalled", ["removal, unconfirmed"]];
      assert.deepEqual([(await made.record()).status, ran], expected);
      await made.app.close();
    }
  });

  it("is ended by a verified installation: with a new application_token it is a new one, else none", async () => {
    for (const isNew of [true, false]) {
      const made = await setUp();
      const { portal, ran } = made;
      made.answer = () => Promise.reject(new TypeError("down"));
      await made.send(forged(made, "ONAPPUNINSTALL", { CLEAN: "1" }));
      made.answer = undefined;
      made.now += 1000;
      assert.equal(await made.send(isNew ? portal.install(2) : portal.update(2, { as: "ONAPPINSTALL" })), 200);
      await made.pass(2 * DAY, 10 * MINUTE);
      const { status, generation } = await made.record();
      assert.deepEqual([status, generation, ran], ["installed", isNew ? 2 : 1, ["ONAPPINSTALL 2"]]);
      await made.app.close();
    }
  });
});

describe("claims while 8 questions are under way", () => {
  /** Returns after how many milliseconds each of `count` portals is due that are processed while others are asked about. */
  async function delays(leaseMs: number, count: number): Promise<number[]> {
    const made = await setUp({ limits: { leaseMs } });
    const portals = Array.from(
      { length: 8 + count },
      (_, number) => made.bitrix24.portal({ memberId: memberIdOf(number), domain: `p${number}.bitrix24.de` }),
    );
    for (const portal of portals) await made.send(portal.install(2));
    made.now += MINUTE;
    made.ran.length = 0;
    made.forget();
    const answered = Promise.withResolvers<void>();
    made.answer = async (request) => {
      await answered.promise;
      return await made.bitrix24.fetch(request);
    };
    const work: Promise<unknown>[] = [];
    const waiting: (() => Promise<number | undefined>)[] = [];
    for (const [number, portal] of portals.entries()) {
      work.push(made.send(portal.update(3)));
      if (number < 8) {
        await until("it is asked about", () => made.asked.length === number + 1);
        continue;
      }
      const dueIn = async (): Promise<number | undefined> => {
        const entry = await made.storage.get<PortalRecord>(portalKey(memberIdOf(number)));
        const { claims, lease, due } = entry!.value;
        return claims === undefined || lease !== undefined ? undefined : entryTime(due!) - made.now;
      };
      await until("it waits", async () => await dueIn() !== undefined);
      waiting.push(dueIn);
    }
    made.now += leaseMs;
    work.push(made.app.tick());
    const found = (): Promise<(number | undefined)[]> => Promise.all(waiting.map((dueIn) => dueIn()));
    await until("all are processed again", async () => (await found()).every((ms) => ms !== undefined && ms > 0));
    const due = await found();
    answered.resolve();
    await Promise.all(work);
    await until("all are asked about", () => made.ran.length === 2 * portals.length);
    await made.app.close();
    return due.map((ms) => ms!);
  }

  it("are due after leaseMs, and 100 ms for each portal that waits, and are asked about before that", async () => {
    assert.deepEqual(await delays(30_000, 3), [30_300, 30_300, 30_300]);
  });

  it("are due after 5 minutes at most", async () => {
    assert.deepEqual(await delays(5 * MINUTE - 150, 2), [5 * MINUTE, 5 * MINUTE]);
  });
});

describe("a claimed payment state", () => {
  const expired = { CODE: CLIENT_ID, VERSION: "2", STATUS: "S", PAYMENT_EXPIRED: "Y", DAYS: "0" };

  it("of a forged event blocks nothing", async () => {
    const made = await setUp();
    await made.send(forged(made, "ONAPPPAYMENT", expired));
    assert.deepEqual([made.ran, (await made.record()).blocked], [[], undefined]);
    assert.deepEqual(made.dropped(), [{ memberId: MEMBER_ID, kind: "payment" }]);
    await made.send(made.portal.update(3));
    assert.deepEqual(made.ran, ["upgrade 3", "ONAPPUPDATE 3"]);
    await made.app.close();
  });

  it("that the portal confirms blocks, until it is paid for", async () => {
    const made = await setUp();
    await made.send(made.portal.stopPayment());
    assert.deepEqual([made.ran, (await made.record()).blocked?.on], [["expired"], "payment"]);
    made.now += 1000;
    await made.send(made.portal.pay());
    assert.deepEqual([made.ran, (await made.record()).blocked], [["expired", "paid"], undefined]);
    await made.app.close();
  });

  it("that an OAuth host confirms is not logged as unanswered", async () => {
    const made = await setUp();
    made.answer = () => Response.json({ error: "PAYMENT_REQUIRED" }, { status: 402 });
    await made.send(made.portal.stopPayment());
    assert.deepEqual([made.ran, (await made.record()).blocked?.on], [["expired"], "payment"]);
    assert.deepEqual(unanswered(made), []);
    await made.app.close();
  });

  it("without an answer blocks nothing, and is dropped after a day", async () => {
    const made = await setUp();
    made.portal.answer("profile", () => new Response("<html>", { status: 502 }));
    const body = made.portal.stopPayment();
    made.portal.pay();
    await made.send(body);
    await made.pass(DAY + HOUR, 10 * MINUTE);
    assert.deepEqual([made.ran, (await made.record()).blocked, made.dropped().length], [[], undefined, 1]);
    await made.app.close();
  });
});
