import assert from "node:assert/strict";
import { memoryStorage, NonRetriableError, type Storage } from "@b24/onappupdate";
import { codeAt, inOrderOf, memberIds, storeInstalled, tickOut, versionsOf } from "../../support/rollout.ts";
import { indexKey, portalKey } from "../../../src/portal/keys.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { OPERATOR } from "../../support/operator.ts";
import { movableClock } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const DAY = 24 * 60 * 60 * 1000;
const IDS = memberIds(100);
const STAGES = [{ portals: 5 }, { percent: 20, forMs: DAY }, { percent: 100 }];

async function installed(): Promise<Storage> {
  const storage = memoryStorage();
  await storeInstalled(storage, IDS, "1.0.0");
  return storage;
}

/** Returns the storage with all keys of puts and deletes recorded. */
function watched(storage: Storage): { readonly storage: Storage; readonly touched: Set<string> } {
  const touched = new Set<string>();
  return {
    touched,
    storage: {
      ...storage,
      put: (key, ...rest) => (touched.add(key.join("/")), storage.put(key, ...rest)),
      delete: (key, ...rest) => (touched.add(key.join("/")), storage.delete(key, ...rest)),
      write: (operations, ...rest) => {
        for (const one of operations) touched.add(("put" in one ? one.put : one.delete).join("/"));
        return storage.write!(operations, ...rest);
      },
    },
  };
}

