import assert from "node:assert/strict";
import {
  type AppOptions,
  B24Error,
  deployed,
  memoryStorage,
  NonRetriableError,
  type Plugin,
  type Storage,
} from "@b24/onappupdate";
import { NoCredentialsError, StorageError } from "@b24/onappupdate/errors";
import type { Entry, Key } from "@b24/onappupdate/storage";
import { portalKey, unverifiedDueKey, unverifiedKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { entryTime } from "../../../src/portal/schedule.ts";
import { MEMBER_ID, recorder, rig } from "../../support/app.ts";
import { CLIENT_SECRET, NOW, type TestApp, testApp, tokenFields } from "../../support/fake_oauth_host.ts";
import { changed, type Scene, scene, TOKENLESS } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

async function installed(options: Parameters<typeof testApp>[0] = {}): Promise<TestApp> {
  const made = testApp(options);
  await install(made);
  return made;
}

async function install(made: TestApp): Promise<void> {
  const pair = made.oauth.issueTokens();
  assert.equal(await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(pair) }), 200);
}

/** The worker processes the portal after the check. */
async function reaches(made: Pick<TestApp, "app">, version: string): Promise<void> {
  await until(`the portal is on ${version}`, async () => (await made.app.portal(MEMBER_ID))?.version === version);
}

