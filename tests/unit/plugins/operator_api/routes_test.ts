import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { portalKey } from "../../../../src/portal/keys.ts";
import { MEMBER_ID, OTHER_MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { type ApiRig, apiRig, READ } from "./_api.ts";

/** Returns an API of an app whose upgrade to 3 parks its portal. */
async function parkedRig(storage: Storage = memoryStorage()): Promise<ApiRig> {
  const api = apiRig({ retry: { maxAttempts: 1 }, storage });
  api.app.upgrade("3", async ({ step }) => void await step("convert", () => Promise.reject(new Error("no such list"))));
  await api.send(api.portal.install(2));
  await api.send(api.portal.update(3));
  return api;
}

describe("operatorApi() routes", () => {
  it("show a portal by member_id and by domain, without what is secret", async () => {
    const { app, call, portal } = await parkedRig();
    const { status, body } = await call(`GET /portals/${MEMBER_ID}`);
    assert.equal(status, 200);
    assert.deepEqual(
      [body.memberId, body.state, body.version, body.target, body.failure.upgradeId, body.failure.step],
      [MEMBER_ID, "parked", "2.0.0", "3.0.0", "3", "convert"],
    );
    assert.deepEqual([(await app.portal(MEMBER_ID))?.applicationToken !== undefined, body.applicationToken], [
      true,
      undefined,
    ]);
    assert.deepEqual((await call(`GET /portals/${portal.domain}`)).body, body);
    assert.deepEqual((await call(`GET /portals/${portal.domain.toUpperCase()}`)).body, body);
    await app.close();
  });

  it("diagnose the process that answers, for those who may only read, once in 30 seconds", async () => {
    let [now, count] = [1_785_400_000_000, 0];
    const fetch = (): Promise<Response> => {
      count++;
      return Promise.reject(new Error("refused: access_token=0123456789abcdef0123456789abcdef"));
    };
    const { app, call } = apiRig({ fetch, clock: () => now, oauthHosts: ["https://oauth.example"] });
    const diagnose = () => call("POST /diagnose", undefined, { token: READ });
    for (let i = 0; i < 5; i++) {
      const { status, body } = await diagnose();
      assert.deepEqual([status, body.at, count], [200, now, 1]);
      const host = body.findings.find(({ about }: { about: string }) => about === "host oauth.example");
      assert.deepEqual([host.level, host.message.includes("0123456789abcdef")], ["problem", false]);
    }
    now += 30_000;
    assert.deepEqual([(await diagnose()).body.at, count], [now, 2]);
    assert.equal((await call("GET /diagnose", undefined, { token: READ })).status, 405);
    await app.close();
  });

  it("list, filter and page portals", async () => {
    const { app, call, send, bitrix24 } = await parkedRig();
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.example" });
    await send(other.install(2));
    const first = await call("GET /portals?limit=1");
    assert.deepEqual([first.body.items.length, first.body.items[0].memberId], [1, OTHER_MEMBER_ID]);
    const second = await call(`GET /portals?limit=1&after=${first.body.next}`);
    assert.equal(second.body.items[0].memberId, MEMBER_ID);
    const parked = await call("GET /portals?status=parked&upgradeId=3");
    assert.deepEqual(parked.body.items.map(({ memberId }: { memberId: string }) => memberId), [MEMBER_ID]);
    const counts = await call("GET /counts");
    assert.deepEqual(counts.body.items, [
      { version: "2.0.0", status: "current", count: 1 },
      { version: "2.0.0", status: "parked", count: 1 },
    ]);
    await app.close();
  });

  it("show what stops portals, and the counts of past hours", async () => {
    const { app, call, portal } = await parkedRig();
    const { body: { items: [group] } } = await call("GET /stuck?limit=1");
    assert.deepEqual([group.status, group.count, group.upgradeId, group.step], ["parked", 1, "3", "convert"]);
    assert.deepEqual([group.message, group.example], ["no such list", { memberId: MEMBER_ID, domain: portal.domain }]);
    await app.tick();
    const { body: { items } } = await call("GET /snapshots");
    assert.deepEqual(items.map(({ counts }: { counts: unknown }) => counts), [
      [{ version: "2.0.0", status: "parked", count: 1 }],
    ]);
    assert.equal((await call("GET /snapshots?every=day&from=0")).body.items.length, 1);
    assert.deepEqual((await call("GET /snapshots?from=0&to=1")).body.items, []);
    for (const query of ["stuck?limit=101", "snapshots?every=week", "snapshots?from=-1", "snapshots?to=1e99"]) {
      assert.equal((await call(`GET /${query}`)).status, 400, query);
    }
    await app.close();
  });

  it("answer 400 to a filter by what is no version of a portal, which would match none", async () => {
    const { app, call } = apiRig();
    for (const version of ["banana", "2", ""]) {
      const { status, body } = await call(`GET /portals?version=${version}`);
      assert.equal(status, 400, version);
      assert.match(body.error.message, /version/);
    }
    assert.equal((await call("GET /portals?version=2.0.0")).status, 200);
    await app.close();
  });

  it("answer 409 with both portals if two have had a domain, and act on neither", async () => {
    const { app, call, send, bitrix24, portal } = await parkedRig();
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.example" });
    await send(other.install(2).replaceAll("other.bitrix24.example", portal.domain));
    const { status, body } = await call(`POST /portals/${portal.domain}/retry`, { reason: "ticket 17" });
    assert.equal(status, 409);
    assert.equal(body.error.code, "ambiguous_domain");
    assert.deepEqual(
      body.error.portals.map(({ memberId, state }: Record<string, string>) => [memberId, state]),
      [[OTHER_MEMBER_ID, "current"], [MEMBER_ID, "parked"]],
    );
    assert.deepEqual((await app.admin.audit()).items, []);
    await app.close();
  });

  it("neither say that a portal which newer code wrote is unknown, nor act on another one with its domain", async () => {
    const storage = memoryStorage();
    const { app, call, send, bitrix24, portal } = apiRig({ storage });
    await send(portal.install(2));
    const { value } = (await storage.get<object>(portalKey(MEMBER_ID)))!;
    await storage.put(portalKey(MEMBER_ID), { ...value, format: 999 });
    const refused = await call(`GET /portals/${portal.domain}`);
    assert.deepEqual([refused.status, refused.body.error.code], [500, "format"]);
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.example" });
    await send(other.install(2).replaceAll("other.bitrix24.example", portal.domain));
    const { status, body } = await call(`POST /portals/${portal.domain}/forget`, { reason: "ticket 17" });
    assert.deepEqual([status, body.error.code], [500, "format"]);
    assert.equal((await call(`GET /portals/${OTHER_MEMBER_ID}`)).status, 200);
    await app.close();
  });

  it("find a portal by its domain as people write it", async () => {
    const { app, call, send, bitrix24 } = apiRig();
    await send(bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "портал.рф" }).install(2));
    for (const domain of ["портал.рф", "Портал.РФ", "xn--80awhdgm.xn--p1ai"]) {
      const { status, body } = await call(`GET /portals/${encodeURIComponent(domain)}`);
      assert.deepEqual([status, body.memberId], [200, OTHER_MEMBER_ID], domain);
      const { body: { items } } = await call(`GET /portals?domain=${encodeURIComponent(domain)}`);
      assert.equal(items.length, 1, domain);
    }
    assert.equal((await call(`GET /portals/${encodeURIComponent("ё..рф")}`)).status, 404);
    await app.close();
  });

  it("find a portal that was renamed by its former domain, unless another one has that now", async () => {
    const { app, call, send, bitrix24, portal } = await parkedRig();
    const former = portal.domain;
    portal.rename("renamed.bitrix24.de");
    assert.equal((await call(`POST /portals/${former}/check`)).status, 200);
    for (const domain of [former, former.toUpperCase(), "renamed.bitrix24.de"]) {
      const { status, body } = await call(`GET /portals/${domain}`);
      assert.deepEqual([status, body.memberId, body.domain], [200, MEMBER_ID, "renamed.bitrix24.de"]);
    }
    assert.deepEqual((await call(`GET /portals?domain=${former}`)).body.items, []);
    assert.equal((await call(`GET /portals?formerDomain=${former}`)).body.items.length, 1);
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: former });
    await send(other.install(2));
    const { status, body } = await call(`POST /portals/${former}/retry`, { reason: "ticket 17" });
    assert.deepEqual([status, body.error.code], [409, "ambiguous_domain"]);
    assert.match(body.error.message, /^2 portals have had the domain/);
    assert.deepEqual(body.error.portals.map(({ memberId }: { memberId: string }) => memberId), [
      OTHER_MEMBER_ID,
      MEMBER_ID,
    ]);
    assert.deepEqual((await app.admin.audit()).items.map(({ action }) => action), ["check"]);
    await app.close();
  });

  it("act on a portal in the name of the token", async () => {
    const { app, call } = await parkedRig();
    const retried = await call(`POST /portals/${MEMBER_ID}/retry`, { reason: "ticket 17" });
    assert.deepEqual([retried.status, retried.body], [200, { memberId: MEMBER_ID }]);
    await app.settled();
    const skipped = await call(`POST /portals/${MEMBER_ID}/skip`, { upgradeId: "3", reason: "not needed" });
    assert.equal(skipped.status, 200);
    await app.settled();
    assert.equal((await call(`GET /portals/${MEMBER_ID}`)).body.version, "3.0.0");
    const { body } = await call("GET /audit");
    assert.deepEqual(
      body.items.map((entry: Record<string, unknown>) => [entry.action, entry.by, entry.reason, entry.outcome]),
      [["skip", "ada", "not needed", "done"], ["retry", "ada", "ticket 17", "done"]],
    );
    assert.deepEqual(body.items[0].details, { upgradeId: "3" });
    await app.close();
  });

  it("plan, roll back, set targets and initial versions, and forget", async () => {
    const { app, call, send, portal } = apiRig();
    let isUndone = false;
    app.upgrade("3", async ({ step }) => void await step("one", () => 1, { undo: () => void (isUndone = true) }));
    await send(portal.install(2));
    assert.deepEqual((await call("GET /plan?from=2&to=3")).body.upgrades, [{ id: "3", range: "3" }]);
    await send(portal.update(3));
    assert.equal((await call(`GET /portals/${MEMBER_ID}/plan`)).body.direction, "none");
    const history = await call(`GET /portals/${MEMBER_ID}/history`);
    assert.deepEqual(history.body.deliveries.map(({ name }: { name: string }) => name).sort(), [
      "ONAPPINSTALL",
      "ONAPPUPDATE",
    ]);
    const { body: { items: [run] } } = await call(`GET /portals/${MEMBER_ID}/runs`);
    assert.deepEqual([run.from, run.to, run.upgrades[0].steps[0].name], ["2.0.0", "3.0.0", "one"]);

    const rolledBack = await call(`POST /portals/${MEMBER_ID}/rollback`, { reason: "wrong prices" });
    assert.deepEqual(rolledBack.body, { undone: [{ upgradeId: "3", step: "one" }], without: [] });
    assert.ok(isUndone);
    const set = await call(`POST /portals/${MEMBER_ID}/set-target`, { version: "2", reason: "withdrawn" });
    assert.deepEqual([set.status, (await app.portal(MEMBER_ID))?.target], [200, "2.0.0"]);
    const refused = await call(`POST /portals/${MEMBER_ID}/set-initial-version`, { version: "1", reason: "x" });
    assert.deepEqual([refused.status, refused.body.error.code], [409, "invalid_version"]);
    assert.equal((await call(`POST /portals/${MEMBER_ID}/forget`, { reason: "asked to" })).status, 200);
    assert.equal((await call(`GET /portals/${MEMBER_ID}`)).body.state, "uninstalled");
    await app.close();
  });

  it("check a portal", async () => {
    const { app, call, send, portal, bitrix24 } = apiRig({ clientSecret: "secret-of-the-app-0123456789" });
    await send(portal.install(2));
    const { status, body } = await call(`POST /portals/${MEMBER_ID}/check`);
    assert.deepEqual([status, body.memberId, body.isRaised], [200, MEMBER_ID, false]);
    assert.ok(bitrix24 !== undefined);
    await app.close();
  });

  it("rehearse the upgrades of a portal, and return neither what was read nor answers", async () => {
    const { app, call, send, portal } = apiRig();
    let runs = 0;
    app.upgrade("3", async ({ step }) => void await step("count", () => void runs++), { rehearsal: true });
    await send(portal.install(2));
    const { status, body } = await call(`POST /portals/${MEMBER_ID}/rehearse`, { target: "3" });
    assert.deepEqual([status, body.to, body.isComplete, runs], [200, "3.0.0", true, 1]);
    assert.deepEqual(body.upgrades.map(({ id, outcome }: Record<string, string>) => [id, outcome]), [[
      "3",
      "rehearsed",
    ]]);
    assert.ok(!("recording" in body));
    assert.equal((await app.portal(MEMBER_ID))?.target, "2.0.0");
    const wrong = await call(`POST /portals/${MEMBER_ID}/rehearse`, { target: "x" });
    assert.deepEqual([wrong.status, wrong.body.error.issues[0].path], [400, "target"]);
    const below = await call(`POST /portals/${MEMBER_ID}/rehearse`, { target: "1" });
    assert.deepEqual([below.status, below.body.error.code], [409, "invalid_target"]);
    await app.close();
  });

  it("start batch operations, and none if more portals match than were expected", async () => {
    const { app, call } = await parkedRig();
    const batch = { action: "retry", match: { status: "parked" }, reason: "ticket 17" };
    const exceeded = await call("POST /batches", { ...batch, expect: 0 });
    assert.deepEqual([exceeded.status, exceeded.body.error.code, exceeded.body.error.matched], [
      ...[409, "expect_exceeded"],
      1,
    ]);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.action, entry?.by, entry?.outcome], ["batch", "ada", "refused"]);

    assert.deepEqual((await call("GET /batches/count?status=parked")).body, { matched: 1 });
    assert.deepEqual((await call("GET /batches/count?status=parked&version=9.0.0")).body, { matched: 0 });
    assert.equal((await call("GET /batches/count")).status, 400);
    const started = await call("POST /batches", { ...batch, expect: 1 });
    assert.deepEqual([started.status, started.body.matched], [201, 1]);
    const stopped = await call(`POST /batches/${started.body.id}/stop`, { reason: "enough" });
    assert.equal(stopped.status, 200);
    const { body } = await call("GET /batches");
    assert.deepEqual([body.items[0].id, body.items[0].by, body.items[0].match], [
      ...[started.body.id, "ada"],
      { status: "parked" },
    ]);
    const unknown = await call("POST /batches/nope/stop", { reason: "enough" });
    assert.deepEqual([unknown.status, unknown.body.error.code], [404, "unknown_batch"]);
    await app.close();
  });

  it("pause, resume, recount, and list upgrades, unverified events and the outbox", async () => {
    const { app, call } = await parkedRig();
    assert.deepEqual((await call("GET /pause")).body, {});
    assert.equal((await call("POST /pause", { reason: "wrong prices" })).status, 200);
    const { body: { pause } } = await call("GET /pause");
    assert.deepEqual([pause.by, pause.reason], ["ada", "wrong prices"]);
    assert.equal((await call("POST /resume", { reason: "fixed" })).status, 200);
    assert.equal((await call("POST /recount", { reason: "to be sure" })).status, 200);
    assert.deepEqual((await call("GET /upgrades")).body.items, [
      { id: "3", range: "3", due: 1, running: 0, blocked: 0, parked: 1 },
    ]);
    assert.deepEqual((await call("GET /unverified")).body, { items: [] });
    const { body: health } = await call("GET /health", undefined, { token: READ });
    assert.deepEqual([health.isRunning, health.unverified, health.outbox], [
      true,
      { events: 0, portals: 0, oldestMs: 0 },
      { waiting: 0, dead: 0 },
    ]);
    assert.equal((await call("GET /health", undefined, { token: null })).status, 401);
    assert.deepEqual((await call("GET /outbox?state=dead")).body, { items: [] });
    assert.deepEqual((await call("POST /outbox/retry", { plugin: "telegram", reason: "again" })).body, { count: 0 });
    await app.close();
  });

  it("list messages of the outbox without what they say", async () => {
    const { app, call } = apiRig();
    let put = (): Promise<unknown> => Promise.resolve();
    app.use({
      name: "telegram",
      outbox: { deliver: () => Promise.reject(new Error("down")), retry: { maxAttempts: 1 } },
      setup: (host) => void (put = () => host.outbox.put({ secret: "of a customer" }, { id: "m1", channel: "bot" })),
    });
    await app.setUp();
    await put();
    const { body } = await call("GET /outbox?state=waiting");
    assert.deepEqual(
      body.items.map(({ plugin, id, channel }: Record<string, string>) => [plugin, id, channel]),
      [["telegram", "m1", "bot"]],
    );
    assert.ok(!JSON.stringify(body).includes("customer"), JSON.stringify(body));
    await app.start();
    await app.tick();
    await app.settled();
    const retried = async (channel: string): Promise<unknown> =>
      (await call("POST /outbox/retry", { plugin: "telegram", channel, reason: "again" })).body;
    assert.deepEqual(await retried("mail"), { count: 0 });
    assert.deepEqual(await retried("bot"), { count: 1 });
    const { body: { items } } = await call("GET /audit?action=outbox.retry");
    assert.deepEqual(
      items.map(({ details }: { details: object }) => details).map((one: object) => JSON.stringify(one)).sort(),
      [
        JSON.stringify({ plugin: "telegram", channel: "bot" }),
        JSON.stringify({ plugin: "telegram", channel: "mail" }),
      ],
    );
    await app.close();
  });

  it("work on an app that is only set up: its plugins are, and it is not started", async () => {
    const storage = memoryStorage();
    const before = await parkedRig(storage);
    const { app, call, lines } = apiRig({ storage });
    let isSetUp = false;
    app.use({ name: "witness", setup: () => void (isSetUp = true) });
    assert.equal((await call("GET /counts")).status, 200);
    assert.ok(isSetUp);
    assert.equal((await call(`POST /portals/${MEMBER_ID}/retry`, { reason: "ticket 17" })).status, 200);
    assert.equal((await app.portal(MEMBER_ID))?.state, "upgrading", "the retry is stored, and waits for a started app");
    assert.ok(!lines.some((line) => line.includes("app.started")), lines.join());
    await before.app.close();
  });

  it("answer 503 if the app cannot be set up, and say so in the log", async () => {
    const { app, call, apiLines } = apiRig();
    app.use({ name: "broken", setup: () => Promise.reject(new TypeError("no such table")) });
    const { status, body } = await call("GET /counts");
    assert.deepEqual([status, body.error.code], [503, "not_set_up"]);
    assert.match(apiLines.join(), /"event":"operator.set_up_failed".*no such table/);
  });

  it("answer 503 while the storage is down, and without its secrets", async () => {
    const inner = memoryStorage();
    let isDown = false;
    const storage: Storage = {
      ...inner,
      get: (key) => isDown ? Promise.reject(new StorageError("cannot get: token=5e5510c2")) : inner.get(key),
    };
    const { app, call } = apiRig({ storage });
    await call("GET /counts");
    isDown = true;
    const { status, body, headers } = await call(`GET /portals/${MEMBER_ID}`);
    assert.deepEqual([status, body.error.code, headers.get("retry-after")], [503, "storage", "5"]);
    assert.ok(!JSON.stringify(body).includes("5e5510c2"), body.error.message);
    isDown = false;
    await app.close();
  });

  it("answer 500 without its message if the vendor's code fails in a rollback", async () => {
    const { app, call, send, portal, apiLines } = apiRig();
    app.upgrade("3", async ({ step }) => {
      await step("one", () => 1, { undo: () => Promise.reject(new TypeError("token 5e5510c2 of the customer")) });
    });
    await send(portal.install(2));
    await send(portal.update(3));
    const { status, body } = await call(`POST /portals/${MEMBER_ID}/rollback`, { reason: "x" });
    assert.deepEqual([status, body.error.code], [500, "failed"]);
    assert.ok(!JSON.stringify(body).includes("5e5510c2"), body.error.message);
    assert.equal(apiLines.length, 1);
    assert.match(apiLines[0]!, /"event":"operator.failed"/);
    await app.close();
  });
});