describe("a rollout of a deployed version", () => {
  it("reaches portals in stages, the lowest hashes first", async () => {
    const storage = await installed();
    let now = Date.now();
    const { app, begun } = codeAt("2.0.0", { storage, rollout: { stages: STAGES }, clock: () => now });
    const by = { by: "ada", reason: "looks good" };
    await tickOut(app);
    const order = inOrderOf("2.0.0", IDS);
    assert.deepEqual(begun.sort(), order.slice(0, 5).sort());
    assert.equal((await app.admin.rollout.status())?.waitsFor?.on, "promote");
    await app.admin.rollout.promote("2.0.0", by);
    await tickOut(app);
    const second = begun.length;
    assert(second >= 10 && second <= 35, `${second} portals`);
    assert.deepEqual([...begun].sort(), order.slice(0, second).sort());
    now += DAY - 1000;
    await tickOut(app);
    assert.equal(begun.length, second);
    now += 2000;
    await tickOut(app);
    assert.equal(begun.length, 100);
    assert.deepEqual(await versionsOf(storage, IDS), { "2.0.0": 100 });
    assert.equal((await app.admin.rollout.status())?.state, "finished");
    await app.close();
  });

  it("leaves a portal alone that newer code wrote, and goes on with the others", async () => {
    const storage = await installed();
    const newer = { format: 1000 };
    await storage.put(portalKey(IDS[7]!), newer);
    for (const state of ["upgrading", "parked"]) await storage.put(indexKey("state", state, IDS[7]!), {});
    await storage.put(indexKey("blocked", "rollout", IDS[7]!), {});
    const { app, begun } = codeAt("2.0.0", { storage, rollout: { stages: [{ portals: 5 }, { percent: 100 }] } });
    await tickOut(app);
    assert.equal(begun.length, 5);
    await app.admin.rollout.promote("2.0.0", OPERATOR);
    await tickOut(app);
    assert.equal(begun.length, 99);
    assert.deepEqual((await storage.get(portalKey(IDS[7]!)))?.value, newer);
    await app.close();
  });

  it("goes on with the others after a portal whose encryption key is gone", async () => {
    const inner = await installed();
    const storage = await withoutKeyOf(inner, [portalKey(IDS[7]!), indexKey("state", "current", IDS[7]!)]);
    const { app, begun } = codeAt("2.0.0", { storage, rollout: { stages: [{ portals: 5 }, { percent: 100 }] } });
    await tickOut(app);
    await app.admin.rollout.promote("2.0.0", OPERATOR);
    await tickOut(app);
    assert.equal(begun.length, 99);
    await app.close();
  });

  it("does not write portals that it holds", async () => {
    const inner = await installed();
    const { storage, touched } = watched(inner);
    const { app, begun } = codeAt("2.0.0", { storage, rollout: { stages: STAGES } });
    await tickOut(app);
    const held = IDS.filter((id) => !begun.includes(id));
    assert.equal(held.length, 95);
    assert.deepEqual([...touched].filter((key) => held.some((id) => key.includes(id))), []);
    await app.close();
  });

  it("pauses at the third failed portal, and touches no other", async () => {
    const inner = await installed();
    const { storage, touched } = watched(inner);
    const fail = (): never => {
      throw new NonRetriableError("no");
    };
    const { app, begun } = codeAt("2.0.0", { storage, rollout: { stages: STAGES }, upgrade: fail });
    for (let i = 0; i < 5; i++) await app.tick();
    assert.equal(begun.length, 3);
    const others = IDS.filter((id) => !begun.includes(id));
    assert.deepEqual([...touched].filter((key) => others.some((id) => key.includes(id))), []);
    const status = (await app.admin.rollout.status())!;
    assert.equal(status.waitsFor?.on, "failures");
    assert.deepEqual(status.failures.map(({ count, message, upgradeId }) => [count, message, upgradeId]), [
      [3, "no", "2.0.0"],
    ]);
    await app.close();
  });

  it("goes on after a resume, with the parked portals if that is said", async () => {
    const storage = await installed();
    let isBroken = true;
    const upgrade = (): void => {
      if (isBroken) throw new NonRetriableError("no");
    };
    const { app } = codeAt("2.0.0", { storage, rollout: { stages: [{ percent: 100 }] }, upgrade });
    await tickOut(app);
    isBroken = false;
    await app.admin.rollout.resume("2.0.0", { by: "ada", reason: "repaired", retryParked: true });
    await app.settled();
    await tickOut(app);
    assert.deepEqual(await versionsOf(storage, IDS), { "2.0.0": 100 });
    await app.close();
  });

  it("lets a lower version take effect after abort", async () => {
    const storage = await installed();
    const upgrade = (): never => {
      throw new NonRetriableError("no");
    };
    const bad = codeAt("2.0.0", { storage, rollout: { stages: [{ percent: 100 }] }, upgrade });
    await tickOut(bad.app);
    const newer = { format: 1000 };
    const left = IDS.find((id) => !bad.begun.includes(id))!;
    await storage.put(portalKey(left), newer);
    await storage.put(indexKey("state", "upgrading", left), {});
    await bad.app.admin.rollout.abort("2.0.0", { by: "ada", reason: "wrong prices" });
    for (const memberId of [...bad.begun]) {
      await bad.app.admin.rollback(memberId, { by: "ada", reason: "wrong prices" });
    }
    await tickOut(bad.app);
    await bad.app.close();
    const fixed = codeAt("1.9.1", { storage, rollout: { stages: [{ percent: 100 }] } });
    await tickOut(fixed.app);
    assert.deepEqual(await versionsOf(storage, IDS.filter((id) => id !== left)), { "1.9.1": 99 });
    assert.deepEqual((await storage.get(portalKey(left)))?.value, newer);
    await fixed.app.close();
  });

  it("leaves no portal behind that another process takes, which has not seen yet that it is no longer held", async () => {
    const storage = await installed();
    const rollout = { hold: IDS.slice(0, 20) };
    const other = codeAt("2.0.0", { storage, rollout });
    let isReleased = false;
    const upgrade = async (): Promise<void> => {
      if (!isReleased) return;
      isReleased = false;
      await other.app.tick();
    };
    const { app } = codeAt("2.0.0", { storage, rollout, upgrade, concurrency: 1 });
    await tickOut(app);
    // It relies on what it reads now for a second.
    await other.app.tick();
    await app.admin.rollout.set("2.0.0", { hold: [] }, OPERATOR);
    isReleased = true;
    await until("the rollout is finished", async () => {
      await app.tick({ limit: 10_000 });
      return (await app.admin.rollout.status())?.state === "finished";
    });
    assert.equal(isReleased, false);
    assert.deepEqual(await versionsOf(storage, IDS), { "2.0.0": 100 });
    await app.close();
    await other.app.close();
  });

  it("leaves the rollout of a lower version alone after abort, while code of the aborted one is still running", async () => {
    const storage = await installed();
    const rollout = { stages: [{ portals: 5 }, { percent: 100 }] };
    const bad = codeAt("2.0.0", { storage, rollout });
    await tickOut(bad.app);
    await bad.app.admin.rollout.abort("2.0.0", OPERATOR);
    const fixed = codeAt("1.9.1", { storage, rollout });
    await tickOut(fixed.app);
    const other = codeAt("2.0.0", { storage, rollout });
    await tickOut(other.app);
    assert.equal((await fixed.app.admin.rollout.status("1.9.1"))?.state, "running");
    await fixed.app.admin.rollout.promote("1.9.1", OPERATOR);
    await tickOut(fixed.app);
    assert.deepEqual(await versionsOf(storage, IDS), { "1.9.1": 95, "2.0.0": 5 });
    for (const { app } of [bad, fixed, other]) await app.close();
  });

  it("lets a lower version take effect after abort, if an earlier rollout was above it, too", async () => {
    const storage = await installed();
    const rollout = { stages: [{ portals: 5 }, { percent: 100 }] };
    const first = codeAt("2.0.0", { storage, rollout });
    await tickOut(first.app);
    const second = codeAt("2.1.0", { storage, rollout });
    await tickOut(second.app);
    assert.equal((await second.app.admin.rollout.status("2.0.0"))?.state, "superseded");
    await second.app.admin.rollout.abort("2.1.0", OPERATOR);
    const again = codeAt("2.0.0", { storage, rollout });
    const { blocked } = (await again.app.portal(inOrderOf("2.1.0", IDS).at(-1)!))!;
    assert.equal(blocked?.message, "the rollout of 2.0.0 was superseded by that of a higher version");
    await again.app.close();
    const shown = async ({ app }: typeof first): Promise<readonly (string | undefined)[]> => {
      const status = await app.admin.rollout.status();
      return [status?.target, status?.state];
    };
    assert.deepEqual(await shown(second), ["2.0.0", "superseded"]);
    const fixed = codeAt("1.9.1", { storage, rollout });
    await tickOut(fixed.app);
    assert.deepEqual(await shown(fixed), ["1.9.1", "running"]);
    await fixed.app.admin.rollout.promote("1.9.1", OPERATOR);
    await tickOut(fixed.app);
    assert.deepEqual(await shown(fixed), ["1.9.1", "finished"]);
    const other = codeAt("2.0.0", { storage, rollout });
    await tickOut(other.app);
    assert.equal((await fixed.app.admin.rollout.status("1.9.1"))?.state, "finished");
    assert.equal((await versionsOf(storage, IDS))["1.0.0"], undefined);
    for (const { app } of [first, second, fixed, other]) await app.close();
  });

  it("does not retry what failed while it is paused", async () => {
    const storage = await installed();
    const { clock, later } = movableClock();
    const upgrade = (): never => {
      throw new Error("no");
    };
    const rollout = { stages: [{ percent: 100 }] };
    const { app, begun } = codeAt("2.0.0", { storage, rollout, upgrade, clock });
    for (let i = 0; i < 10; i++) {
      await app.tick();
      later();
    }
    assert.deepEqual([new Set(begun).size, begun.length], [3, 6]);
    await app.close();
  });

  it("finishes at once if all portals are on the version", async () => {
    const storage = await installed();
    const { app, begun } = codeAt("1.0.0", { storage, rollout: { stages: STAGES } });
    await tickOut(app);
    await app.tick();
    assert.deepEqual([begun, (await app.admin.rollout.status())?.state], [[], "finished"]);
    await app.close();
  });
});