describe("app.check()", () => {
  it("raises the target to the installed version, and the upgrades run", async () => {
    const made = testApp();
    const ran: string[] = [];
    made.app.upgrade("3", ({ from, to }) => void ran.push(`${from} -> ${to}`));
    await install(made);
    made.oauth.version = 3;
    const report = await made.app.check(MEMBER_ID);
    assert.deepEqual(report, {
      memberId: MEMBER_ID,
      version: "2.0.0",
      target: "3.0.0",
      installed: "3.0.0",
      isRaised: true,
      status: "S",
      scope: ["crm", "placement"],
      problems: [],
    });
    await reaches(made, "3.0.0");
    assert.deepEqual(ran, ["2.0.0 -> 3.0.0"]);
    assert.equal((await made.app.check(MEMBER_ID)).isRaised, false);
  });

  it("never lowers the target", async () => {
    const made = await installed();
    made.oauth.version = 1;
    const { isRaised, installed: version, target } = await made.app.check(MEMBER_ID);
    assert.deepEqual([isRaised, version, target], [false, "1.0.0", "2.0.0"]);
  });

  it("reports the version of the code for a local app", async () => {
    const made = await installed({ versions: deployed("2.3.0") });
    made.oauth.version = 1;
    assert.equal((await made.app.check(MEMBER_ID)).installed, "2.3.0");
  });

  it("reports why the portal gets no events", async () => {
    await assert.rejects(testApp().app.check(MEMBER_ID), { name: "UnknownPortalError" });
    const made = await installed();
    const codes = async (): Promise<string[]> => (await made.app.check(MEMBER_ID)).problems.map(({ code }) => code);
    made.oauth.isInstalled = false;
    assert.deepEqual(await codes(), ["not_installed"]);
    made.oauth.isInstalled = true;
    assert.deepEqual(await codes(), []);
    for (const [code, problem] of [["PAYMENT_REQUIRED", "payment"], ["NOT_INSTALLED", "installation"]] as const) {
      made.oauth.answer = () => Response.json({ error: code }, { status: 401 });
      assert.deepEqual(await codes(), [problem]);
      assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, problem);
      made.oauth.answer = undefined;
      if (problem === "payment") {
        assert.deepEqual(await codes(), ["payment"], "an installed app may be unpaid");
        made.now += MINUTE;
        const paid = { "data[CODE]": "app", "data[VERSION]": "2", "data[STATUS]": "P", "data[PAYMENT_EXPIRED]": "N" };
        assert.equal(await made.send("ONAPPPAYMENT", paid), 200);
      }
      assert.deepEqual(await codes(), []);
      assert.equal((await made.app.portal(MEMBER_ID))?.blocked, undefined);
    }
    made.oauth.answer = () => Promise.reject(new TypeError("down"));
    await assert.rejects(made.app.check(MEMBER_ID), {
      name: "UnreachableError",
      message: /^https:\/\/\S+ does not answer \(TypeError\)$/,
    });
    const cause = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    made.oauth.answer = () => Promise.reject(new TypeError("token 123", { cause }));
    await assert.rejects(made.app.check(MEMBER_ID), { message: /does not answer \(TypeError ECONNREFUSED\)$/ });
    made.oauth.answer = ({ kind }) =>
      Response.json({ error: kind === "token" ? "invalid_grant" : "expired_token" }, { status: 400 });
    assert.deepEqual(await codes(), ["authorization"]);
    await made.send("ONAPPUNINSTALL", { "data[CLEAN]": "1" });
    assert.deepEqual(await codes(), ["uninstalled"]);
  });

  it("reports that the portal is parked, and why", async () => {
    const made = testApp();
    made.app.upgrade("3", () => {
      throw new NonRetriableError("no price list");
    });
    await install(made);
    made.oauth.version = 3;
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems, []);
    await until("the portal is parked", async () => (await made.app.portal(MEMBER_ID))?.state === "parked");
    const parked = { code: "parked", message: "upgrade 3: no price list" };
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems, [parked]);
    made.oauth.answer = () => Response.json({ error: "PAYMENT_REQUIRED" }, { status: 401 });
    const codes = (await made.app.check(MEMBER_ID)).problems.map(({ code }) => code);
    assert.deepEqual(codes, ["payment"], "the portal is blocked now");
  });

  it("reports an installer that has failed for good", async () => {
    const made = testApp();
    made.app.on("ONAPPINSTALL", () => {
      throw new NonRetriableError("no pipeline");
    });
    await install(made);
    made.oauth.version = 3;
    await made.app.check(MEMBER_ID);
    await until("the installer has failed", async () => (await made.app.portal(MEMBER_ID))?.state === "blocked");
    const problem = { code: "installation", message: "ONAPPINSTALL: no pipeline" };
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems, [problem]);
  });

  it("asks plugins in an extended context, and continues if one fails", async () => {
    const made = testApp();
    const adding: Plugin<object, { readonly colour: string }> = {
      name: "adding",
      adds: ["colour"],
      extend: () => ({ colour: "blue" }),
    };
    const asking: Plugin<{ readonly colour: string }> = {
      name: "asking",
      check: ({ colour, event, portal }) =>
        Promise.resolve([`${colour} ${event.name} ${portal?.memberId === MEMBER_ID}`, "two"]),
    };
    const failing: Plugin = { name: "failing", check: () => Promise.reject(new Error("no")) };
    made.app.use(adding).use(failing as Plugin<{ readonly colour: string }>).use(asking);
    await install(made);
    const { problems } = await made.app.check(MEMBER_ID);
    assert.deepEqual(problems, [
      { code: "failing", message: "check of failing failed: no" },
      { code: "asking", message: "blue ONAPPUPDATE true" },
      { code: "asking", message: "two" },
    ]);
  });

  it("reports no token that a plugin throws", async () => {
    const { app, send, portal } = rig();
    app.use({
      name: "failing",
      check: async () => {
        const { accessToken } = await app.credentials.get(MEMBER_ID);
        throw new Error(`refused ${accessToken.reveal()}`);
      },
    });
    await send(portal.install(2));
    const { problems } = await app.check(MEMBER_ID);
    assert.deepEqual(problems, [{ code: "failing", message: "check of failing failed: refused [redacted]" }]);
    await app.close();
  });
});

