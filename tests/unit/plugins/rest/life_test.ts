import assert from "node:assert/strict";
import { type App, type AppOptions, type B24Error, createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import {
  type B24,
  type B24Command,
  type B24Outcome,
  type HasB24,
  type Rest,
  rest,
  type RestOptions,
  resultOf,
} from "@b24/onappupdate/rest";
import { type FakeBitrix24, fakeBitrix24, type FakePortal, type FakePortalOptions } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, recordingLogger } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";

interface Life {
  readonly app: App<HasB24>;
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly portals: Rest;
  readonly b24: B24;
  readonly lines: string[];
  /** Codes of the errors that the portal's REST answered, in their order. */
  readonly refusals: () => string[];
  now: number;
}

/** An app with `rest()` and a fake Bitrix24 on one clock, which advances when the plugin waits. Version 2 is installed. */
async function life(
  upgrades: (app: App<HasB24>) => App<HasB24> = (app) => app,
  options: RestOptions = {},
  portalOptions: Partial<FakePortalOptions> = {},
  appOptions: Partial<AppOptions> = {},
): Promise<Life> {
  const clock = (): number => made.now;
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: "secret-of-the-app-0123456789", clock });
  const portal = bitrix24.portal({ memberId: MEMBER_ID, ...portalOptions });
  const { logger, lines } = recordingLogger();
  const portals = rest({
    timer: {
      now: clock,
      sleep: (ms) => {
        made.now += ms;
        return Promise.resolve();
      },
    },
    ...options,
  });
  const app = upgrades(
    createApp({
      storage: memoryStorage(),
      clientId: CLIENT_ID,
      clientSecret: "secret-of-the-app-0123456789",
      clock,
      fetch: bitrix24.fetch,
      acknowledge: "handled",
      checks: false,
      tickEveryMs: false,
      logger,
      ...appOptions,
    }).use(applicationToken()).use(portals),
  );
  bitrix24.deliverTo((request) => app.fetch(request));
  await app.start();
  const made: Life = {
    ...{ app, bitrix24, portal, portals, lines },
    b24: portals.portal(MEMBER_ID),
    refusals: () => portal.calls().flatMap(({ at, error }) => at === "portal" && error !== undefined ? [error] : []),
    now: 1_785_400_000_000,
  };
  assert.deepEqual(await portal.sends.install(2), [200]);
  return made;
}

const rows = (count: number, field: string): Record<string, unknown>[] =>
  Array.from({ length: count }, (_, i) => ({ [field]: String(2 * i + 1), TITLE: `row ${i}` }));

