import assert from "node:assert/strict";
import {
  type App,
  createApp,
  deployed,
  memoryStorage,
  NonRetriableError,
  RetryAfterError,
  type Storage,
} from "@b24/onappupdate";
import { MEMBER_ID, movableClock, post, recordingLogger, rig, trustAll } from "../../support/app.ts";
import { until } from "../../support/until.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import { describe, it } from "../../support/test.ts";

const IDS = [..."abcdef"].map((digit) => digit.repeat(32));

/** A storage with portals of an app whose code was `version`. */
async function installedAt(version: string): Promise<Storage> {
  const storage = memoryStorage();
  const { app, bitrix24, send } = rig({ storage, versions: deployed(version) });
  for (const memberId of IDS) await send(bitrix24.portal({ memberId }).install(1));
  assert.equal((await app.admin.counts())[0]?.count, IDS.length);
  return storage;
}

function codeAt(version: string, storage: Storage, ran: string[]): App {
  return createApp({ storage, versions: deployed(version), logger: recordingLogger().logger }).use(trustAll)
    .upgrade(version, ({ memberId, from, to }) => void ran.push(`${memberId[0]} ${from} ${to}`))
    .on("ONAPPUPDATE", ({ event }) => void ran.push(`told ${event.data.version} ${event.auth.accessToken}`));
}

describe("tick() after a deploy of deployed()", () => {
  it("brings every portal to the version of the code, some at a tick, each once", async () => {
    const storage = await installedAt("2.2.0");
    const ran: string[] = [];
    const app = codeAt("2.3.0", storage, ran);
    const handled: number[] = [];
    for (let tick = 0; tick < 6; tick++) handled.push((await app.tick({ limit: 4 })).handled);
    assert.deepEqual(handled, [4, 2, 0, 0, 0, 0]);
    assert.deepEqual(ran.filter((text) => !text.startsWith("told")).sort(), IDS.map((id) => `${id[0]} 2.2.0 2.3.0`));
    assert.equal(ran.filter((text) => text === "told 2.3.0 undefined").length, IDS.length);
    assert.deepEqual(await app.admin.counts(), [{ status: "current", count: IDS.length, version: "2.3.0" }]);
  });

  it("is not done again by another process or a later start, and not undone by older code", async () => {
    const storage = await installedAt("2.2.0");
    const ran: string[] = [];
    for (let start = 0; start < 3; start++) {
      const app = codeAt("2.3.0", storage, ran);
      for (let tick = 0; tick < 3; tick++) await app.tick();
    }
    const old = codeAt("2.2.0", storage, ran);
    assert.deepEqual(await old.tick(), { handled: 0, failed: 0 });
    assert.equal(ran.length, 2 * IDS.length);
    assert.equal((await old.portal(IDS[0]!))?.version, "2.3.0");
  });

  it("leaves removed portals alone", async () => {
    const storage = memoryStorage();
    const { portal, send } = rig({ storage, versions: deployed("2.2.0") });
    await send(portal.install(1));
    await send(portal.uninstall());
    const ran: string[] = [];
    await codeAt("2.3.0", storage, ran).tick();
    assert.deepEqual(ran, []);
  });
});