describe("checks after a contact", () => {
  it("are made at most once in afterContactMs", async () => {
    const made = testApp({ checks: { afterContactMs: 15 * MINUTE } });
    const told = recorder();
    made.app.use(told.plugin).upgrade("3", () => {});
    await install(made);
    await made.settled();
    assert.equal(made.oauth.asked.length, 1);
    made.oauth.version = 3;
    for (let i = 0; i < 5; i++) {
      made.now += 1000;
      await made.send("ONCRMDEALADD", { "data[ID]": String(i) });
    }
    await made.settled();
    assert.equal(made.oauth.asked.length, 1);
    made.now += 15 * MINUTE;
    await made.send("ONCRMDEALADD", { "data[ID]": "9" });
    await made.settled();
    assert.equal(made.oauth.asked.length, 2);
    await reaches(made, "3.0.0");
  });

  it("are not made with checks: false, without clientId, or for a removed portal", async () => {
    for (const options of [{ checks: false }, { clientId: undefined as never, checks: {} }] as const) {
      const made = await installed(options);
      await made.settled();
      assert.equal(made.oauth.asked.length, 0);
    }
    const made = await installed({ checks: {} });
    await made.settled();
    const before = made.oauth.asked.length;
    made.now += DAY;
    await made.send("ONAPPUNINSTALL", { "data[CLEAN]": "1" });
    await made.settled();
    assert.equal(made.oauth.asked.length, before);
  });

  it("are retried later if the OAuth host is down, and the event is answered 200", async () => {
    const made = testApp({ checks: {} });
    made.oauth.answer = () => Promise.reject(new TypeError("down"));
    await install(made);
    await made.settled();
    assert.equal(made.oauth.asked.length, 2);
    made.oauth.answer = undefined;
    made.oauth.version = 4;
    made.now += 61 * MINUTE;
    await made.app.tick();
    assert.equal((await made.app.portal(MEMBER_ID))?.target, "4.0.0");
  });
});

describe("a silent portal", () => {
  it("is checked by tick() after silentPortalMs, give or take a tenth, which finds a missed update", async () => {
    const made = testApp({ checks: { silentPortalMs: 7 * DAY } });
    const ran: string[] = [];
    made.app.upgrade("3", ({ to }) => void ran.push(to));
    await install(made);
    await made.settled();
    made.oauth.version = 3;
    made.now += 6 * DAY;
    await made.app.tick();
    assert.deepEqual([made.oauth.asked.length, ran], [1, []]);
    made.now += 2 * DAY;
    await made.app.tick();
    await made.app.tick();
    // The access token of the installation has expired.
    assert.deepEqual(made.oauth.asked.map(({ kind }) => kind), ["app.info", "token", "app.info"]);
    assert.deepEqual(ran, ["3.0.0"]);
    await made.app.tick();
    assert.equal(made.oauth.asked.length, 3);
    made.now += 8 * DAY;
    await made.app.tick();
    assert.equal(made.oauth.asked.length, 5);
  });

  it("whose check fails is checked again after an hour", async () => {
    const made = await installed({ checks: {} });
    await made.settled();
    made.now += 8 * DAY;
    made.oauth.answer = () => Promise.reject(new TypeError("down"));
    await made.app.tick();
    const { length } = made.oauth.asked;
    await made.app.tick();
    assert.equal(made.oauth.asked.length, length);
    made.now += 61 * MINUTE;
    await made.app.tick();
    assert(made.oauth.asked.length > length);
  });
});

describe("requires.scope", () => {
  it("blocks an upgrade until the portal has granted the scope, which is not a failure", async () => {
    const made = testApp({ checks: {} });
    const told = recorder();
    const ran: string[] = [];
    made.app.use(told.plugin)
      .upgrade("3", () => void ran.push("3"))
      .upgrade("4", () => void ran.push("4"), { requires: { scope: ["crm", "tasks"] } });
    await install(made);
    made.oauth.version = 4;
    await made.send("ONAPPUPDATE", { "data[VERSION]": "4", "data[PREVIOUS_VERSION]": "2" });
    const held = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual(ran, ["3"]);
    assert.deepEqual([held.version, held.target, held.failure], ["2.0.0", "4.0.0", undefined]);
    assert.deepEqual([held.blocked?.on, held.blocked?.message], ["scope", "upgrade 4 needs tasks"]);
    assert.deepEqual((await made.app.admin.portals({ status: "blocked" })).items.length, 1);
    assert.deepEqual((await made.app.admin.counts()).map(({ status }) => status), ["blocked"]);
    for (let hour = 0; hour < 30; hour++) {
      made.now += 61 * MINUTE;
      await made.app.tick();
    }
    assert.deepEqual(ran, ["3"]);
    assert.equal(told.names().filter((name) => name === "portalParked" || name === "eventFailed").length, 0);
    made.oauth.scope = "crm,placement,tasks";
    // After a day and a quarter, it is tried again every four to five hours.
    made.now += 5 * 60 * MINUTE;
    await made.app.tick();
    assert.deepEqual(ran, ["3", "4"]);
    const arrived = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([arrived.version, arrived.blocked, arrived.scope], ["4.0.0", undefined, [
      "crm",
      "placement",
      "tasks",
    ]]);
  });

  it("unblocks the upgrade at once when a check finds the scope granted", async () => {
    const made = testApp();
    const ran: string[] = [];
    made.app.upgrade("3", () => void ran.push("3"), { requires: { scope: "tasks" } });
    await install(made);
    await made.send("ONAPPUPDATE", { "data[VERSION]": "3", "data[PREVIOUS_VERSION]": "2" });
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, "scope");
    made.oauth.scope = "tasks";
    await made.app.check(MEMBER_ID);
    await reaches(made, "3.0.0");
    assert.deepEqual(ran, ["3"]);
  });

  it("refuses an invalid scope", () => {
    for (const scope of ["", "crm,tasks", "a b", [""], [1 as never]]) {
      assert.throws(
        () => testApp().app.upgrade("3", () => {}, { requires: { scope } }),
        /^TypeError: .*requires\.scope/,
      );
    }
  });
});

