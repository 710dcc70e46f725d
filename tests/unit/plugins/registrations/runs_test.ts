/** Registrations are the first step of every run, and of nothing else. */
import assert from "node:assert/strict";
import { type App, createApp, deployed, memoryStorage, NonRetriableError, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { registrations } from "@b24/onappupdate/registrations";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, movableClock, quietLogger, recorder } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { until } from "../../../support/until.ts";
import { OPERATOR } from "../../../support/operator.ts";

const HANDLER = "https://app.example.com/b24";
const REFUSED = "ERROR_ACTIVITY_VALIDATION_FAILURE";

interface SceneOptions {
  /** Storage of an earlier app. */
  readonly storage?: Storage;
  /** Version of the code, for `deployed()`. */
  readonly code?: string;
  readonly attempts?: number;
}

interface Scene {
  readonly app: App;
  readonly portal: FakePortal;
  /** Upgrades and handlers that ran, with the registrations that existed then. */
  readonly ran: string[];
  readonly undone: string[];
  readonly reports: ReturnType<typeof recorder>["reports"];
  readonly later: () => void;
  /** Starts another app with other options for the same portal. */
  readonly restarted: (options: SceneOptions) => Promise<Scene>;
}

async function scene(): Promise<Scene> {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock: Date.now });
  return await sceneAt(bitrix24, bitrix24.portal({ memberId: MEMBER_ID, scope: ["crm", "bizproc"] }), {});
}

async function sceneAt(
  bitrix24: ReturnType<typeof fakeBitrix24>,
  portal: FakePortal,
  { storage = memoryStorage(), code, attempts: maxAttempts = 3 }: SceneOptions,
): Promise<Scene> {
  const [ran, undone]: [string[], string[]] = [[], []];
  const { plugin, reports } = recorder();
  const { clock, later } = movableClock();
  const saw = (name: string): void => {
    ran.push(`${name} saw ${portal.registrations().robots.map(({ CODE }) => CODE)}`);
  };
  const app = createApp({
    ...{ storage, clock, clientId: CLIENT_ID, clientSecret: "client-secret-0123456789abcdef", fetch: bitrix24.fetch },
    ...{ acknowledge: "handled", tickEveryMs: false, checks: false, retry: { maxAttempts } },
    logger: quietLogger,
    ...(code === undefined ? {} : { versions: deployed(code) }),
  }).use(applicationToken()).use(plugin).use(rest({ rate: { burst: 1000, perSecond: 1000 }, attempts: 1 }))
    .use(registrations((version) => ({
      robots: [{ code: `rate-${version[0]}`, handler: `${HANDLER}/rate`, name: "Rate" }],
    })))
    .upgrade("3", () => saw("3"))
    .upgrade("4", async ({ step }) => {
      await step("one", () => 1, { undo: () => void undone.push("one") });
      await step("two", () => {
        throw new NonRetriableError("this step fails");
      });
    })
    .on("ONAPPTEST", () => saw("the handler"));
  await app.start();
  bitrix24.deliverTo(app.fetch);
  return {
    ...{ app: app as unknown as App, portal, ran, undone, reports, later },
    restarted: (options) => sceneAt(bitrix24, portal, options),
  };
}

const robots = (portal: FakePortal): unknown[] => portal.registrations().robots.map(({ CODE }) => CODE);

describe("registrations() in every run", () => {
  it("come before upgrades that another event than ONAPPUPDATE triggers", async () => {
    const { app, portal, ran } = await scene();
    await portal.sends.install(2);
    assert.deepEqual(robots(portal), ["rate-2"]);
    await portal.sends.update(3, { lose: true, rotateToken: true, dropRegistrations: true });
    await portal.sends.event("ONAPPTEST", { "QUERY[any]": "data" });
    assert.deepEqual(ran, ["3 saw rate-3", "the handler saw rate-3"]);
    await app.close();
  });

  it("come before the upgrades of newly deployed code, at any first event", async () => {
    const storage = memoryStorage();
    const first = await (await scene()).restarted({ storage, code: "2.0.0" });
    await first.portal.sends.install(1);
    assert.deepEqual(robots(first.portal), ["rate-2"]);
    await first.app.close();
    const { app, portal, ran } = await first.restarted({ storage, code: "3.0.0" });
    await portal.sends.event("ONAPPTEST", { "QUERY[any]": "data" });
    assert.deepEqual(ran, ["3 saw rate-3", "the handler saw rate-3"]);
    await app.close();
  });

  it("do not come with other events of a portal on its target version", async () => {
    const { app, portal, ran } = await scene();
    await portal.sends.install(3);
    const before = portal.calls().length;
    await portal.sends.event("ONAPPTEST", { "QUERY[any]": "data" });
    assert.deepEqual(ran, ["the handler saw rate-3"]);
    assert.equal(portal.calls().length, before);
    await app.close();
  });

  it("do not come with a rollback, which works while the portal refuses all calls", async () => {
    const { app, portal, undone } = await scene();
    await portal.sends.install(3);
    await portal.sends.update(4);
    assert.equal((await app.portal(MEMBER_ID))!.failure!.upgradeId, "4");
    const before = portal.calls().length;
    portal.stopPayment();
    assert.deepEqual((await app.admin.rollback(MEMBER_ID, OPERATOR)).undone.map(({ step }) => step), ["one"]);
    assert.deepEqual([undone, portal.calls().length], [["one"], before]);
    await app.close();
  });
});

