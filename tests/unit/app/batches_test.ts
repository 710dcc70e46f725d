import assert from "node:assert/strict";
import { type App, type Batch, createApp, memoryStorage, type NewBatch, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { openBatchKey, portalKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { MEMBER_ID, OTHER_MEMBER_ID, quietLogger, rig, trustAll } from "../../support/app.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

function parked(memberId: string): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId, domain: "x.bitrix24.de", status: "installed", generation: 1, applied: [] },
    ...{ installedTs: 1, latestTs: 1, initialVersion: "2.0.0", version: "2.0.0", target: "3.0.0" },
    failure: { upgradeId: "3", to: "3.0.0", message: "no", fingerprint: "f00d", attempts: 3, at: 1 },
  };
}

const ids = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i).padStart(32, "0"));

async function filled(count: number): Promise<Storage> {
  const storage = memoryStorage();
  for (const id of ids(count)) await writeRecord(storage, id, () => ({ record: parked(id) }));
  return storage;
}

function appOf(storage: Storage, onUpgrade: (memberId: string) => void = () => {}, clock = Date.now): App {
  return createApp({ storage, clock, logger: quietLogger, checks: false, tickEveryMs: false })
    .use(trustAll)
    .upgrade("3", ({ memberId }) => onUpgrade(memberId));
}

const RETRY = { action: "retry", match: { status: "parked", fingerprint: "f00d" }, ...OPERATOR } as const;

const BAD: readonly (readonly [object, RegExp])[] = [
  [{ ...RETRY, expect: -1 }, /with expect -1, wanted a whole number from 0/],
  [{ ...RETRY }, /with expect undefined/],
  [{ ...RETRY, expect: 1, match: {} }, /with match that matches all portals, wanted at least one member/],
  [{ ...RETRY, expect: 1, match: { version: undefined } }, /with match that matches all portals/],
  [{ ...RETRY, expect: 1, match: { state: "parked" } }, /the option match\.state that does not exist, wanted status/],
  [{ ...RETRY, expect: 1, action: "delete" }, /with action "delete", wanted "retry" or "skip" or "rollback" or/],
  [{ ...RETRY, expect: 1, action: "skip" }, /with upgradeId undefined, wanted a value: action is "skip"/],
  [{ ...RETRY, expect: 1, action: "setTarget" }, /with version undefined, wanted a value/],
  [{ ...RETRY, expect: 1, version: "3" }, /with version "3", wanted none: action is "retry"/],
  [{ ...RETRY, expect: 1, by: "" }, /with by ""/],
];