describe("rest() in the life of a portal", () => {
  it("refreshes tokens once for concurrent calls with the old ones", async () => {
    const { b24, portal, bitrix24, refusals, portals, app } = await life();
    await b24.call("profile");
    portal.expireTokens();
    const others = Array.from({ length: 20 }, () => portals.portal(MEMBER_ID).call("profile"));
    assert.equal((await Promise.all(others)).length, 20);
    assert.equal(bitrix24.refreshes(), 1);
    assert.deepEqual([...new Set(refusals())], ["expired_token"]);
    await app.close();
  });

  it("repeats as the administrator what the system user may not do", async () => {
    const { b24, portal, refusals, app } = await life();
    await portal.sends.userReady({ userId: 1000 });
    await app.check(MEMBER_ID);
    const before = portal.calls().length;
    await b24.call("profile");
    portal.user(1000, { active: false });
    await b24.call("profile");
    assert.deepEqual(refusals(), ["user_access_error"]);
    const calls = portal.calls().slice(before).filter(({ at }) => at === "portal");
    assert.deepEqual(calls.map(({ userId }) => userId), [1000, 1000, 1]);
    await app.close();
  });

  it("follows a portal to its new name", async () => {
    const { b24, portal, app } = await life();
    await b24.call("profile");
    portal.rename("renamed.bitrix24.de");
    await b24.call("crm.deal.add", { fields: { TITLE: "x" } }).catch(() => {});
    await b24.call("profile");
    assert.equal((await app.portal(MEMBER_ID))?.clientEndpoint, "https://renamed.bitrix24.de/rest/");
    await app.close();
  });

  it("blocks a portal whose paid period is over, and goes on once it is paid", async () => {
    const { b24, portal, app } = await life();
    await b24.call("profile");
    portal.stopPayment();
    await assert.rejects(b24.call("profile"), { name: "B24Error", b24Code: "PAYMENT_REQUIRED" });
    assert.equal((await app.portal(MEMBER_ID))?.blocked?.on, "payment");
    await portal.sends.pay();
    assert.notEqual(await b24.call("profile"), undefined);
    await app.close();
  });

  it("never gets QUERY_LIMIT_EXCEEDED at Bitrix24's own limits, if nobody else calls", async () => {
    const { b24, refusals, app } = await life(undefined, {}, { rateLimit: { bucket: 50, perSecond: 2 } });
    await Promise.all(Array.from({ length: 150 }, () => b24.call("profile")));
    assert.deepEqual(refusals(), []);
    await app.close();
  });

  it("succeeds if others call the portal too", async () => {
    const { b24, refusals, app } = await life(
      undefined,
      { rate: { burst: 1000, perSecond: 1000 } },
      { rateLimit: { bucket: 10, perSecond: 1 } },
    );
    await Promise.all(Array.from({ length: 15 }, () => b24.call("profile")));
    assert.deepEqual([...new Set(refusals())], ["QUERY_LIMIT_EXCEEDED"]);
    await app.close();
  });

  it("repeats only reading calls if a connection breaks", async () => {
    const { b24, portal, app } = await life();
    let added = 0;
    portal.answer("crm.deal.add", () => ++added);
    portal.lose({ method: "crm.deal.add", after: "effect" });
    await assert.rejects(b24.call("crm.deal.add"), { name: "UnreachableError" });
    assert.equal(added, 1);
    portal.data("crm.deal.list", []);
    portal.lose({ method: "crm.deal.list", times: 2 });
    assert.deepEqual(await b24.call("crm.deal.list"), []);
    await app.close();
  });

  it("lists", async () => {
    const { b24, portal, app } = await life();
    portal.data("crm.deal.list", rows(120, "ID"));
    portal.data("crm.item.list", rows(101, "id"), { key: "items" });
    portal.data("crm.type.list", rows(51, "id"), { key: "types" });
    for (
      const [method, params, count] of [
        ["crm.deal.list", { filter: { ">ID": 20 }, select: ["TITLE"] }, 110],
        ["crm.item.list", { entityTypeId: 2 }, 101],
        ["crm.type.list", {}, 51],
        ["crm.deal.list", { order: { TITLE: "DESC" } }, 120],
      ] as const
    ) {
      const found: unknown[] = [];
      for await (const row of b24.list<{ TITLE: string }>(method, params)) found.push(row.TITLE);
      assert.deepEqual([found.length, new Set(found).size], [count, count], method);
    }
    await app.close();
  });

  it("lists rows behind a page without next, and fails if a list never ends", async () => {
    const { b24, portal, app } = await life();
    const addresses = Array.from({ length: 120 }, (_, i) => ({ TYPE_ID: 1, ENTITY_ID: i }));
    portal.data("crm.address.list", addresses, { next: "missing" });
    const found: unknown[] = [];
    for await (const address of b24.list("crm.address.list")) found.push(address);
    assert.deepEqual(found, addresses);
    portal.data("odd.list", addresses, { next: "endless" });
    await assert.rejects(async () => {
      for await (const _row of b24.list("odd.list"));
    }, { name: "B24Error", b24Code: "ERROR_UNEXPECTED_ANSWER", message: /the list does not end/ });
    await app.close();
  });

  it("lists 10,000 rows in 5 requests, within the portal's rate, without reading the storage", async () => {
    const shared = memoryStorage();
    let reads = 0;
    const storage: Storage = {
      ...shared,
      get: (key, options) => {
        // Totals are added a second after the work on a portal.
        if (key[0] !== "total") reads++;
        return shared.get(key, options);
      },
    };
    const limits = { rateLimit: { bucket: 50, perSecond: 2 } };
    const { b24, portal, refusals, app } = await life(undefined, {}, limits, { storage });
    const deals = rows(10_000, "ID").map((row) => ({ ...row, COMMENTS: "x".repeat(1000) }));
    portal.data("crm.deal.list", deals);
    portal.data("user.get", deals);
    await b24.call("profile");
    reads = 0;
    for (const method of ["crm.deal.list", "user.get"]) {
      const from = portal.calls().length;
      const found: unknown[] = [];
      for await (const row of b24.list(method)) found.push(row);
      assert.deepEqual(found, deals);
      assert.equal(portal.calls().slice(from).filter(({ isInBatch }) => !isInBatch).length, 5);
    }
    assert.deepEqual([reads, refusals()], [0, []]);
    await app.close();
  });

  it("batches linked commands", async () => {
    const { b24, portal, app } = await life();
    portal.answer("crm.deal.add", ({ params }) => params);
    const done = await b24.batch<{ me: { ID: string }; deal: { fields: unknown }; bad: unknown }>({
      me: ["profile"],
      deal: ["crm.deal.add", { fields: { TITLE: "A & B", ASSIGNED_BY_ID: resultOf("me", "ID") } }],
      bad: { method: "no.such.method" },
    });
    assert(done.me.ok && done.deal.ok && !done.bad.ok);
    assert.deepEqual(done.deal.value.fields, { TITLE: "A & B", ASSIGNED_BY_ID: done.me.value.ID });
    assert.equal((done.bad.error as B24Error).b24Code, "ERROR_METHOD_NOT_FOUND");
    const many: Record<string, B24Command> = Object.fromEntries(
      Array.from({ length: 75 }, (_, i) => [`c${i}`, ["crm.deal.add", { fields: { N: i } }]]),
    );
    assert(Object.values(await b24.batch(many)).every(({ ok }) => ok));
    const requests = portal.calls().filter(({ method }) => method === "batch");
    assert.equal(requests.length, 3);
    await app.close();
  });
});

