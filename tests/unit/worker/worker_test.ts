import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { delay } from "../../../src/async/time.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { rig } from "../../support/app.ts";
import { assertFreshIsNotDelayed, type Crowd, crowd, memberIdOf, numberOf } from "../../support/crowd.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, type VirtualTime, virtualTime } from "../../support/time.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

describe("the worker", () => {
  it("works on at most `concurrency` portals at a time, and on all of them in the end", async () => {
    const made = crowd({ concurrency: 5 });
    let running = 0;
    let most = 0;
    const done: number[] = [];
    made.app.upgrade("3", async ({ memberId }) => {
      most = Math.max(most, ++running);
      await made.takes(SECOND);
      running--;
      done.push(numberOf(memberId));
    });
    await made.install(40);
    await made.update(0, 40);
    await made.time.elapse(8 * SECOND);
    assert.equal(most, 5);
    assert.deepEqual(done, Array.from({ length: 40 }, (_, number) => number));
    await made.close();
  });

  it("reports an event as done only when that is stored, also while others of its portal wait", async () => {
    const time = virtualTime();
    const memory = memoryStorage({ clock: time.now });
    const open = Promise.withResolvers<void>();
    let isClosed = false;
    const storage: Storage = {
      ...memory,
      write: async (operations) => {
        if (isClosed && operations.some((one) => "put" in one && one.put[0] === "portal")) await open.promise;
        return await memory.write!(operations);
      },
    };
    const { app, portal, send } = rig({ storage, ...simulated(time), tickEveryMs: false });
    const gates = new Map(["a", "b", "c", "d"].map((id) => [id, Promise.withResolvers<void>()]));
    app.on("ONCRMDEALADD", ({ event }) => gates.get(event.data.extra["ID"] as string)!.promise);
    const answered: string[] = [];
    const post = async (id: string): Promise<void> => {
      void send(portal.event("ONCRMDEALADD", { ID: id })).then(() => answered.push(id));
      await time.elapse(SECOND);
    };
    void send(portal.install(2));
    await time.elapse(SECOND);
    await post("a");
    await post("b");
    await post("c");
    gates.get("a")!.resolve();
    await time.elapse(SECOND);
    // Arrives while "b" is handled. The failure of "b" is stored, so that the worker knows when it has handled "c".
    await post("d");
    gates.get("b")!.reject(new Error("no"));
    await time.elapse(SECOND);
    isClosed = true;
    gates.get("c")!.resolve();
    await time.elapse(SECOND);
    assert.equal(answered.includes("c"), false);
    open.resolve();
    gates.get("d")!.resolve();
    await time.elapse(SECOND);
    assert.deepEqual(answered.toSorted(), ["a", "b", "c", "d"]);
    const closed = app.close();
    await time.elapse(MINUTE);
    await closed;
  });

  it("takes no lease of a portal that waits for a slot: another process may have one", async () => {
    const made = crowd({ concurrency: 1 });
    made.app.upgrade("3", () => made.takes(MINUTE));
    await made.install(2);
    await made.update(0, 2);
    await made.time.elapse(SECOND);
    const leaseOf = async (number: number): Promise<object | undefined> =>
      (await made.storage.get<PortalRecord>(portalKey(memberIdOf(number))))?.value.lease;
    assert.deepEqual([await leaseOf(0) !== undefined, await leaseOf(1)], [true, undefined]);
    await made.time.elapse(3 * MINUTE);
    await made.close();
  });

  it("works on 64 portals at a time by default", async () => {
    const made = crowd();
    let running = 0;
    made.app.upgrade("3", async () => {
      running++;
      await made.takes(SECOND);
    });
    await made.install(100);
    await made.update(0, 100);
    await made.time.elapse(1);
    assert.equal(running, 64);
    await made.close();
  });

  it("does the work of events that arrive for a portal that waits", async () => {
    const made = crowd({ concurrency: 1 });
    const handled: string[] = [];
    made.app.upgrade("3", () => made.takes(10 * SECOND));
    made.app.on("ONCRMDEALADD", ({ portal }) => void handled.push(`${numberOf(portal.memberId)} ${portal.version}`));
    await made.install(2);
    await made.update(0, 2);
    await made.time.elapse(SECOND);
    await made.send(made.portal(1).event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
    await made.time.elapse(8 * SECOND);
    assert.deepEqual(handled, []);
    await made.time.elapse(12 * SECOND);
    assert.deepEqual(handled, ["1 3.0.0"]);
    await made.close();
  });

  it("leaves portals that wait to the schedule when the app closes", async () => {
    const time = virtualTime();
    const storage = memoryStorage({ clock: time.now });
    const world = { time, storage: { ...storage, close: () => Promise.resolve() } };
    const made = crowd({ concurrency: 1 }, world);
    made.app.upgrade("3", () => made.takes(SECOND));
    await made.install(3);
    await made.update(0, 3);
    await made.close();
    const next = crowd({}, world);
    next.app.upgrade("3", () => {});
    await next.app.start();
    await time.elapse(MINUTE);
    for (let number = 0; number < 3; number++) {
      assert.equal((await next.app.portal(memberIdOf(number)))?.version, "3.0.0");
    }
    await next.close();
  });
});

describe("the slot of a portal whose event is being stored", () => {
  /**
   * Returns a crowd with one slot. Writes of records reject while `isDown`, and take a second while `isSlow`. `leased`: the
   * portals whose record was written with both a lease and a delivery.
   */
  function setUp(): {
    readonly made: Crowd;
    readonly time: VirtualTime;
    readonly leased: number[];
    readonly state: { isDown: boolean; isSlow: boolean };
  } {
    const time = virtualTime();
    const storage = memoryStorage({ clock: time.now });
    const leased: number[] = [];
    const state = { isDown: false, isSlow: false };
    const write: Storage["write"] = async (operations, options) => {
      const record = operations.map((one) => "put" in one && one.put[0] === "portal" ? one.value : undefined)
        .find((value) => value !== undefined) as PortalRecord | undefined;
      if (record !== undefined && state.isSlow) await delay(time, SECOND);
      if (record !== undefined && state.isDown) throw new StorageError("down");
      if (record?.lease !== undefined && record.inbox !== undefined) leased.push(numberOf(record.memberId));
      return await storage.write!(operations, options);
    };
    const made = crowd({ concurrency: 1 }, { time, storage: { ...storage, write } });
    made.app.upgrade("3", () => made.takes(10 * SECOND));
    return { made, time, leased, state };
  }

  const send = (made: Crowd, number: number, version: number): Promise<Response> =>
    made.send(made.portal(number).update(version));

  it("is free for no other event that arrives meanwhile: that is stored without the lease", async () => {
    const { made, time, leased, state } = setUp();
    await made.install(3);
    leased.length = 0;
    state.isSlow = true;
    const sent = [0, 1, 2].map((number) => send(made, number, 3));
    await time.elapse(SECOND);
    assert.deepEqual(leased, [0]);
    state.isSlow = false;
    await time.elapse(MINUTE);
    await Promise.all(sent);
    for (const number of [0, 1, 2]) assert.equal((await made.app.portal(memberIdOf(number)))?.version, "3.0.0");
    await made.close();
  });

  it("is free again if the event is not stored, or causes no work", async () => {
    const { made, time, leased, state } = setUp();
    await made.install(2);
    state.isDown = true;
    assert.equal((await send(made, 0, 3)).status, 503);
    state.isDown = false;
    // It leaves the portal on its version.
    assert.equal((await send(made, 1, 2)).status, 200);
    leased.length = 0;
    assert.equal((await send(made, 1, 3)).status, 200);
    assert.deepEqual(leased, [1]);
    await time.elapse(MINUTE);
    assert.equal((await made.app.portal(memberIdOf(1)))?.version, "3.0.0");
    await made.close();
  });
});

describe("a turn", () => {
  const PAGE_MS = 10 * SECOND;
  const TURN_MS = 30 * SECOND;

  it("is over after 30 seconds if others wait: the run goes on at the next page, in the same attempt", async () => {
    const made = crowd({ concurrency: 1 });
    const pages: string[] = [];
    made.app.upgrade("3", async ({ memberId, attempt, pages: runPages }) => {
      await runPages("all", 1, async (page: number, scope) => {
        await made.takes(PAGE_MS);
        pages.push([numberOf(memberId), page, attempt, scope.attempt].join(" "));
        return { next: page < 5 ? page + 1 : null, done: 1 };
      });
    });
    await made.install(2);
    await made.update(0, 2);
    await made.time.elapse(10 * PAGE_MS);
    const run = (portal: number, from: number, to: number): string[] =>
      Array.from({ length: to - from + 1 }, (_, i) => `${portal} ${from + i} 1 1`);
    assert.deepEqual(pages, [...run(0, 1, 3), ...run(1, 1, 3), ...run(0, 4, 5), ...run(1, 4, 5)]);
    assert.equal((await made.app.portal(memberIdOf(1)))?.version, "3.0.0");
    await made.close();
  });

  it("is over between two steps as well, and not before one is finished", async () => {
    const made = crowd({ concurrency: 1 });
    const steps: string[] = [];
    made.app.upgrade("3", async ({ memberId, attempt, step }) => {
      // Runs again each time.
      await made.takes(TURN_MS + SECOND);
      for (const name of ["a", "b", "c"]) {
        await step(name, () => void steps.push(`${numberOf(memberId)} ${name} ${attempt}`));
      }
    });
    await made.install(2);
    await made.update(0, 2);
    await made.time.elapse(6 * (TURN_MS + SECOND));
    assert.deepEqual(steps, ["0 a 1", "1 a 1", "0 b 1", "1 b 1", "0 c 1", "1 c 1"]);
    await made.close();
  });

  it("does not end while nobody waits", async () => {
    const made = crowd({ concurrency: 2 });
    let attempts = 0;
    made.app.upgrade("3", async ({ step }) => {
      attempts++;
      for (let i = 0; i < 20; i++) await step(`${i}`, () => made.takes(PAGE_MS));
    });
    await made.install(2);
    await made.update(0, 2);
    await made.time.elapse(20 * PAGE_MS);
    assert.equal(attempts, 2);
    assert.equal((await made.app.portal(memberIdOf(1)))?.version, "3.0.0");
    await made.close();
  });

  it("is all that 40 portals with long pages delay a fresh update of another", () =>
    assertFreshIsNotDelayed(crowd({ concurrency: 4 }), 40, TURN_MS));
});