describe("a handler that is blocked", () => {
  const error = (code: string): B24Error =>
    new B24Error({ code, description: "in words", status: 403, method: "crm.deal.add" });

  it("is retried after an hour, and no attempt is counted", async () => {
    for (
      const [thrown, reason] of [
        [error("insufficient_scope"), "scope"],
        [error("ACCESS_DENIED"), "administrator"],
        [error("METHOD_CONFIRM_WAITING"), "confirmation"],
        [error("PAYMENT_REQUIRED"), "payment"],
        [new NoCredentialsError(MEMBER_ID, "authorization", "no token"), "authorization"],
        [new Error("while moving deals", { cause: error("insufficient_scope") }), "scope"],
      ] as const
    ) {
      for (const inStep of [false, true]) {
        const made = testApp({ retry: { maxAttempts: 2 } });
        let isBlocked = true;
        const attempts: number[] = [];
        const call = (attempt: number): void => {
          attempts.push(attempt);
          if (isBlocked) throw thrown;
        };
        made.app.upgrade("3", ({ attempt, step }) => inStep ? step("one", (s) => call(s.attempt)) : call(attempt));
        await install(made);
        await made.send("ONAPPUPDATE", { "data[VERSION]": "3", "data[PREVIOUS_VERSION]": "2" });
        for (let i = 0; i < 4; i++) {
          assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, reason);
          await made.app.tick();
          made.now += 61 * MINUTE;
          await made.app.tick();
        }
        assert.deepEqual([(await made.app.portal(MEMBER_ID))?.failure, new Set(attempts)], [undefined, new Set([1])]);
        isBlocked = false;
        made.now += 61 * MINUTE;
        await made.app.tick();
        const portal = (await made.app.portal(MEMBER_ID))!;
        assert.deepEqual([portal.version, portal.blocked], ["3.0.0", undefined]);
      }
    }
  });

  it("is parked at once if a retry would make it worse", async () => {
    for (const code of ["OVERLOAD_LIMIT", "METHOD_CONFIRM_DENIED"]) {
      const made = testApp();
      made.app.upgrade("3", () => Promise.reject(error(code)));
      await install(made);
      await made.send("ONAPPUPDATE", { "data[VERSION]": "3", "data[PREVIOUS_VERSION]": "2" });
      const { failure } = (await made.app.portal(MEMBER_ID))!;
      assert.deepEqual([failure?.attempts, failure?.retryAt], [1, undefined]);
    }
  });

  it("is retried after an hour if it is one of app.on or a plugin", async () => {
    const made = testApp();
    let isBlocked = true;
    let begun = 0;
    made.app.use({
      name: "blocked",
      around: async (_ctx, next) => {
        begun++;
        if (isBlocked) throw error("insufficient_scope");
        await next();
      },
    });
    await install(made);
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, "scope");
    await made.app.tick();
    assert.equal(begun, 1);
    isBlocked = false;
    made.now += 61 * MINUTE;
    await made.app.tick();
    assert.deepEqual([begun, (await made.app.portal(MEMBER_ID))?.blocked], [2, undefined]);
  });
});

