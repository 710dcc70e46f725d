import assert from "node:assert/strict";
import {
  type App,
  B24Error,
  createApp,
  memoryStorage,
  NonRetriableError,
  type Observers,
  type PluginHost,
  type Storage,
} from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { listDue } from "../../../src/portal/schedule.ts";
import { CLIENT_ID, MEMBER_ID, movableClock, post, recordingLogger, trustAll } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { installPortal, scene } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, virtualTime } from "../../support/time.ts";
import { createTold, type Told } from "../../support/told.ts";

const blocked = (): Error =>
  new B24Error({ code: "PAYMENT_REQUIRED", description: "", status: 402, method: "profile" });

/** A portal that is processed by one process after another. */
interface Setup {
  readonly told: Told;
  readonly memory: Storage;
  /** The same storage; what is stored through it is noted. */
  readonly watched: Storage;
  readonly portal: FakePortal;
  /** The work of the upgrades. */
  readonly behavior: { upgrade: () => void };
  /** Starts a process. Without observers, it notes what it is told. */
  readonly start: (observe?: Partial<Observers>, storage?: Storage) => {
    readonly app: App;
    readonly send: (body: string) => Promise<number>;
    readonly lines: string[];
  };
  readonly record: () => Promise<PortalRecord>;
  /** Lets a few hours pass. */
  readonly later: () => void;
}