describe("admin.batches", () => {
  it("act on all portals that match, once each, and say who did it", async () => {
    const storage = await filled(120);
    await writeRecord(storage, "f".repeat(32), () => ({ record: { ...parked("f".repeat(32)), failure: undefined! } }));
    const upgraded: string[] = [];
    const app = appOf(storage, (memberId) => void upgraded.push(memberId));
    await app.start();
    assert.equal(await app.admin.batches.count(RETRY.match), 120);
    await assert.rejects(app.admin.batches.count({}), /cannot count portals with match that matches all portals/);
    const { id, matched } = await app.admin.batches.start({ ...RETRY, expect: 120 });
    assert.equal(matched, 120);
    await app.settled();
    await until("all portals are upgraded", () => upgraded.length === 120);
    assert.deepEqual(upgraded.toSorted(), ids(120));
    const [batch] = await app.admin.batches.list();
    assert.deepEqual(
      [batch!.id, batch!.state, batch!.matched, batch!.done, batch!.refused, batch!.changed, batch!.by],
      [id, "finished", 120, 120, 0, 0, "ada"],
    );
    const { items } = await app.admin.audit({ limit: 200 });
    assert.equal(items.filter(({ action, batchId }) => action === "retry" && batchId === id).length, 120);
    assert.deepEqual(items.filter(({ action }) => action === "batch").map(({ outcome }) => outcome), ["done"]);
    await app.close();
  });

  it("start nothing if more portals match than were expected", async () => {
    const app = appOf(await filled(3));
    assert.deepEqual(await app.admin.batches.start({ ...RETRY, expect: 2 }), { matched: 3 });
    assert.deepEqual(await app.admin.batches.list(), []);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.outcome, entry?.error], ["refused", {
      message: "portals that match: 3, wanted at most 2",
    }]);
    await app.close();
  });

  it("skip upgrades and set targets, and count refusals", async () => {
    const app = appOf(await filled(3));
    const match = { upgradeId: "3" };
    await app.admin.batches.start({ action: "skip", upgradeId: "9", match, expect: 3, ...OPERATOR });
    await app.settled();
    await app.admin.batches.start({ action: "setTarget", version: "2.0.0", match, expect: 3, ...OPERATOR });
    await app.settled();
    const batches = await app.admin.batches.list();
    assert.deepEqual(batches.map(({ action, done, refused }) => [action, done, refused]), [
      ["setTarget", 3, 0],
      ["skip", 0, 3],
    ]);
    assert.deepEqual((await app.admin.portals({ status: "current" })).items.length, 3);
    await app.close();
  });

  it("let an unfinished rollback stand", async () => {
    const storage = await filled(1);
    const [memberId] = ids(1) as [string];
    const run = { id: "1", from: "2.0.0", startedAt: 1, upgrades: ["3"], isRollingBack: true } as const;
    await writeRecord(storage, memberId, () => ({ record: { ...parked(memberId), run } }));
    const app = appOf(storage, () => assert.fail("the run was continued"));
    await app.start();
    const batches = [
      { action: "retry" },
      { action: "setTarget", version: "4" },
      { action: "skip", upgradeId: "3" },
    ] as const;
    for (const batch of batches) {
      await app.admin.batches.start({ ...batch, match: { status: "parked" }, expect: 1, ...OPERATOR });
      await app.settled();
      await until("it has ended", async () => (await app.admin.batches.list()).every(({ endedAt }) => endedAt));
    }
    const counts = (await app.admin.batches.list()).map(({ action, done, refused }) => [action, done, refused]);
    assert.deepEqual(counts.toSorted(), [["retry", 0, 1], ["setTarget", 1, 0], ["skip", 1, 0]]);
    await app.tick();
    assert.equal((await app.portal(memberId))?.version, "2.0.0");
    assert.deepEqual((await app.admin.portals({ status: "parked" })).items.length, 1);
    await app.close();
  });

  it("go on in another process after every crash, and act on each portal once", async () => {
    const baseline = await filled(60);
    const count = (await operationsOf(baseline)).length;
    assert.ok(count > 60, `${count} operations`);
    for (let crashAt = 1; crashAt <= count; crashAt += 7) {
      const storage = await filled(60);
      await operationsOf(storage, crashAt);
      // The process that has ended owned the batch operation for a minute.
      const app = appOf(storage, () => {}, () => Date.now() + 120_000);
      await app.tick();
      await app.settled();
      const [batch] = await app.admin.batches.list();
      if (batch === undefined) continue; // It was not stored.
      assert.deepEqual([batch.state, batch.done, batch.changed], ["finished", 60, 0], `crash at ${crashAt}`);
      const { items } = await app.admin.audit({ action: "retry", limit: 200 });
      assert.deepEqual(items.map(({ memberId }) => memberId).toSorted(), ids(60), `crash at ${crashAt}`);
      await app.close();
    }
  });

  it("roll portals back, once each, also after a crash in the middle of a rollback", async () => {
    const { app, send, portal, bitrix24 } = rig();
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.de" });
    const undone: string[] = [];
    let isDown = true;
    app.upgrade("3", async ({ memberId, step }) => {
      await step("one", () => 1, {
        undo: () => {
          undone.push(memberId);
          if (isDown && memberId === MEMBER_ID) throw new StorageError("the process has ended");
        },
      });
    });
    for (const one of [portal, other]) {
      await send(one.install(2));
      await send(one.update(3));
    }
    await app.settled();
    const match = { version: "3.0.0" };
    await app.admin.batches.start({ action: "rollback", match, expect: 2, ...OPERATOR });
    await until("it is interrupted", () => undone.includes(MEMBER_ID));
    isDown = false;
    await until("it is over", async () => {
      await app.tick();
      return (await app.admin.batches.list())[0]?.state === "finished";
    });
    const [batch] = await app.admin.batches.list();
    assert.deepEqual([batch!.done, batch!.refused, batch!.changed], [2, 0, 0]);
    assert.deepEqual(undone.filter((memberId) => memberId === OTHER_MEMBER_ID), [OTHER_MEMBER_ID]);
    for (const memberId of [MEMBER_ID, OTHER_MEMBER_ID]) {
      const { version, failure } = (await app.portal(memberId))!;
      assert.deepEqual([version, failure?.message], ["2.0.0", "rolled back"]);
    }
    await app.close();
  });

  it("do not wait for one that only newer code can go on with", async () => {
    const storage = await filled(3);
    const app = appOf(storage);
    await storage.put(openBatchKey("0"), { format: 2 });
    await app.admin.batches.start({ ...RETRY, expect: 3 });
    await app.settled();
    await storage.delete(openBatchKey("0"));
    assert.deepEqual((await app.admin.batches.list()).map(({ state, done }) => [state, done]), [["finished", 3]]);
    await app.close();
  });

  it("show a rollback as done that another process has taken over", async () => {
    const storage = memoryStorage();
    let ahead = 0;
    const begun = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const [slow, other] = [() => gate.promise, () => {}].map((undo) => {
      const made = rig({ storage, clock: () => Date.now() + ahead });
      made.app.upgrade("3", async ({ step }) => {
        await step("one", () => 1, {
          undo: async () => {
            begun.resolve();
            await undo();
          },
        });
      });
      return made;
    });
    await slow!.send(slow!.portal.install(2));
    await slow!.send(slow!.portal.update(3));
    await slow!.app.admin.batches.start({ action: "rollback", match: { version: "3.0.0" }, expect: 1, ...OPERATOR });
    await begun.promise;
    ahead = 61_000;
    await other!.app.tick();
    gate.resolve();
    await slow!.app.settled();
    const { items: [entry] } = await slow!.app.admin.audit({ action: "rollback" });
    assert.deepEqual([entry!.outcome, (await slow!.app.portal(MEMBER_ID))?.version], ["done", "2.0.0"]);
    await Promise.all([slow!.app.close(), other!.app.close()]);
  });

  it("log no token that an undo throws", async () => {
    const { app, send, portal, lines } = rig();
    let token = "";
    app.upgrade("3", async ({ step }) => {
      await step("one", () => 1, {
        undo: async () => {
          const { accessToken } = await app.credentials.get(MEMBER_ID);
          token = accessToken.reveal();
          throw new Error(`refused ${token}`);
        },
      });
    });
    await send(portal.install(2));
    await send(portal.update(3));
    await app.admin.batches.start({ action: "rollback", match: { version: "3.0.0" }, expect: 1, ...OPERATOR });
    await app.settled();
    const [refused] = lines.filter((line) => line.includes("batch.refused"));
    assert.match(refused!, /refused \[redacted\]/);
    assert.equal(lines.some((line) => line.includes(token)), false);
    await app.close();
  });

  it("end when they are stopped", async () => {
    const storage = await filled(120);
    const app = appOf(storage);
    const { id } = await app.admin.batches.start({ ...RETRY, expect: 120 });
    await app.admin.batches.stop(id!, { by: "bob", reason: "wrong ones" });
    await app.tick();
    const [batch] = await app.admin.batches.list();
    assert.deepEqual([batch!.state, batch!.done], ["stopped", 0]);
    assert.equal((await app.admin.portals({ status: "parked", limit: 1000 })).items.length, 120);
    // Over, or unknown.
    await app.admin.batches.stop(id!, OPERATOR);
    await assert.rejects(app.admin.batches.stop("mistyped", OPERATOR), { code: "unknown_batch" });
    assert.equal((await app.admin.audit({ limit: 1 })).items[0]?.outcome, "refused");
    await app.close();
  });

  it("count portals that no longer match before their page is read", async () => {
    const storage = await filled(3);
    const app = appOf(storage);
    await app.admin.batches.start({ ...RETRY, expect: 3 });
    const [first] = ids(1) as [string];
    await writeRecord(storage, first, (record) => ({ record: { ...record!, version: "3.0.0", target: "3.0.0" } }));
    await app.settled();
    const [batch] = await app.admin.batches.list();
    assert.deepEqual([batch!.state, batch!.done, batch!.changed], ["finished", 2, 1]);
    await app.close();
  });

  it("count what was done when they are stopped in the middle of a page", async () => {
    const { app, send, portal } = rig();
    const [begun, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    app.upgrade("3", async ({ step }) => {
      await step("one", () => 1, {
        undo: async () => {
          begun.resolve();
          await gate.promise;
        },
      });
    });
    await send(portal.install(2));
    await send(portal.update(3));
    const match = { version: "3.0.0" };
    const { id } = await app.admin.batches.start({ action: "rollback", match, expect: 1, ...OPERATOR });
    await begun.promise;
    await app.admin.batches.stop(id!, OPERATOR);
    const [stopping] = await app.admin.batches.list();
    assert.deepEqual([stopping!.state, stopping!.done, stopping!.endedAt], ["stopped", 0, undefined]);
    // Again, while it ends.
    await app.admin.batches.stop(id!, OPERATOR);
    gate.resolve();
    await app.settled();
    const [batch] = await app.admin.batches.list();
    assert.deepEqual([batch!.state, batch!.done, typeof batch!.endedAt], ["stopped", 1, "number"]);
    await app.close();
  });

  it("act on no further portal when they are stopped after a crash in the middle of a page, and count those before it", async () => {
    const storage = await filled(60);
    const count = (await operationsOf(await filled(60))).length;
    await operationsOf(storage, Math.floor(count / 2));
    const app = appOf(storage, () => {}, () => Date.now() + 120_000);
    const { id } = (await app.admin.batches.list())[0]!;
    await app.admin.batches.stop(id, OPERATOR);
    await app.settled();
    const [batch] = await app.admin.batches.list();
    const records = await Array.fromAsync(storage.list<PortalRecord>(["portal"]), ({ value }) => value);
    const marked = records.filter(({ batches }) => batches?.includes(id)).length;
    assert.deepEqual([batch!.state, batch!.done, batch!.endedAt !== undefined], ["stopped", marked, true]);
    assert(marked > 0 && marked < 60, `${marked} are done`);
    await app.close();
  });

  /** A portal that another process works on, and a batch operation that is to roll it back. */
  interface BusyRollback {
    readonly app: App;
    readonly batch: () => Promise<Batch>;
    /** Ends the work of the other process. */
    readonly release: () => Promise<void>;
    /** Lets half a minute pass, and a tick. */
    readonly next: () => Promise<void>;
  }

  async function busyRollback(): Promise<BusyRollback> {
    const storage = memoryStorage();
    let ahead = 0;
    const { app, send, portal } = rig({ storage, clock: () => Date.now() + ahead });
    app.upgrade("3", async ({ step }) => void await step("one", () => 1, { undo: () => {} }));
    await send(portal.install(2));
    await send(portal.update(3));
    await app.settled();
    const leased = async (lease: PortalRecord["lease"]): Promise<void> =>
      void await writeRecord(storage, MEMBER_ID, (record) => ({ record: { ...record!, ...(lease && { lease }) } }));
    await leased({ owner: "another process", until: Date.now() + 3_600_000 });
    const match = { version: "3.0.0" };
    await app.admin.batches.start({ action: "rollback", match, expect: 1, ...OPERATOR });
    const batch = async (): Promise<Batch> => (await app.admin.batches.list())[0]!;
    await until("the portal is busy", async () => (await batch()).busy === 1);
    return {
      ...{ app, batch },
      release: () => leased({ owner: "another process", until: 0 }),
      next: async () => {
        ahead += 30_000;
        await app.tick();
      },
    };
  }

  it("roll back a portal later that a worker is processing", async () => {
    const { app, batch, release, next } = await busyRollback();
    await next();
    assert.deepEqual([(await batch()).state, (await batch()).refused], ["running", 0]);
    await release();
    await until("it is over", async () => {
      await next();
      return (await batch()).state === "finished";
    });
    const { done, refused, changed, busy } = await batch();
    assert.deepEqual([done, refused, changed, busy], [1, 0, 0, undefined]);
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
    assert.deepEqual((await app.admin.audit({ action: "rollback" })).items.map(({ outcome }) => outcome), ["done"]);
    await app.close();
  });

  it("refuse a portal in the end that is busy each time", async () => {
    const { app, batch, next } = await busyRollback();
    let rounds = 0;
    await until("it is over", async () => {
      rounds++;
      await next();
      return (await batch()).state === "finished";
    }, 1);
    const { done, refused } = await batch();
    assert.deepEqual([done, refused], [0, 1]);
    assert(rounds >= 19, `it was tried again ${rounds} times`);
    await app.close();
  });

  it("refuse portals whose records newer code wrote, and go on", async () => {
    const storage = await filled(3);
    const [, newer] = ids(2) as [string, string];
    const { value } = (await storage.get<PortalRecord>(["portal", newer]))!;
    await storage.put(["portal", newer], { ...value, format: PORTAL_FORMAT + 1 });
    const app = appOf(storage);
    assert.equal((await app.admin.batches.start({ ...RETRY, expect: 3 })).matched, 3);
    await app.settled();
    const [batch] = await app.admin.batches.list();
    assert.deepEqual([batch!.state, batch!.done, batch!.refused], ["finished", 2, 1]);
    await app.close();
  });

  it("refuse portals whose encryption key is gone, and go on", async () => {
    const inner = await filled(3);
    const app = appOf(await withoutKeyOf(inner, [portalKey(ids(2)[1]!)]));
    assert.equal((await app.admin.batches.start({ ...RETRY, expect: 3 })).matched, 3);
    await app.settled();
    const [batch] = await app.admin.batches.list();
    assert.deepEqual([batch!.state, batch!.done, batch!.refused], ["finished", 2, 1]);
    await app.close();
  });

  for (const [batch, message] of BAD) {
    it(`refuse ${message.source.slice(0, 60)}`, async () => {
      const app = appOf(memoryStorage());
      await assert.rejects(app.admin.batches.start(batch as NewBatch), { name: "TypeError", message });
      assert.deepEqual(await app.admin.batches.list(), []);
      await app.close();
    });
  }
});

/** Runs a batch operation in a process that ends at an operation, and returns the operations until then. */
async function operationsOf(storage: Storage, crashAt = Infinity): Promise<string[]> {
  const operations: string[] = [];
  const counted = <T>(name: string, call: () => Promise<T>): Promise<T> => {
    operations.push(name);
    return operations.length >= crashAt ? Promise.reject(new StorageError("the process has ended")) : call();
  };
  const app = appOf({
    ...storage,
    put: (key, ...rest) => counted(`put ${key[0]}`, () => storage.put(key, ...rest)),
    delete: (key, ...rest) => counted(`delete ${key[0]}`, () => storage.delete(key, ...rest)),
    write: (...args) => counted("write", () => storage.write!(...args)),
    close: () => Promise.resolve(),
  });
  await app.start();
  await app.admin.batches.start({ ...RETRY, expect: 60 }).catch(() => {});
  // It has begun then: nothing waits for more than a promise.
  await new Promise((resolve) => setTimeout(resolve));
  await app.close();
  if (crashAt === Infinity) return operations;
  return operations.slice(0, crashAt);
}