describe("an upgrade that calls its portal", () => {
  it("goes on later, without a failure, if the method has used up its operating time", async () => {
    let runs = 0;
    const made = await life((app) =>
      app.upgrade("3.0.0", async ({ b24, step }) => {
        runs++;
        await step("deals", () => b24.call("crm.deal.list"));
      })
    );
    const { app, portal } = made;
    portal.data("crm.deal.list", []);
    portal.fail("OPERATION_TIME_LIMIT", { method: "crm.deal.list", resetAt: made.now / 1000 + 300 });
    await portal.sends.update(3);
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
    made.now += 240_000;
    await app.tick();
    assert.equal(runs, 1);
    made.now += 100_000;
    await app.tick();
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    await app.close();
  });

  it("goes on later, without a failure, if a method in a batch has, at the reset time of its last answer", async () => {
    const made = await life((app) =>
      app.upgrade("3.0.0", async ({ b24, step }) => {
        await step("deals", async () => {
          const done = await b24.batch({ me: ["profile"], deals: ["crm.deal.list"] });
          for (const outcome of Object.values<B24Outcome<unknown>>(done)) if (!outcome.ok) throw outcome.error;
        });
      })
    );
    const { app, portal } = made;
    portal.data("crm.deal.list", []);
    // Its answer says when operating time is free again: in ten minutes. The refusal does not.
    await made.b24.batch({ deals: ["crm.deal.list"] });
    portal.fail("OPERATION_TIME_LIMIT", { method: "crm.deal.list" });
    await portal.sends.update(3);
    assert.equal((await app.portal(MEMBER_ID))?.failure?.attempts, 0);
    made.now += 590_000;
    await app.tick();
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
    made.now += 90_000;
    await app.tick();
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    await app.close();
  });

  it("is blocked on a scope that the portal has not granted", async () => {
    const { app, portal } = await life((app) =>
      app.upgrade("3.0.0", async ({ b24 }) => void await b24.call("bizproc.robot.list"))
    );
    await portal.sends.update(3);
    assert.equal((await app.portal(MEMBER_ID))?.blocked?.on, "scope");
    assert.equal((await app.admin.portals({ status: "blocked" })).items.length, 1);
    await app.close();
  });

  it("leaves no token in the log if it fails", async () => {
    const made = await life((app) => app.upgrade("3.0.0", async ({ b24 }) => void await b24.call("crm.deal.list")));
    const { app, portal, lines } = made;
    const tokens: string[] = [];
    portal.answer("crm.deal.list", () => {
      tokens.push(portal.accessToken());
      return Response.json({ error: "ERROR_CORE", error_description: tokens.join() }, { status: 400 });
    });
    await portal.sends.update(3);
    assert.equal(tokens.length, 1);
    assert(lines.some((line) => line.includes("ERROR_CORE")));
    for (const line of lines) assert(!line.includes(tokens[0]!), line);
    await app.close();
  });

  describe("calls the portals of a fake Bitrix24", () => {
    const waitedMs = async (options: RestOptions, portalOptions: Partial<FakePortalOptions> = {}): Promise<number> => {
      const made = await life(undefined, options, portalOptions);
      const before = made.now;
      for (let i = 0; i < 120; i++) await made.b24.call("profile");
      await made.app.close();
      return made.now - before;
    };

    it("without pauses", async () => assert.equal(await waitedMs({}), 0));

    it("at the rate of real ones if they have a limit", async () => {
      const waited = await waitedMs({}, { rateLimit: { bucket: 50, perSecond: 2 } });
      assert(waited > 30_000, `${waited}`);
    });

    it("at the rate that is set", async () => {
      const waited = await waitedMs({ rate: { burst: 20, perSecond: 10 } });
      assert(waited > 9_000 && waited < 11_000, `${waited}`);
    });
  });
});
