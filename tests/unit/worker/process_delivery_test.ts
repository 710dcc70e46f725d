import assert from "node:assert/strict";
import { createApp, mapped, memoryStorage, NonRetriableError } from "@b24/onappupdate";
import type { StoredDelivery } from "../../../src/portal/delivery.ts";
import { deliveryKey, dueKey, portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { entryId } from "../../../src/portal/schedule.ts";
import type { Entry } from "../../../src/storage/storage.ts";
import { MEMBER_ID, post, quietLogger, rig, trustAll } from "../../support/app.ts";
import { type Crowd, crowd, memberIdOf } from "../../support/crowd.ts";
import { OPERATOR } from "../../support/operator.ts";
import { changed } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";
import { waitingDeliveries } from "../../support/waiting.ts";

const LEASE_MS = 30_000;

/** A portal on version 2, in a process that can be paused. */
interface Setup {
  readonly made: Crowd;
  /** Lets time pass without a timer, and so without a renewal. `isTaken`: another process takes the lease then. */
  readonly pause: (isTaken: boolean) => Promise<void>;
  /** Resolves to whether the stored lease lasts for its whole time. */
  readonly isHeld: () => Promise<boolean>;
}

async function setUp(prepare: (app: Crowd["app"], setup: Setup) => void): Promise<Setup> {
  const virtual = virtualTime();
  let paused = 0;
  const time = {
    ...virtual,
    now: () => virtual.now() + paused,
    monotonic: () => virtual.monotonic() + paused,
  };
  const storage = memoryStorage({ clock: time.now });
  const made = crowd({ limits: { leaseMs: LEASE_MS }, tickEveryMs: false }, { time, storage });
  const key = portalKey(memberIdOf(0));
  const record = async (): Promise<PortalRecord> => (await storage.get<PortalRecord>(key))!.value;
  const pause = async (isTaken: boolean): Promise<void> => {
    paused += LEASE_MS + 1;
    if (isTaken) await storage.put(key, { ...await record(), lease: { owner: "other", until: time.now() + LEASE_MS } });
  };
  const isHeld = async (): Promise<boolean> => (await record()).lease!.until >= time.now() + LEASE_MS;
  const setup: Setup = { made, pause, isHeld };
  prepare(made.app, setup);
  await made.install(1);
  return setup;
}

describe("a handler after a pause of the process", () => {
  for (const isTaken of [true, false]) {
    const what = isTaken ? "does not begin if another process has taken the lease" : "begins under a renewed lease";

    it(`${what}: between the event and its handler`, async () => {
      const ran: string[] = [];
      const { made, pause } = await setUp((app, { isHeld }) => {
        app.on("ONCRMDEALADD", async () => {
          ran.push(await isHeld() ? "handler" : "handler, not held");
        });
      });
      await made.send(made.portal(0).event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
      await pause(isTaken);
      await made.time.elapse(1);
      assert.deepEqual(ran, isTaken ? [] : ["handler"]);
      await made.close();
    });

    it(`${what}: between two handlers`, async () => {
      const ran: string[] = [];
      const { made } = await setUp((app, { pause, isHeld }) => {
        app.on("ONCRMDEALADD", async () => {
          ran.push("first");
          await pause(isTaken);
        }).on("ONCRMDEALADD", async () => {
          ran.push(await isHeld() ? "second" : "second, not held");
        });
      });
      await made.send(made.portal(0).event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
      await made.time.elapse(1);
      assert.deepEqual(ran, isTaken ? ["first"] : ["first", "second"]);
      await made.close();
    });

    it(`${what}: a step after work outside of steps`, async () => {
      const ran: string[] = [];
      const { made } = await setUp((app, { pause, isHeld }) => {
        app.upgrade("3", async ({ step }) => {
          ran.push("upgrade");
          await pause(isTaken);
          await step("a", async () => {
            ran.push(await isHeld() ? "step" : "step, not held");
          });
        });
      });
      await made.send(made.portal(0).update(3));
      await made.time.elapse(1);
      assert.deepEqual(ran, isTaken ? ["upgrade"] : ["upgrade", "step"]);
      await made.close();
    });
  }
});

describe("processDelivery()", () => {
  it("runs no handlers of a delivery that a crash has kept from being deleted", async () => {
    const memory = memoryStorage();
    let left: Entry<StoredDelivery> | undefined;
    const storage = {
      ...memory,
      write: async (operations: Parameters<NonNullable<typeof memory.write>>[0]) => {
        const result = await memory.write!(operations);
        for await (const entry of memory.list<StoredDelivery>(["delivery"])) left = entry;
        return result;
      },
    };
    const made = rig({ storage });
    let runs = 0;
    made.app.on("ONAPPUPDATE", () => void runs++);
    await made.send(made.portal.install(2));
    assert.equal(await made.send(changed(made.portal.update(3), { "data[EXTRA]": "x".repeat(5000) })), 200);
    assert.deepEqual([runs, left?.key[0]], [1, "delivery"]);
    await memory.put(left!.key, left!.value);
    await memory.put(dueKey(entryId(1, "1"), MEMBER_ID), {});
    await made.app.tick();
    assert.equal(runs, 1);
    assert.deepEqual(await Array.fromAsync(memory.list(["delivery"])), []);
    await made.app.close();
  });

  it("counts no attempt at an event whose version only newer code knows", async () => {
    const storage = memoryStorage();
    const versions = mapped({ "1": "1.0.0", "2": "2.0.0" });
    const { portal, clock, later } = rig();
    const app = createApp({
      storage,
      versions,
      clock,
      logger: quietLogger,
      acknowledge: "handled",
      retry: { maxAttempts: 1 },
    }).use(trustAll);
    for (const body of [portal.install(2), portal.update(3)]) assert.equal((await app.fetch(post(body))).status, 200);
    for (let tick = 0; tick < 3; tick++) {
      later();
      await app.tick();
    }
    const waiting = await waitingDeliveries(storage, MEMBER_ID);
    assert.deepEqual(waiting.map(({ delivery: { attempts, error } }) => [attempts, error]), [[0, undefined]]);
    await app.close();
  });

  it("keeps the attempts that an operator has reset while the work was under way", async () => {
    const storage = memoryStorage();
    const { app, portal, send, later } = rig({ storage });
    const begun = Promise.withResolvers<void>();
    const ends = [Promise.reject(new Error("no")), Promise.withResolvers<void>()] as const;
    ends[0].catch(() => {});
    let runs = 0;
    app.on("ONCRMDEALADD", () => {
      if (runs++ === 0) return ends[0];
      begun.resolve();
      return ends[1].promise;
    });
    await send(portal.install(2));
    await send(portal.event("ONCRMDEALADD", { ID: "7" }));
    later();
    const tick = app.tick();
    await begun.promise;
    await app.admin.retry(MEMBER_ID, OPERATOR);
    ends[1].reject(new NonRetriableError("no"));
    await tick;
    const [waiting] = await waitingDeliveries(storage, MEMBER_ID);
    // It is tried once more, and that is its first attempt.
    assert.deepEqual([runs, waiting?.delivery.attempts], [3, 1]);
    await app.close();
  });

  it("parks an event with a key of its own for good", async () => {
    const storage = memoryStorage();
    const made = rig({ storage, retry: { maxAttempts: 2 } });
    let attempts = 0;
    made.app.on("ONAPPTEST", () => {
      attempts++;
      throw new Error("no");
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.event("ONAPPTEST", { text: "x".repeat(5000) }));
    made.later();
    assert.equal((await made.app.tick()).failed, 1);
    const [parked] = await waitingDeliveries(storage, MEMBER_ID);
    assert.equal(parked!.delivery.retryAt, undefined);
    // The portal is processed again for other events.
    made.later();
    await made.send(made.portal.update(3));
    await made.app.tick();
    assert.equal(attempts, 2);
    assert.equal(made.lines.filter((line) => line.includes('"event.parked"')).length, 1);
    await made.app.close();
  });

  it("handles an equal event that comes while the first one is handled", async () => {
    const { app, portal, send } = rig();
    const goOn = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    let runs = 0;
    app.on("ONCRMDEALUPDATE", async () => {
      if (++runs > 1) return;
      begun.resolve();
      await goOn.promise;
    });
    await send(portal.install(2));
    const event = portal.event("ONCRMDEALUPDATE", { ID: "7" });
    const first = send(event);
    await begun.promise;
    const second = send(event);
    // Answered once it is stored: another event of the portal comes after it.
    assert.equal(await send(portal.event("ONAPPTEST", { "QUERY[any]": "data" })), 200);
    goOn.resolve();
    assert.deepEqual([await first, await second, runs], [200, 200, 2]);
    await app.close();
  });

  it("runs no handlers of an installation that was removed in the same second", async () => {
    const { portal, clock, later } = rig();
    const app = createApp({ storage: memoryStorage(), clock, logger: quietLogger, acknowledge: "handled" });
    app.use({ name: "verified", phase: "verify", around: (_, next) => next({ installedVersion: "2" }) });
    let runs = 0;
    app.on("ONAPPINSTALL", () => {
      if (++runs === 1) throw new Error("not yet");
    });
    const install = portal.install(2);
    const ts = new URLSearchParams(install).get("ts")!;
    await app.fetch(post(install));
    await app.fetch(post(changed(portal.uninstall(), { ts })));
    later();
    await app.tick();
    assert.deepEqual([runs, (await app.portal(MEMBER_ID))?.status], [1, "uninstalled"]);
    await app.close();
  });
});

describe("processPortal()", () => {
  it("makes the record of a portal whose first delivery was stored before a crash", async () => {
    const storage = memoryStorage();
    const { app, portal, clock } = rig({ storage });
    portal.install(2);
    const body = { kind: "form", text: portal.update(3) } as const;
    const delivery = { format: 1, body, receivedAt: clock(), verification: {}, attempts: 0, generation: 1 };
    await storage.put(deliveryKey(MEMBER_ID, "ONAPPUPDATE:3:1"), delivery);
    await storage.put(dueKey(entryId(1, "1"), MEMBER_ID), {});
    await app.tick();
    const { initialVersion, version } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([initialVersion, version], ["2.0.0", "3.0.0"]);
    assert.deepEqual(await Array.fromAsync(storage.list(["delivery"])), []);
    await app.close();
  });
});
