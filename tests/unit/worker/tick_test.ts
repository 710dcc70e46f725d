import assert from "node:assert/strict";
import { deployed, memoryStorage, RetryAfterError, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Entry } from "@b24/onappupdate/storage";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { dueKey, portalKey } from "../../../src/portal/keys.ts";
import { entryId, listDue } from "../../../src/portal/schedule.ts";
import type { AppRuntime } from "../../../src/plugin/runtime.ts";
import { verificationSettings } from "../../../src/plugin/verification_policy.ts";
import { createBudget } from "../../../src/verify/budget.ts";
import { createTicker } from "../../../src/worker/tick.ts";
import type { Worker } from "../../../src/worker/worker.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { MEMBER_ID, OTHER_MEMBER_ID, quietLogger, rig } from "../../support/app.ts";
import { type Crowd, crowd, memberIdOf, numberOf } from "../../support/crowd.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, virtualTime } from "../../support/time.ts";

/** The portals of all schedule entries, due or not. */
async function scheduled(storage: Storage): Promise<string[]> {
  const members: string[] = [];
  for await (const { memberId } of listDue(storage, Infinity)) members.push(memberId);
  return members;
}

describe("tick()", () => {
  it("deletes entries that crashes have left, and keeps the one of the record", async () => {
    const storage = memoryStorage();
    const { app, portal, send, clock } = rig({ storage });
    app.upgrade("3", ({ step, sleep }) => step("one", () => 1).then(() => sleep("a while", 60_000)));
    await send(portal.install(2));
    await send(portal.update(3));
    assert.deepEqual(await scheduled(storage), [MEMBER_ID]);
    for (let i = 1; i <= 22; i++) await storage.put(dueKey(entryId(clock() - i, `${i}`), MEMBER_ID), {});
    await app.tick();
    assert.deepEqual(await scheduled(storage), [MEMBER_ID]);
    const { due } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
    for await (const entry of listDue(storage, Infinity)) assert.equal(entry.due, due);
    await app.close();
  });

  it("keeps the entry that it has found if the portal was released with it", async () => {
    const storage = memoryStorage();
    const due = entryId(1, "1");
    await storage.put(dueKey(due, MEMBER_ID), {});
    const time = virtualTime();
    const runtime = { storage, time, clock: time.now, log: quietLogger, versions: {}, plugins: [] };
    const released: { due: string | undefined } = { due };
    const worker = {
      process: () => Promise.resolve({ handled: 0, failed: 0, released }),
      ...{ isProcessing: () => false, room: () => Promise.resolve() },
    };
    const nothing = () => Promise.resolve(undefined);
    const { budget } = verificationSettings();
    const verifier = { tick: nothing, settled: nothing, budget: () => createBudget(budget, time.now) };
    const { tick } = createTicker(runtime as unknown as AppRuntime, {
      ...{ worker: worker as unknown as Worker, verifier },
      ...{ totals: { flush: nothing }, pauseSwitch: { current: nothing }, batches: { goOn: nothing } },
      ...{
        outbox: { tick: nothing, idle: nothing },
        recount: { page: nothing },
        snapshots: { take: nothing },
        tickPlugins: () => Promise.resolve(),
      },
    });
    await tick();
    assert.deepEqual(await scheduled(storage), [MEMBER_ID]);
    released.due = undefined;
    await tick();
    assert.deepEqual(await scheduled(storage), []);
  });

  it("processes every portal, however many others are leased, written by newer code or not decipherable", async () => {
    const inner = memoryStorage();
    const storage = await withoutKeyOf(inner, []);
    const { app, portal, send, clock, later, lines } = rig({ storage });
    let isBroken = true;
    app.upgrade("3", () => isBroken ? Promise.reject(new Error("not yet")) : undefined);
    await send(portal.install(2));
    await send(portal.update(3));
    const others = ["leased", "newer code", "encrypted", "without a record"].flatMap((kind) =>
      Array.from({ length: 50 }, (_, i) => ({ kind, memberId: `${kind} ${i}` }))
    );
    for (const { kind, memberId } of others) {
      const due = entryId(clock() - 1000, memberId);
      await storage.put(dueKey(due, memberId), {});
      const record = { memberId, status: "installed", applied: [], due };
      const lease = { owner: "another", until: clock() + 1e9 };
      if (kind === "leased") await storage.put(portalKey(memberId), { ...record, format: PORTAL_FORMAT, lease });
      if (kind === "encrypted") await withoutKeyOf(inner, [portalKey(memberId)]);
      if (kind === "newer code") await storage.put(portalKey(memberId), { ...record, format: PORTAL_FORMAT + 1 });
    }
    isBroken = false;
    later();
    assert.deepEqual(await app.tick({ limit: 10 }), { handled: 1, failed: 50 });
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    assert.deepEqual(lines.filter((line) => line.includes('"schedule.cleanup_failed"')), []);
    // Entries are kept, except for old ones without a record, which a crash has left.
    const kept = others.filter(({ kind }) => kind !== "without a record").map(({ memberId }) => memberId);
    assert.deepEqual((await scheduled(storage)).toSorted(), kept.toSorted());
    await app.close();
  });

  for (const what of ["fails", "hangs"]) {
    it(`processes portals while the list of events that wait for verification ${what}`, async () => {
      const time = virtualTime();
      const memory = memoryStorage({ clock: time.now });
      const gate = Promise.withResolvers<void>();
      const list = async function* <T>(...[prefix, options]: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
        if (prefix[0] === "unverified-due") {
          await gate.promise;
          throw new StorageError("cannot list");
        }
        yield* memory.list<T>(prefix, options);
      };
      if (what === "fails") gate.resolve();
      const { app, portal, send, lines } = rig({
        ...{ storage: { ...memory, list }, ...simulated(time), tickEveryMs: 30_000, acknowledge: "stored" },
      });
      let isBroken = true;
      app.upgrade("3", () => isBroken ? Promise.reject(new RetryAfterError(10_000)) : undefined);
      await send(portal.install(2));
      await send(portal.update(3));
      await time.elapse(1000);
      isBroken = false;
      await time.elapse(60_000);
      assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
      assert.equal(lines.some((line) => line.includes("verification.tick_failed")), what === "fails");
      gate.resolve();
      await app.close();
    });
  }

  it("keeps a recent entry without a record: the record may be written any moment", async () => {
    const storage = memoryStorage();
    const { app, clock } = rig({ storage });
    await storage.put(dueKey(entryId(clock() - 30 * 60_000, "1"), OTHER_MEMBER_ID), {});
    await app.tick();
    assert.deepEqual(await scheduled(storage), [OTHER_MEMBER_ID]);
    await app.close();
  });
});

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const TICK_MS = 30 * SECOND;