describe("a block", () => {
  const portalOn2 = async (made: TestApp): Promise<void> => {
    await made.send("ONAPPINSTALL", { "data[VERSION]": "2" });
    made.now += MINUTE;
    await made.send("ONAPPUPDATE", { "data[VERSION]": "3", "data[PREVIOUS_VERSION]": "2" });
  };

  it("on authorization ends with the tokens of the system user, and the upgrades run at once", async () => {
    const made = testApp();
    const ran: string[] = [];
    made.app.upgrade("3", async () => {
      await made.app.credentials.get(MEMBER_ID);
      ran.push("3");
    });
    await portalOn2(made);
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, "authorization");
    made.now += MINUTE;
    made.oauth.version = 3;
    const { access, refresh } = made.oauth.issueTokens(9);
    const pair = { "data[access_token]": access, "data[refresh_token]": refresh };
    await made.send("ONAPPUSERREADY", {
      ...{ ...pair, "data[expires_in]": "3600", "data[user_id]": "9" },
      ...tokenFields(made.oauth.issueTokens()),
    });
    await reaches(made, "3.0.0");
    assert.deepEqual([ran, (await made.app.portal(MEMBER_ID))?.blocked], [["3"], undefined]);
  });

  it("on confirmation ends when the method is confirmed", async () => {
    const made = testApp();
    let isConfirmed = false;
    made.app.upgrade("3", () => {
      if (isConfirmed) return;
      throw new B24Error({ code: "METHOD_CONFIRM_WAITING", description: "", status: 401, method: "crm.deal.delete" });
    });
    await portalOn2(made);
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, "confirmation");
    isConfirmed = true;
    made.now += MINUTE;
    await made.send("ONAPPMETHODCONFIRM", {
      "data[TOKEN]": "abcdef0123456789",
      "data[METHOD]": "crm.deal.delete",
      "data[CONFIRMED]": "1",
    });
    await reaches(made, "3.0.0");
    const { version, blocked } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([version, blocked], ["3.0.0", undefined]);
  });
});

/** Returns the time of the portal's schedule entry, relative to `since`. */
async function scheduledAfter(made: TestApp, since: number): Promise<number> {
  return entryTime((await made.record()).due as string) - since;
}