describe("a portal below its target", () => {
  const STUCK: Readonly<Record<string, Error>> = {
    "is parked": new NonRetriableError("no"),
    "is to be tried again later": new RetryAfterError(10 * 24 * 60 * 60 * 1000),
  };
  for (const [how, error] of Object.entries(STUCK)) {
    it(`is brought there while the event of an earlier update ${how}`, async () => {
      const made = rig({ clientSecret: "client-secret-0123456789abcdef", checks: {} });
      const { app, portal, send, later } = made;
      const ran: string[] = [];
      app.on("ONAPPUPDATE", ({ event }) => {
        ran.push(`handler ${event.data.version}`);
        if (event.data.version === "3") throw error;
      });
      app.upgrade("4", () => void ran.push("upgrade"));
      await send(portal.install(2));
      await send(portal.update(3));
      assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
      later();
      portal.update(4); // and nobody is told
      assert.equal((await app.check(MEMBER_ID)).target, "4.0.0");
      // The check has woken its work.
      await until("the portal is on 4.0.0", async () => (await app.portal(MEMBER_ID))?.version === "4.0.0");
      assert.deepEqual(ran, ["handler 3", "upgrade", "handler 4.0.0"]);
      await app.close();
    });
  }

  it("needs no other work than its event, also when a sleep of its run is over before the portal is left", async () => {
    let now = Date.now();
    const { app, portal, send } = rig({ clock: () => now += 100 });
    const told: unknown[] = [];
    app.on("ONAPPUPDATE", ({ event }) => void told.push(event.data.version));
    app.upgrade("3", async ({ sleep }) => {
      for (let i = 0; i < 10; i++) await sleep(`nap ${i}`, 50 + 50 * i);
    });
    await send(portal.install(2));
    await send(portal.update(3));
    await until("the portal is on 3", async () => {
      await app.tick();
      return (await app.portal(MEMBER_ID))?.version === "3.0.0";
    });
    assert.deepEqual(told, ["3"]);
    await app.close();
  });

  it("is brought there also when the event that told of the target is gone", async () => {
    const storage = memoryStorage();
    const { clock, later } = movableClock();
    const { portal } = rig();
    const ran: string[] = [];
    const make = (): App =>
      createApp({ storage, clock, acknowledge: "handled", logger: recordingLogger().logger }).use(trustAll)
        .upgrade("3", () => void ran.push("3"));
    const app = make();
    await app.fetch(post(portal.install(2)));
    const entry = (await storage.get<Record<string, unknown>>(["portal", MEMBER_ID]))!;
    await storage.put(["portal", MEMBER_ID], { ...entry.value, target: "3.0.0", due: "00000000000001-x" });
    await storage.put(["due", "00000000000001-x", MEMBER_ID], {});
    later();
    assert.deepEqual(await make().tick(), { handled: 1, failed: 0 });
    assert.deepEqual(ran, ["3"]);
  });

  it("is due when its run is to go on, also when it was another event that told of the target", async () => {
    const { app, portal, send, later } = rig();
    let broken = true;
    app.upgrade("3", () => {
      if (broken) throw new Error("not yet");
    });
    await send(portal.install(2));
    portal.update(3, { rotateToken: true }); // lost on its way
    await send(portal.event("ONAPPTEST", {}));
    assert.equal((await app.portal(MEMBER_ID))?.target, "3.0.0");
    broken = false;
    later();
    await app.tick();
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });
});

describe("the schedule", () => {
  it("has no entry of a portal that has nothing to do", async () => {
    const storage = memoryStorage();
    const { app, portal, send } = rig({ storage });
    app.upgrade("3", ({ step }) => step("one", () => {}));
    await send(portal.install(2));
    await send(portal.update(3));
    for await (const { key } of storage.list(["due"])) assert.fail(JSON.stringify(key));
    const record = (await storage.get<{ due?: string; lease?: object }>(["portal", MEMBER_ID]))!.value;
    assert.deepEqual([record.due, record.lease], [undefined, undefined]);
  });

  it("has one entry of a portal that is to be checked some day, however many events come", async () => {
    const storage = memoryStorage();
    let now = Date.now();
    const made = rig({ storage, clock: () => now, checks: {}, clientSecret: "client-secret-0123456789abcdef" });
    const { app, portal, send } = made;
    app.on("ONCRMDEALADD", () => {});
    await send(portal.install(2));
    const entries = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const { key } of storage.list(["due"])) found.push(key[1]!);
      return found;
    };
    const [first] = await entries();
    for (let i = 1; i <= 30; i++) {
      now += 60_000;
      await send(portal.event("ONCRMDEALADD", { ID: `${i}` }));
    }
    const { due, supersededDue } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
    assert.deepEqual(await entries(), [due]);
    assert.deepEqual([due, supersededDue], [first, undefined], "half an hour earlier does as well");
    now += 6 * 24 * 60 * 60 * 1000;
    await send(portal.event("ONCRMDEALADD", { ID: "31" }));
    const [later, ...others] = await entries();
    assert(later! > due!, "but days earlier would be in vain");
    assert.deepEqual(others, []);
    await app.close();
  });

  it("loses entries that belong to no record, once no slow writer can be about to write one", async () => {
    const storage = memoryStorage();
    const { app } = rig({ storage });
    const at = (ms: number): string => `${String(Date.now() - ms).padStart(14, "0")}-x`;
    await storage.put(["due", at(2 * 3_600_000), MEMBER_ID], {});
    await storage.put(["due", at(60_000), IDS[1]!], {});
    await app.tick();
    const left: string[] = [];
    for await (const { key } of storage.list(["due"])) left.push(key[2]!);
    assert.deepEqual(left, [IDS[1]]);
  });
});