/** Returns the numbers of the portals that are on version 3. */
async function upgraded({ app }: Crowd, portals: number): Promise<number[]> {
  const versions = await Promise.all(Array.from({ length: portals }, (_, number) => app.portal(memberIdOf(number))));
  return versions.flatMap((portal, number) => portal?.version === "3.0.0" ? [number] : []);
}

describe("the built-in ticker", () => {
  it("goes on at once while more is due", async () => {
    const made = crowd({ concurrency: 4, retry: { initialDelayMs: MINUTE } });
    const portals = 150;
    let isBroken = true;
    made.app.upgrade("3", async () => {
      if (isBroken) throw new RetryAfterError(MINUTE);
      await made.takes(100);
    });
    await made.install(portals);
    await made.update(0, portals);
    await made.time.elapse(SECOND);
    isBroken = false;
    // All are due at the same tick. The work takes 7.5 seconds.
    await made.time.elapse(2 * MINUTE);
    assert.equal((await upgraded(made, portals)).length, portals);
    await made.close();
  });

  it("does not wait for a long run: others are retried at the same tick as without it", async () => {
    const retriedAt = async (isLong: boolean): Promise<number> => {
      const made = crowd();
      let at: number | undefined;
      const start = made.time.now();
      let attempts = 0;
      made.app.upgrade("3", async ({ memberId }) => {
        if (numberOf(memberId) === 0) {
          // Resumed by a tick.
          if (attempts++ === 0) throw new RetryAfterError(1);
          return isLong ? await made.takes(3 * HOUR) : undefined;
        }
        if (made.time.now() - start < 5 * MINUTE) throw new RetryAfterError(5 * MINUTE);
        at = made.time.now() - start;
      }, { timeoutMs: 4 * HOUR });
      await made.install(2);
      await made.update(0, 1);
      await made.time.elapse(2 * TICK_MS);
      assert.equal(attempts, 2);
      await made.update(1, 2);
      await made.time.elapse(10 * MINUTE);
      await made.close();
      return at!;
    };
    const at = await retriedAt(true);
    assert(at > 0);
    assert.equal(at, await retriedAt(false));
  });

  it("passes no more portals to the worker than it can begin soon", async () => {
    const made = crowd({ concurrency: 2 });
    let ticks = 0;
    made.app.use({ name: "ticks", observe: { tickFinished: () => void ticks++ } });
    let isBroken = true;
    let begun = 0;
    const gate = Promise.withResolvers<void>();
    made.app.upgrade("3", async () => {
      if (isBroken) throw new RetryAfterError(1);
      begun++;
      await gate.promise;
    });
    await made.install(50);
    await made.update(0, 50);
    await made.time.elapse(SECOND);
    // That of the start.
    assert.equal(ticks, 1);
    isBroken = false;
    await made.time.elapse(5 * MINUTE);
    assert.deepEqual([begun, ticks], [2, 1]);
    gate.resolve();
    await made.time.elapse(SECOND);
    assert.deepEqual([begun, (await upgraded(made, 50)).length], [50, 50]);
    await made.close();
  });

  it("raises the targets of all portals after a deploy, and brings them there, without waiting for the next tick", async () => {
    const time = virtualTime();
    const storage = memoryStorage({ clock: time.now });
    const world = { time, storage: { ...storage, close: () => Promise.resolve() } };
    const before = crowd({ versions: deployed("2.0.0") }, world);
    await before.install(250);
    await before.close();
    const made = crowd({ versions: deployed("3.0.0") }, world);
    await made.app.start();
    await time.elapse(TICK_MS);
    assert.equal((await upgraded(made, 250)).length, 250);
    await made.close();
  });

  it("looks at the start at what the last process has given back at its close", async () => {
    const time = virtualTime();
    const storage = memoryStorage({ clock: time.now });
    const world = { time, storage: { ...storage, close: () => Promise.resolve() } };
    const before = crowd({}, world);
    before.app.upgrade("3", () => before.takes(HOUR));
    await before.install(1);
    await before.update(0, 1);
    await before.time.elapse(SECOND);
    await before.close();
    const made = crowd({}, world);
    made.app.upgrade("3", () => {});
    await made.app.start();
    await time.elapse(SECOND);
    assert.equal((await upgraded(made, 1)).length, 1);
    await made.close();
  });

  it("reports a tick when its work has ended, or after 30 seconds", async () => {
    const made = crowd();
    const ticks: string[] = [];
    let isLong = false;
    made.app.use({
      name: "ticks",
      observe: { tickFinished: ({ handled }) => void ticks.push(`${made.time.now()} ${handled}`) },
    });
    let isBroken = true;
    made.app.upgrade("3", async () => {
      if (isBroken) throw new RetryAfterError(1);
      await made.takes(isLong ? HOUR / 2 : SECOND);
    });
    const start = made.time.now();
    await made.install(2);
    await made.update(0, 1);
    await made.time.elapse(SECOND);
    // That of the start.
    assert.deepEqual(ticks.splice(0), [`${start} 0`]);
    isBroken = false;
    await made.time.elapse(2 * TICK_MS);
    assert.deepEqual(ticks, [`${start + TICK_MS + SECOND} 1`, `${start + 2 * TICK_MS} 0`]);
    isBroken = true;
    await made.update(1, 2);
    await made.time.elapse(SECOND);
    [isBroken, isLong] = [false, true];
    await made.time.elapse(2 * TICK_MS);
    assert.deepEqual(ticks.slice(2), [`${start + 4 * TICK_MS} 0`, `${start + 4 * TICK_MS} 0`]);
    await made.close();
  });
});