function setUp(): Setup {
  const told = createTold();
  const memory = memoryStorage();
  const watched = told.watch(memory);
  const clock = movableClock();
  const portal = fakeBitrix24({ clientId: CLIENT_ID }).portal({ memberId: MEMBER_ID });
  const behavior = { upgrade: () => {} };
  const start: Setup["start"] = (observe, storage = watched) => {
    const { logger, lines } = recordingLogger();
    const app = createApp({
      ...{ storage, logger, acknowledge: "handled", clock: clock.clock, tickEveryMs: false },
      ...{ checks: false, retry: { maxAttempts: 2 } },
    }).use(trustAll).use(observe === undefined ? told.plugin() : { name: "observer", observe })
      .upgrade("2", () => behavior.upgrade());
    const send = async (body: string): Promise<number> => (await app.fetch(post(body))).status;
    return { app, send, lines };
  };
  const record = async (): Promise<PortalRecord> => (await memory.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
  return { told, memory, watched, portal, behavior, start, record, later: clock.later };
}

describe("the worker tells what is stored in a portal's record", () => {
  it("of each change of its state, once, and leaves nothing behind", async () => {
    const made = setUp();
    const { told, portal, behavior } = made;
    const { app, send } = made.start();
    await send(portal.install(1));
    behavior.upgrade = () => {
      throw blocked();
    };
    await send(portal.update(2));
    made.later();
    await app.tick();
    behavior.upgrade = () => {
      throw new NonRetriableError("no");
    };
    made.later();
    await app.tick();
    behavior.upgrade = () => {};
    await app.admin.retry(MEMBER_ID, OPERATOR);
    await app.settled();
    await send(portal.uninstall());
    assert.deepEqual(told.changes, [
      ...["blocked on payment", "unblocked from payment", "parked 1.0.0 to 2.0.0: no", "resumed 1.0.0 to 2.0.0"],
      ...["upgraded 1.0.0 to 2.0.0", "removed from 2.0.0"],
    ]);
    told.assertAll();
    assert.equal(told.reports(), 6);
    assert.deepEqual([...told.ids.keys()], told.changes);
    assert.equal((await made.record()).reports, undefined);
    await app.close();
  });

  it("that somebody else has changed, at once if it runs, and after its start if it does not", async () => {
    const made = setUp();
    const { told, portal, behavior, start } = made;
    const first = start();
    await first.send(portal.install(1));
    behavior.upgrade = () => {
      throw new NonRetriableError("no");
    };
    await first.send(portal.update(2));
    await first.app.close();
    const operator = start();
    await operator.app.admin.setTarget(MEMBER_ID, "1", { by: "ada", reason: "withdrawn" });
    assert.deepEqual([told.changes.at(-1), told.ids.size], ["resumed 1.0.0 to 1.0.0", 1]);
    const second = start();
    await second.app.settled();
    told.assertAll();
    await Promise.all([operator.app.close(), second.app.close()]);
  });

  it("in order, and waits for each observer, also for one that throws", async () => {
    const made = setUp();
    const seen: string[] = [];
    const gate = Promise.withResolvers<void>();
    const { app, send, lines } = made.start({
      portalUpgraded: async () => {
        seen.push("upgraded");
        await gate.promise;
        seen.push("told");
        throw new Error("no chat");
      },
      eventHandled: ({ event }) => void (event.name === "ONAPPUPDATE" && seen.push("handled")),
    });
    await send(made.portal.install(1));
    const sent = send(made.portal.update(2));
    while (seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    gate.resolve();
    assert.equal(await sent, 200);
    assert.deepEqual(seen, ["upgraded", "told", "handled"]);
    assert.equal(lines.filter((line) => line.includes("observer.failed")).length, 1);
    assert.equal((await made.record()).reports, undefined);
    await app.close();
  });

  it("also what other code has stored while the worker holds the lease", async () => {
    const made = scene();
    const told = createTold();
    made.app.use(told.plugin()).on("ONCRMDEALADD", async () => {
      await assert.rejects(made.app.credentials.call(MEMBER_ID, () => Promise.reject(blocked())));
    });
    await installPortal(made);
    assert.equal(await made.send(made.portal.event("ONCRMDEALADD", { ID: "1" })), 200);
    await made.settled();
    assert.deepEqual([...told.ids.keys()], ["blocked on payment"]);
    const { reports, due, lease } = (await made.storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
    assert.deepEqual([reports, due, lease], [undefined, undefined, undefined]);
    await made.app.close();
  });

  it("also what a process has stored that works on no portal", async () => {
    const made = scene();
    const told = createTold();
    made.app.use(told.plugin());
    await installPortal(made);
    const other = scene({}, { storage: made.storage, clock: made.clock });
    other.app.use(createTold().plugin());
    await other.app.setUp();
    await assert.rejects(other.app.credentials.call(MEMBER_ID, () => Promise.reject(blocked())));
    assert.deepEqual([...told.ids.keys()], []);
    await made.app.tick();
    assert.deepEqual([...told.ids.keys()], ["blocked on payment"]);
    await Promise.all([made.app.close(), other.app.close()]);
  });

  it("to observers that act on the portal", async () => {
    const made = setUp();
    const { app, send } = made.start();
    let host: PluginHost;
    app.use({
      name: "retries",
      setup: (given) => void (host = given),
      observe: {
        portalParked: async ({ memberId }) => {
          made.behavior.upgrade = () => {};
          await host.admin.retry(memberId, OPERATOR);
        },
      },
    });
    await send(made.portal.install(1));
    made.behavior.upgrade = () => {
      throw new NonRetriableError("no");
    };
    await send(made.portal.update(2));
    await app.settled();
    assert.deepEqual(made.told.changes.slice(1), ["resumed 1.0.0 to 2.0.0", "upgraded 1.0.0 to 2.0.0"]);
    made.told.assertAll();
    await app.close();
  });

  const slow: Readonly<Record<string, (calls: number) => Promise<void>>> = {
    "for 10 seconds at most": () => new Promise(() => {}),
    "and again for one whose storage fails": (calls) =>
      calls === 3 ? Promise.resolve() : Promise.reject(new StorageError("no storage")),
    "and three times for one whose storage goes on failing": () => Promise.reject(new StorageError("no storage")),
  };
  for (const [what, observer] of Object.entries(slow)) {
    it(what, async () => {
      const time = virtualTime();
      const storage = memoryStorage({ clock: time.now });
      const portal = fakeBitrix24({ clientId: CLIENT_ID, clock: time.now }).portal({ memberId: MEMBER_ID });
      let calls = 0;
      const app = createApp({
        ...{ storage, logger: recordingLogger().logger, acknowledge: "handled", tickEveryMs: false, checks: false },
        ...simulated(time),
      }).use(trustAll).use({ name: "slow", observe: { portalUpgraded: () => observer(++calls) } });
      for (const body of [portal.install(1), portal.update(2)]) {
        const sent = app.fetch(post(body));
        await time.elapse(10_000);
        assert.equal((await sent).status, 200);
      }
      assert.equal(calls, what.startsWith("for") ? 1 : 3);
      const { value } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!;
      assert.deepEqual([value.version, value.reports, value.lease], ["2.0.0", undefined, undefined]);
      const closed = app.close();
      await time.elapse(10_000);
      await closed;
    });
  }

  it("and stores nothing for a change that no observer is told of", async () => {
    const made = setUp();
    const { app, send } = made.start({ portalUpgraded: () => {}, upgradeApplied: () => {} });
    await send(made.portal.install(1));
    made.behavior.upgrade = () => {
      throw new NonRetriableError("no");
    };
    await send(made.portal.update(2));
    assert.equal((await made.record()).failure?.message, "no");
    assert.deepEqual(await Array.fromAsync(listDue(made.memory, Infinity)), []);
    await app.close();
  });

  it("after a crash in the middle of an observer, with the same id, also if the portal is parked", async () => {
    const made = setUp();
    const { portal, behavior, watched } = made;
    const ids: string[] = [];
    let isDead = false;
    const storage: Storage = {
      ...watched,
      put: (...args) => isDead ? Promise.reject(new StorageError("dead")) : watched.put(...args),
      get: (...args) => isDead ? Promise.reject(new StorageError("dead")) : watched.get(...args),
    };
    const dying = made.start({
      portalParked: ({ id }) => {
        ids.push(id);
        isDead = true;
      },
    }, storage);
    await dying.send(portal.install(1));
    behavior.upgrade = () => {
      throw new NonRetriableError("no");
    };
    await dying.send(portal.update(2));
    assert.equal(ids.length, 1);
    made.later();
    const next = made.start({
      portalParked: ({ id, attempt, error, from, to, upgradeId }) => {
        ids.push(id);
        assert.deepEqual([attempt, from, to, upgradeId], [1, "1.0.0", "2.0.0", "2"]);
        assert.deepEqual([error.name, error.message, (error as { code?: string }).code], [
          ...["NonRetriableError", "no", "non_retriable"],
        ]);
      },
    });
    await next.app.tick();
    assert.deepEqual([ids.length, new Set(ids).size], [2, 1]);
    assert.deepEqual([(await made.record()).reports, (await made.record()).due], [undefined, undefined]);
    await Promise.all([dying.app.close(), next.app.close()]);
  });
});
