import assert from "node:assert/strict";
import { type App, memoryStorage, NonRetriableError, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import type { Overflow } from "../../../src/portal/delivery.ts";
import { listDue } from "../../../src/portal/schedule.ts";
import { MAX_WAITING } from "../../../src/portal/waiting.ts";
import type { Entry } from "../../../src/storage/storage.ts";
import { crashingStorage } from "../../support/crashing.ts";
import { appliedUpgrades, MEMBER_ID, rig } from "../../support/app.ts";
import { changed, type Scene, scene, UNKNOWN_APPLICATION_TOKEN } from "../../support/scene.ts";
import { openedRecord } from "../../support/credentials.ts";
import { describe, it } from "../../support/test.ts";
import { waitingDeliveries } from "../../support/waiting.ts";
import { until } from "../../support/until.ts";
import { withoutWrite } from "../../support/without_write.ts";
import { OPERATOR } from "../../support/operator.ts";

/** A storage that counts round trips: concurrent calls share one. */
function countingRoundTrips(): { readonly storage: Storage; readonly roundTrips: () => number } {
  const inner = memoryStorage();
  let roundTrips = 0;
  let pending: Promise<void> | undefined;
  const trip = (): Promise<void> =>
    pending ??= new Promise((resolve) =>
      setTimeout(() => {
        roundTrips++;
        pending = undefined;
        resolve();
      }, 1)
    );
  const over = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => (...args: A): Promise<R> =>
    trip().then(() => call(...args));
  return {
    storage: {
      ...inner,
      write: over(inner.write!),
      get: over(inner.get) as Storage["get"],
      put: over(inner.put) as Storage["put"],
      delete: over(inner.delete),
    },
    roundTrips: () => roundTrips,
  };
}

describe("acceptEvent()", () => {
  it("runs the upgrades to a version that only the verification reports, at an event without handlers", async () => {
    const { app, portal, send, names } = rig();
    app.upgrade("3", () => {});
    await send(portal.install(2));
    // The update is lost, and the token has changed with it.
    portal.update(3, { rotateToken: true });
    assert.equal(await send(portal.event("ONAPPTEST", { "QUERY[any]": "data" })), 200);
    const { version, target } = (await app.portal(MEMBER_ID))!;
    const applied = await appliedUpgrades(app);
    assert.deepEqual([version, target, applied.map(({ id }) => id)], ["3.0.0", "3.0.0", ["3"]]);
    // One more than was sent: the lost update is handled too.
    assert.deepEqual(names().slice(2), [
      "eventReceived",
      "runPlanned",
      "upgradeApplied",
      "portalUpgraded",
      "eventHandled",
      "eventHandled",
    ]);
    await app.close();
  });

  it("refuses an event of the life cycle that is larger than any of Bitrix24, and takes an ordinary one", async () => {
    const { app, portal, send, lines } = rig();
    app.on("ONIMBOTMESSAGEADD", () => {});
    await send(portal.install(2));
    const large = "x".repeat(70_000);
    assert.equal(await send(portal.event("ONAPPUPDATE", { VERSION: "3", EXTRA: large })), 400);
    assert.match(lines.join(), /body: saw 7\d{4} characters, wanted at most 65536 for ONAPPUPDATE/);
    assert.equal(await send(portal.event("ONIMBOTMESSAGEADD", { MESSAGE: large })), 200);
    await app.close();
  });

  it("stores no delivery for an event without handlers and without news", async () => {
    const { app, portal, send, names } = rig();
    await send(portal.install(2));
    assert.equal(await send(portal.event("ONAPPTEST", { "QUERY[any]": "data" })), 200);
    assert.deepEqual(names().slice(2), ["eventReceived"]);
    assert.deepEqual(await app.tick(), { handled: 0, failed: 0 });
    await app.close();
  });

  it("needs two round trips to the storage, and one for a duplicate", async () => {
    const { storage, roundTrips } = countingRoundTrips();
    const { app, bitrix24, portal, send } = rig({ storage });
    await send(portal.install(2));
    const stored = rig({ storage, acknowledge: "stored", fetch: bitrix24.fetch });
    await stored.app.start();
    const update = portal.update(3);
    let before = roundTrips();
    assert.equal(await stored.send(update), 200);
    assert.equal(roundTrips() - before, 2);
    await stored.app.close();
    before = roundTrips();
    assert.equal(await send(update), 200);
    assert.equal(roundTrips() - before, 1);
    await app.close();
  });

  it("writes only the record for an event without work, which has its token pair until another event has some", async () => {
    const inner = memoryStorage();
    const written: string[] = [];
    const storage: Storage = {
      ...inner,
      write: (operations, options) => {
        written.push(...operations.flatMap((one) => "put" in one ? [one.put[0]!] : []));
        return inner.write!(operations, options);
      },
    };
    const { app, portal, send } = rig({ storage, checks: false });
    await send(portal.install(2));
    const stored = async (): Promise<PortalRecord> => (await inner.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
    const test = (): string => portal.event("ONAPPTEST", { "QUERY[any]": "data" });
    for (const event of [test(), test(), portal.update(2)]) {
      written.length = 0;
      assert.equal(await send(event), 200);
      assert.deepEqual(written, ["portal"]);
    }
    const { tokens = [] } = await stored();
    assert.equal(tokens.length, 1);
    const opened = await openedRecord(inner, MEMBER_ID);
    assert(opened?.tokens?.some(({ accessToken }) => accessToken === tokens[0]!.accessToken));
    await send(portal.update(3));
    assert.equal((await stored()).tokens, undefined);
    await app.close();
  });

  it("loses nothing if a crash follows the write of a large delivery and precedes that of the record", async () => {
    const storage = memoryStorage();
    let isBroken = true;
    const crashing: Storage = {
      ...withoutWrite(storage),
      put: (key, value, options) =>
        isBroken && key[0] === "portal" ? Promise.reject(new StorageError("crash")) : storage.put(key, value, options),
    };
    const { app, portal, send, later } = rig({ storage: crashing });
    app.upgrade("3", () => {});
    portal.install(2);
    assert.equal(await send(changed(portal.update(3), { "data[EXTRA]": "x".repeat(5000) })), 503);
    isBroken = false;
    assert.equal(await app.portal(MEMBER_ID), undefined);
    later();
    await app.tick();
    const { version } = (await app.portal(MEMBER_ID))!;
    const applied = await appliedUpgrades(app);
    assert.deepEqual([version, applied.map(({ id }) => id)], ["3.0.0", ["3"]]);
    await app.close();
  });

  for (const size of ["small", "large"] as const) {
    it(`leaves no ${size} delivery that nobody looks at, and no schedule entry, after a crash between any two writes`, async () => {
      let isWhole = false;
      for (let crashAt = 0; !isWhole; crashAt++) {
        assert(crashAt < 100);
        const inner = memoryStorage();
        const storage = { ...withoutWrite(inner), close: () => Promise.resolve() };
        const { storage: crashing, crashAfter, hasCrashed } = crashingStorage(inner);
        const heard: string[] = [];
        const handlers = (app: App): App =>
          app.upgrade("3", () => {}).on("ONCRMDEALADD", () => void heard.push("deal"));
        const first = rig({ storage: crashing });
        handlers(first.app);
        const { portal } = first;
        await first.send(portal.install(2));
        crashAfter(crashAt);
        const filler = { "data[EXTRA]": "x".repeat(size === "large" ? 5000 : 10) };
        const statuses: number[] = [];
        for (const body of [portal.event("ONCRMDEALADD", { ID: "7" }), portal.update(3)]) {
          statuses.push(await first.send(changed(body, filler)));
        }
        await first.app.close().catch(() => {});
        isWhole = !hasCrashed();

        const second = rig({ storage, fetch: first.bitrix24.fetch });
        handlers(second.app);
        for (let tick = 0; tick < 4; tick++) {
          second.later();
          await second.app.tick();
        }
        const record = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
        const named = record.due === undefined ? [] : [record.due];
        assert.deepEqual(await waitingDeliveries(storage, MEMBER_ID), [], `crash at write ${crashAt}`);
        assert.deepEqual(
          await Array.fromAsync(listDue(storage, Infinity), ({ due }) => due),
          named,
          `crash at ${crashAt}`,
        );
        if (statuses[0] === 200) assert(heard.length > 0, `crash at write ${crashAt}`);
        if (statuses[1] === 200) assert.equal(record.version, "3.0.0", `crash at write ${crashAt}`);
        await second.app.close();
      }
    });
  }
});

describe("the inbox of a portal", () => {
  /** An app with handlers, one portal, and access to its record. */
  async function filled(change: (record: PortalRecord) => PortalRecord): Promise<Scene> {
    const made = scene({}, { acknowledge: "stored" });
    made.app.on(["ONCRMDEALADD", "ONAPPUSERREADY", "ONAPPPAYMENT"], () => {});
    assert.equal(await made.send(made.portal.install(2)), 200);
    await made.settled();
    const { value } = await stored(made);
    // Another process works on the portal.
    const lease = { owner: "another process", until: made.now + 24 * 60 * 60 * 1000 };
    await made.storage.put(portalKey(MEMBER_ID), change({ ...value, lease }));
    made.forget();
    return made;
  }

  async function stored({ storage }: Scene): Promise<Entry<PortalRecord>> {
    return (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!;
  }

  const full: Overflow = { events: MAX_WAITING, size: 1000, lifeCycle: {} };

  it("takes 1,000 ordinary events, and answers 503 to a further one, which is logged once a minute", async () => {
    const made = await filled((record) => ({ ...record, overflow: { ...full, events: MAX_WAITING - 1 } }));
    const { portal, send, app } = made;
    const deal = (id: number): Promise<number> => send(portal.event("ONCRMDEALADD", { ID: String(id) }));
    assert.equal(await deal(1), 200);
    const before = await made.stored();
    for (let id = 2; id < 12; id++) assert.equal(await deal(id), 503);
    assert.deepEqual(await made.stored(), before, "nothing of them is stored");
    const lines = (): string[] => made.lines.filter((line) => /inbox\.full/.test(line));
    assert.equal(lines().length, 1);
    const { level, memberId, err: { code } } = JSON.parse(lines()[0]!);
    assert.deepEqual([level, memberId, code], ["error", MEMBER_ID, "inbox_full"]);
    assert(!made.lines.some((line) => /request\.refused/.test(line)));
    const rejected = made.reports.filter((report) => report.name === "eventRejected");
    assert.deepEqual([rejected.length, rejected[0]!.status, rejected[0]!.event], [10, 503, "ONCRMDEALADD"]);
    made.now += 60_000;
    assert.equal(await deal(12), 503);
    assert.equal(lines().length, 2);
    await app.close();
  });

  it("takes life-cycle events when it is full", async () => {
    const made = await filled((record) => ({ ...record, overflow: full }));
    const { portal, send, app } = made;
    for (const body of [portal.userReady(), portal.stopPayment(), portal.update(3), portal.uninstall()]) {
      assert.equal(await send(body), 200);
    }
    await app.close();
  });

  it("keeps the newest 16 life-cycle events of a kind", async () => {
    const made = await filled((record) => record);
    const { app, storage } = made;
    for (let i = 0; i < 20; i++) {
      made.now += 1000;
      assert.equal(await made.send(changed(made.portal.userReady(), { "data[user_id]": String(100 + i) })), 200);
    }
    const ids = (await waitingDeliveries(storage, MEMBER_ID)).map(({ id }) => id.split(":")[1]!);
    assert.deepEqual(ids.sort(), Array.from({ length: 16 }, (_, i) => String(104 + i)));
    assert.equal(made.lines.filter((line) => /inbox\.dropped/.test(line)).length, 4);
    await app.close();
  });

  it("counts what all processes have stored, parked events included, until it is handled", async () => {
    const storage = memoryStorage();
    let isBroken = true;
    const handler = (): void => {
      if (isBroken) throw new NonRetriableError("broken");
    };
    const [one, other] = [scene({}, { storage }), scene({}, { storage })];
    for (const { app } of [one, other]) app.on("ONCRMDEALADD", handler);
    await one.send(one.portal.install(2));
    const waiting = async (): Promise<Overflow | undefined> => (await stored(one)).value.overflow;
    assert.equal(await waiting(), undefined);
    const MESSAGE = "x".repeat(5000);
    const bodies = ["1", "2", "3"].map((ID) => one.portal.event("ONCRMDEALADD", { ID, MESSAGE }));
    for (const [i, body] of bodies.entries()) assert.equal(await [one, other][i % 2]!.send(body), 200);
    const size = bodies.reduce((sum, { length }) => sum + length, 0);
    assert.deepEqual(await waiting(), { events: 3, size, lifeCycle: {} });
    await one.send(bodies[0]!);
    assert.equal((await waiting())?.events, 4, "a duplicate counts until the next pass");
    isBroken = false;
    assert.equal(await one.send(one.portal.event("ONCRMDEALADD", { ID: "4", MESSAGE })), 200);
    assert.equal((await waiting())?.events, 3, "a handled event does not count");
    await one.app.admin.retry(MEMBER_ID, OPERATOR);
    await until("nothing waits", async () => await waiting() === undefined);
    await Promise.all([one.app.close(), other.app.close()]);
  });

  it("that is full keeps what verifies an event, which takes effect once there is room", async () => {
    const made = await filled((record) => ({ ...record, overflow: full }));
    const { portal, send, app } = made;
    const lines = (): string[] => made.lines.filter((line) => /inbox\.full/.test(line));
    const before = (await stored(made)).value;
    const deal = changed(portal.event("ONCRMDEALADD", { ID: "1" }), UNKNOWN_APPLICATION_TOKEN);
    assert.equal(await send(deal), 200);
    await made.settled();
    const { tokens, applicationToken, overflow } = (await openedRecord(made.storage, MEMBER_ID))!;
    const accessToken = new URLSearchParams(deal).get("auth[access_token]");
    assert.equal(tokens?.some((pair) => pair.accessToken === accessToken), true);
    assert.notEqual(applicationToken?.current, before.applicationToken?.current);
    assert.deepEqual(overflow, full);
    assert.equal((await app.portal(MEMBER_ID))?.unverifiedEvents, 1);
    for (let i = 0; i < 5; i++) await app.tick();
    const [line, ...others] = lines();
    const { level, memberId, eventName, err: { code } } = JSON.parse(line!);
    assert.deepEqual([level, memberId, eventName, code], ["error", MEMBER_ID, "ONCRMDEALADD", "inbox_full"]);
    assert.deepEqual(others, []);
    assert(!made.lines.some((text) => /verification\.postponed|request\.refused/.test(text)));
    assert.deepEqual(made.names(), [], "neither accepted nor refused");

    const entry = await stored(made);
    const { overflow: _, ...emptied } = entry.value;
    await made.storage.put(entry.key, emptied);
    made.now += 30_000;
    await app.tick();
    assert.deepEqual([made.names(), (await stored(made)).value.inbox?.length], [["eventReceived"], 1]);
    assert.equal((await app.portal(MEMBER_ID))?.unverifiedEvents, undefined);
    await app.close();
  });
});