describe("a check of registrations", () => {
  it("does not restore the registrations of the previous version if an update comes meanwhile", async () => {
    const [bitrix24, storage, { clock }] = [fakeBitrix24({ clientId: CLIENT_ID }), memoryStorage(), movableClock()];
    const portal = bitrix24.portal({ memberId: MEMBER_ID, scope: ["crm", "bizproc"] });
    const process = (fetch: typeof globalThis.fetch): App =>
      createApp({
        ...{ storage: { ...storage, close: () => Promise.resolve() }, clock, fetch, clientId: CLIENT_ID },
        ...{
          clientSecret: "client-secret-0123456789abcdef",
          acknowledge: "handled",
          tickEveryMs: false,
          checks: false,
        },
        logger: quietLogger,
      }).use(applicationToken()).use(rest()).use(registrations((version) => ({
        robots: [{ code: `rate-${version[0]}`, handler: `${HANDLER}/rate`, name: "Rate" }],
      })));
    const [started, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const slow = process(async (input, init) => {
      if (String(input).includes("/rest/batch")) {
        started.resolve();
        await resume.promise;
      }
      return await bitrix24.fetch(input, init);
    });
    const fast = process(bitrix24.fetch);
    bitrix24.deliverTo((request) => fast.fetch(request));
    await portal.sends.install(2);
    await slow.start();
    const checking = slow.check(MEMBER_ID);
    await started.promise;
    await portal.sends.update(3);
    resume.resolve();
    await checking;
    await until("the portal is on 3", async () => (await fast.portal(MEMBER_ID))?.version === "3.0.0");
    await slow.close();
    assert.deepEqual(portal.registrations().robots.map(({ CODE }) => CODE), ["rate-3"]);
    await fast.close();
  });
});

describe("a portal whose registrations are refused", () => {
  const statuses = async (app: App): Promise<string[]> =>
    (await app.admin.counts()).map(({ status, version }) => `${status} on ${version}`);

  it("is retried, then parked, and resumes after admin.retry()", async () => {
    const { app, portal, ran, reports, later } = await scene();
    await portal.sends.install(2);
    portal.fail(REFUSED, { method: "bizproc.robot.add", times: 3 });
    await portal.sends.update(3);
    const of = (wanted: string): unknown[] =>
      reports.flatMap((report) => report.name === wanted && "attempt" in report ? [report.attempt] : []);
    assert.deepEqual([await statuses(app), of("upgradeRetryScheduled"), of("portalParked")], [["upgrading on 2.0.0"], [
      1,
    ], []]);
    for (let i = 0; i < 4; i++) {
      later();
      await app.tick();
    }
    assert.deepEqual([await statuses(app), of("upgradeRetryScheduled"), of("portalParked")], [["parked on 2.0.0"], [
      1,
      2,
    ], [3]]);
    const { upgradeId, to, message, attempts } = (await app.portal(MEMBER_ID))!.failure!;
    assert.deepEqual([upgradeId, to, attempts], [undefined, "3.0.0", 3]);
    assert.match(message, new RegExp(REFUSED));

    // Other events are handled, but no upgrade runs.
    await portal.sends.event("ONAPPTEST", { "QUERY[any]": "data" });
    assert.deepEqual(ran.map((line) => line.split(" saw ")[0]), ["the handler"]);
    assert.deepEqual(await statuses(app), ["parked on 2.0.0"]);

    await app.admin.retry(MEMBER_ID, OPERATOR);
    await app.close();
    assert.deepEqual([await statuses(app), ran.at(-1)], [["current on 3.0.0"], "3 saw rate-3"]);
    assert.equal((await app.portal(MEMBER_ID))!.failure, undefined);
  });

  it("is tried again at a newer version", async () => {
    const { app, portal } = await (await scene()).restarted({ attempts: 1 });
    await portal.sends.install(1);
    portal.fail(REFUSED, { method: "bizproc.robot.add", times: 1 });
    await portal.sends.update(2);
    assert.deepEqual(await statuses(app), ["parked on 1.0.0"]);
    await portal.sends.update(3);
    assert.deepEqual(await statuses(app), ["current on 3.0.0"]);
    await app.close();
  });
});