describe("a contact soon after a check", () => {
  it("plans a check for the end of afterContactMs, which finds an update that nobody sends", async () => {
    for (const isReady of [false, true]) {
      const made = await installed({ checks: {} });
      await made.settled();
      const checkedAt = made.now;
      made.now += MINUTE;
      await made.send("ONCRMDEALADD", { "data[ID]": "1" });
      await made.settled();
      assert.equal(await scheduledAfter(made, checkedAt), 15 * MINUTE);
      made.now += 2 * MINUTE;
      if (isReady) {
        const asked = made.oauth.asked.length;
        await made.send("ONAPPUSERREADY", readyFields(made));
        await made.settled();
        assert(made.oauth.asked.length > asked, "it always checks");
      }
      made.oauth.version = 3;
      made.now = checkedAt + 15 * MINUTE;
      await made.app.tick();
      await reaches(made, "3.0.0");
      await made.app.close();
    }
  });

  it("plans one even if ONAPPUSERREADY is the contact", async () => {
    const made = await installed({ checks: {} });
    await made.settled();
    made.now += 5 * MINUTE;
    await made.send("ONAPPUSERREADY", readyFields(made));
    await made.settled();
    made.oauth.version = 3;
    made.now += 15 * MINUTE;
    await made.app.tick();
    await reaches(made, "3.0.0");
    await made.app.close();
  });

  it("writes once in afterContactMs, and reads nothing more", async () => {
    const counted = countingStorage();
    const made = testApp({ storage: counted.storage, checks: {} });
    const unchecked = countingStorage();
    const other = testApp({ storage: unchecked.storage, checks: false });
    for (const { send } of [made, other]) {
      assert.equal(await send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(made.oauth.issueTokens()) }), 200);
    }
    await made.settled();
    const contact = async (): Promise<number> => {
      for (const one of [made, other]) {
        one.now += 1000;
        await one.send("ONCRMDEALADD", { "data[ID]": "1" });
        await one.settled();
      }
      return counted.take() - unchecked.take();
    };
    counted.take(), unchecked.take();
    assert.deepEqual(
      [await contact(), await contact(), await contact()],
      [2, 0, 0],
      "record read; entry and record written",
    );
    await Promise.all([made.app.close(), other.app.close()]);
  });

  it("keeps the plan if the process ends", async () => {
    const made = await installed({ checks: {} });
    await made.settled();
    const { now } = made;
    made.now += MINUTE;
    await made.send("ONCRMDEALADD", { "data[ID]": "1" });
    await made.app.close();
    const next = testApp({ checks: {}, oauth: made.oauth, storage: made.storage });
    next.now = made.now + MINUTE;
    // Another process has a throttle of its own.
    await next.send("ONCRMDEALADD", { "data[ID]": "2" });
    await next.settled();
    assert.deepEqual((await next.record()).plannedChecks, { contact: now + 15 * MINUTE });
    next.oauth.version = 3;
    next.now = now + 15 * MINUTE;
    await next.app.tick();
    await reaches(next, "3.0.0");
    await next.app.close();
  });

  it("needs no clientSecret while an access token is valid, and plans nothing without one", async () => {
    const made = await installed({ checks: {}, clientSecret: undefined as never });
    await made.settled();
    const contactAt = async (minute: number): Promise<unknown> => {
      made.now = NOW + minute * MINUTE;
      await made.send("ONCRMDEALADD", { "data[ID]": String(minute) });
      await made.settled();
      return (await made.record()).plannedChecks;
    };
    assert.deepEqual(await contactAt(50), undefined, "checked at once");
    assert.deepEqual(await contactAt(51), { contact: NOW + 59 * MINUTE }, "before the token expires");
    made.oauth.version = 3;
    made.now = NOW + 59 * MINUTE;
    await made.app.tick();
    await reaches(made, "3.0.0");
    const asked = made.oauth.asked.length;
    assert.deepEqual([await contactAt(80), made.oauth.asked.length], [undefined, asked]);
    await made.app.close();
  });
});

describe("ONAPPUSERREADY", () => {
  it("causes a check at most once a minute, across processes", async () => {
    const made = await installed({ checks: {} });
    await made.settled();
    const other = testApp({ checks: {}, oauth: made.oauth, storage: made.storage });
    const infos = (): number => made.oauth.asked.filter(({ kind }) => kind === "app.info").length;
    const before = infos();
    for (let second = 0; second < 300; second += 5) {
      made.now = other.now = NOW + second * 1000;
      const sender = second % 2 === 0 ? made : other;
      await sender.send("ONAPPUSERREADY", readyFields(made));
      await sender.settled();
      await made.app.tick();
    }
    const { length } = Array.from({ length: infos() - before });
    // Each check may ask for two pairs: the one that the event brought, and the one in use.
    assert(length >= 4 && length <= 12, `saw ${length} questions in five minutes`);
    await Promise.all([made.app.close(), other.app.close()]);
  });
});

/** Returns the fields of an ONAPPUSERREADY. */
function readyFields({ oauth }: TestApp): Record<string, string> {
  const { access, refresh } = oauth.issueTokens(9);
  const pair = { "data[access_token]": access, "data[refresh_token]": refresh };
  return { ...pair, "data[expires_in]": "3600", "data[user_id]": "9" };
}

/** A storage that counts calls. */
function countingStorage(): { readonly storage: Storage; readonly take: () => number } {
  const storage = memoryStorage();
  let calls = 0;
  const counted = <A extends unknown[], R>(call: (...args: A) => R) => (...args: A): R => {
    calls++;
    return call(...args);
  };
  return {
    storage: {
      ...storage,
      write: counted(storage.write!),
      get: counted(storage.get) as Storage["get"],
      put: counted(storage.put) as Storage["put"],
      delete: counted(storage.delete),
      list: counted(storage.list) as Storage["list"],
    },
    take: () => [calls, calls = 0][0]!,
  };
}

