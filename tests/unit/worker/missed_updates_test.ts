import assert from "node:assert/strict";
import { type App, createApp, memoryStorage, NonRetriableError, RetryAfterError } from "@b24/onappupdate";
import type { AppRuntime } from "../../../src/plugin/runtime.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { raiseTarget } from "../../../src/worker/missed_updates.ts";
import { MEMBER_ID, movableClock, OTHER_MEMBER_ID, post, quietLogger, rig, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

describe("a portal below its target", () => {
  const STUCK: Readonly<Record<string, Error>> = {
    "is parked": new NonRetriableError("no"),
    "is to be retried later": new RetryAfterError(10 * 24 * 60 * 60 * 1000),
  };
  for (const [how, error] of Object.entries(STUCK)) {
    it(`reaches it while the event of an earlier update ${how}`, async () => {
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
      portal.update(4); // its event is lost
      assert.equal((await app.check(MEMBER_ID)).target, "4.0.0");
      // The check has woken the worker.
      await until("the portal is on 4.0.0", async () => (await app.portal(MEMBER_ID))?.version === "4.0.0");
      assert.deepEqual(ran, ["handler 3", "upgrade", "handler 4.0.0"]);
      await app.close();
    });
  }

  it("gets no second delivery if a sleep of its run ends before its lease is released", async () => {
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

  it("reaches it even if the event that raised the target is gone", async () => {
    const storage = memoryStorage();
    const { clock, later } = movableClock();
    const { portal } = rig();
    const ran: string[] = [];
    const make = (): App =>
      createApp({ storage, clock, acknowledge: "handled", logger: quietLogger }).use(trustAll)
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

  it("is due at its retry even if another event has raised the target", async () => {
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
  it("has no entry of an idle portal", async () => {
    const storage = memoryStorage();
    const { app, portal, send } = rig({ storage });
    app.upgrade("3", ({ step }) => step("one", () => {}));
    await send(portal.install(2));
    await send(portal.update(3));
    for await (const { key } of storage.list(["due"])) assert.fail(JSON.stringify(key));
    const record = (await storage.get<{ due?: string; lease?: object }>(["portal", MEMBER_ID]))!.value;
    assert.deepEqual([record.due, record.lease], [undefined, undefined]);
  });

  it("has one entry of a portal with a future check, however many events arrive", async () => {
    const storage = memoryStorage();
    let now = Date.now();
    // Checks after contacts are planned for later than the check of a silent portal.
    const checks = { afterContactMs: 30 * 24 * 60 * 60 * 1000 };
    const made = rig({ storage, clock: () => now, checks, clientSecret: "client-secret-0123456789abcdef" });
    const { app, portal, send } = made;
    app.on("ONCRMDEALADD", () => {});
    await send(portal.install(2));
    const entries = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const { key } of storage.list(["due"])) found.push(key[1]!);
      return found;
    };
    for (let i = 1; i <= 30; i++) {
      now += 60_000;
      await send(portal.event("ONCRMDEALADD", { ID: `${i}` }));
    }
    const { due } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
    assert.deepEqual(await entries(), [due]);
    now += 6 * 24 * 60 * 60 * 1000;
    await app.check(MEMBER_ID);
    await send(portal.event("ONCRMDEALADD", { ID: "31" }));
    const [later, ...others] = await entries();
    assert(later! > due!, "an entry days early is replaced");
    assert.deepEqual(others, []);
    await app.close();
  });

  it("loses entries without a record once they are an hour old", async () => {
    const storage = memoryStorage();
    const { app } = rig({ storage });
    const at = (ms: number): string => `${String(Date.now() - ms).padStart(14, "0")}-x`;
    await storage.put(["due", at(2 * 3_600_000), MEMBER_ID], {});
    await storage.put(["due", at(60_000), OTHER_MEMBER_ID], {});
    await app.tick();
    const left: string[] = [];
    for await (const { key } of storage.list(["due"])) left.push(key[2]!);
    assert.deepEqual(left, [OTHER_MEMBER_ID]);
  });
});

describe("raiseTarget()", () => {
  it("never lowers a target: Bitrix24 may be behind", async () => {
    const storage = memoryStorage();
    const { app, portal, send, clock } = rig({ storage });
    await send(portal.install(3));
    const random = (): string => crypto.randomUUID();
    const runtime = { storage, clock, random, log: quietLogger, versions: {} } as unknown as AppRuntime;
    const targets: unknown[] = [];
    for (const version of ["2.0.0", "3.0.0", "4.0.0"]) {
      targets.push([await raiseTarget(runtime, MEMBER_ID, version), (await app.portal(MEMBER_ID))?.target]);
    }
    assert.deepEqual(targets, [[false, "3.0.0"], [false, "3.0.0"], [true, "4.0.0"]]);
    await app.close();
  });
});