describe("app.tick()", () => {
  it("waits for the work that is due, and no longer than `budgetMs`", async () => {
    const made = crowd({ tickEveryMs: false });
    let isBroken = true;
    made.app.upgrade("3", async ({ memberId }) => {
      if (isBroken) throw new RetryAfterError(1);
      await made.takes(numberOf(memberId) === 0 ? HOUR / 2 : 5 * SECOND);
    });
    await made.install(2);
    await made.update(0, 2);
    await made.time.elapse(SECOND);
    isBroken = false;
    const start = made.time.now();
    let ended: string | undefined;
    void made.app.tick({ budgetMs: 20 * SECOND }).then(({ handled }) =>
      ended = `${made.time.now() - start} ${handled}`
    );
    await made.time.elapse(MINUTE);
    assert.equal(ended, `${20 * SECOND} 1`);
    // The work that it has started goes on.
    await made.time.elapse(HOUR);
    assert.deepEqual(await upgraded(made, 2), [0, 1]);
    await made.close();
  });

  it("starts no portal after `budgetMs`", async () => {
    const made = crowd({ tickEveryMs: false, concurrency: 1 });
    let isBroken = true;
    made.app.upgrade("3", async () => {
      if (isBroken) throw new RetryAfterError(1);
      await made.takes(15 * SECOND);
    });
    await made.install(5);
    await made.update(0, 5);
    await made.time.elapse(SECOND);
    isBroken = false;
    const tick = made.app.tick({ budgetMs: 20 * SECOND, concurrency: 1 });
    await made.time.elapse(5 * MINUTE);
    assert.deepEqual([await tick, (await upgraded(made, 5)).length], [{ handled: 1, failed: 0 }, 2]);
    await made.close();
  });
});