describe("a refused event of a stored portal", () => {
  const clientSecret = CLIENT_SECRET;
  const checked = { checks: {}, clientSecret, acknowledge: "stored" } as const;

  /** Installs version 2, and waits until no check is planned. */
  async function quietScene(options: Partial<AppOptions> = {}): Promise<Scene> {
    const made = scene({}, { ...checked, ...options });
    assert.equal(await made.send(made.portal.install(2)), 200);
    await made.settled();
    for (let minutes = 0; minutes < 60; minutes += 20) {
      made.now += 20 * MINUTE;
      await made.app.tick();
    }
    made.forget();
    return made;
  }

  it("is made up for within ten minutes: an update without an access token after a change of the token", async () => {
    const made = await quietScene();
    // The portal was checked a minute ago.
    await made.send(made.portal.event("ONCRMDEALADD", { ID: "1" }));
    await made.settled();
    made.now += MINUTE;
    assert.equal(await made.send(changed(made.portal.update(3, { rotateToken: true }), TOKENLESS)), 403);
    await made.settled();
    assert.equal((await made.app.portal(MEMBER_ID))?.target, "2.0.0");
    made.now += 9 * MINUTE;
    await made.app.tick();
    await reaches(made, "3.0.0");
    await made.app.close();
  });

  it("causes a check at once if the last one is older", async () => {
    const made = await quietScene();
    assert.equal(await made.send(changed(made.portal.update(3, { rotateToken: true }), TOKENLESS)), 403);
    await made.settled();
    await reaches(made, "3.0.0");
    await made.app.close();
  });

  it("causes at most one check in ten minutes, and no flood prevents it", async () => {
    const made = await quietScene();
    const storage = made.storage;
    const update = changed(made.portal.update(3, { rotateToken: true }), TOKENLESS);
    const start = made.now;
    for (let minute = 0; minute < 60; minute++) {
      made.now = start + minute * MINUTE;
      for (let i = 0; i < 5; i++) {
        assert.equal(await made.send(changed(update, { "auth[application_token]": `${i}`.padStart(32, "0") })), 403);
      }
      await made.settled();
      await made.app.tick();
      if (minute === 30) assert((await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value.plannedChecks);
    }
    const checks = made.lines.filter((line) => /"portal.checked"/.test(line)).length;
    assert(checks >= 5 && checks <= 7, `saw ${checks} checks in an hour`);
    await made.app.close();
  });

  it("is verified though the waiting events of other portals cannot be read", async () => {
    const memory = memoryStorage();
    const get: Storage["get"] = async <T>(key: Key): Promise<Entry<T> | null> => {
      if (key[0] === "unverified" && key[1] === "unreadable") {
        throw new StorageError("cannot decrypt", { unreadableKey: key });
      }
      return await memory.get<T>(key);
    };
    const made = await quietScene({ storage: { ...memory, get } });
    made.answer = () => Response.json({}, { status: 500 });
    assert.equal(await made.send(made.portal.update(3, { rotateToken: true })), 200);
    await made.app.tick();
    await memory.put(unverifiedKey("newer"), { format: 99 });
    for (const memberId of ["newer", "unreadable"]) await memory.put(unverifiedDueKey("0".repeat(14), memberId), {});
    made.answer = undefined;
    made.now += MINUTE;
    await made.app.tick();
    await reaches(made, "3.0.0");
    assert.equal(made.lines.filter((line) => /"verification.unreadable"/.test(line)).length, 2);
    await made.app.close();
  });

  it("is made up for if it could not be verified within a day", async () => {
    const made = await quietScene();
    made.answer = () => Response.json({}, { status: 500 });
    assert.equal(await made.send(made.portal.update(3, { rotateToken: true })), 200);
    await made.app.tick();
    made.now += DAY;
    made.answer = undefined;
    await made.app.tick();
    assert.match(made.lines.join(), /"verification.expired"/);
    await made.settled();
    await reaches(made, "3.0.0");
    await made.app.close();
  });

  it("is not forgotten for events of made-up portals", async () => {
    const made = await quietScene();
    const update = made.portal.update(3, { rotateToken: true });
    const forged = (i: number): string =>
      changed(update, { ...TOKENLESS, "auth[member_id]": i.toString(16).padStart(32, "0") });
    for (let i = 0; i < 200; i++) assert.equal(await made.send(forged(i)), 403);
    assert.deepEqual(made.asked, []);
    const stored = await made.stored();
    assert(!JSON.stringify(stored).includes("0".repeat(30)), "nothing is stored for them");
    assert.equal(await made.send(changed(update, TOKENLESS)), 403);
    await made.settled();
    await reaches(made, "3.0.0");
    await made.app.close();
  });

  it("causes a check also if an OAuth host refused its access token", async () => {
    const made = await quietScene();
    const update = made.portal.update(3, { rotateToken: true });
    const forged = changed(update, { "auth[access_token]": "f".repeat(40), "auth[refresh_token]": undefined });
    assert.equal(await made.send(forged), 200);
    await made.settled();
    await reaches(made, "3.0.0");
    await made.app.close();
  });
});

describe("a flood of unverified events of a stored portal", () => {
  it("causes a check at once when one is replaced, then every ten minutes", async () => {
    const made = scene({}, { checks: {}, clientSecret: CLIENT_SECRET, acknowledge: "stored" });
    assert.equal(await made.send(made.portal.install(2)), 200);
    await made.settled();
    made.now += MINUTE;
    const update = made.portal.update(3, { rotateToken: true });
    made.forget();
    let count = 0;
    const post = (): Promise<number> =>
      made.send(
        changed(update, { "auth[access_token]": `${++count}`.padStart(40, "f"), "auth[refresh_token]": undefined }),
      );
    const checks = (): number => made.lines.filter((line) => /"portal.checked"/.test(line)).length;
    // Events that the budget does not allow to be verified keep waiting.
    const checked = async (wanted: number): Promise<void> =>
      await until(`${wanted} checks, saw ${checks()}`, () => Promise.resolve(checks() >= wanted));
    for (let i = 0; i < 60; i++) assert.equal(await post(), 200);
    await reaches(made, "3.0.0");
    await checked(1);
    const start = made.now;
    for (let minute = 1; minute <= 30; minute++) {
      made.now = start + minute * MINUTE;
      for (let i = 0; i < 40; i++) await post();
      await made.app.tick();
      if (minute % 10 === 0) await checked(1 + minute / 10);
    }
    // The one more: a refused event had planned a check before the first one was replaced.
    assert(checks() >= 4 && checks() <= 5, `saw ${checks()} checks`);
    await made.app.close();
  });
});

describe("a portal that Bitrix24 no longer knows", () => {
  it("is checked once a week, like any other", async () => {
    const made = testApp({ checks: {} });
    await install(made);
    await made.settled();
    made.oauth.answer = () => Response.json({ error: "NOT_INSTALLED" }, { status: 401 });
    const before = made.oauth.asked.length;
    for (let hour = 0; hour < 4 * 7 * 24; hour += 6) {
      made.now += 6 * 60 * MINUTE;
      await made.app.tick();
    }
    const asked = made.oauth.asked.length - before;
    assert(asked >= 3 && asked <= 8, `saw ${asked} requests in four weeks`);
    await made.app.close();
  });
});

describe("an expired payment", () => {
  it("blocks upgrades until the app is paid for, and deletes nothing", async () => {
    const made = testApp();
    const ran: string[] = [];
    made.app.upgrade("3", () => void ran.push("3"));
    await install(made);
    const pay = (expired: "Y" | "N"): Promise<number> =>
      made.send("ONAPPPAYMENT", {
        "data[CODE]": "app",
        "data[VERSION]": "2",
        "data[STATUS]": "P",
        "data[PAYMENT_EXPIRED]": expired,
      });
    made.now += MINUTE;
    assert.equal(await pay("Y"), 200);
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, "payment");
    made.oauth.version = 3;
    // An installed app may be unpaid.
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems.map(({ code }) => code), ["payment"]);
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, "payment");
    await made.app.tick();
    assert.deepEqual(ran, []);
    made.now += MINUTE;
    assert.equal(await pay("N"), 200);
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked, undefined);
    await made.app.check(MEMBER_ID);
    await reaches(made, "3.0.0");
    assert.deepEqual(ran, ["3"]);
  });
});
