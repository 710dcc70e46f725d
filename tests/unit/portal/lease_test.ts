import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { acquireLease, LeaseLostError } from "../../../src/portal/lease.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

const MEMBER_ID = "a".repeat(32);
const KEY = portalKey(MEMBER_ID);
const RECORD: PortalRecord = {
  format: PORTAL_FORMAT,
  memberId: MEMBER_ID,
  domain: "x.bitrix24.de",
  status: "installed",
  generation: 1,
  applied: [],
  installedTs: 1,
  latestTs: 1,
};

async function stored(): Promise<Storage> {
  const storage = memoryStorage();
  await storage.put(KEY, RECORD);
  return storage;
}

/** A process with a clock that is off by `skew` milliseconds. */
function processOn(
  storage: Storage,
  time: { now: number },
  skew = 0,
): Parameters<typeof acquireLease>[0] {
  return {
    storage,
    clock: () => time.now + skew,
    time: virtualTime(),
    random: () => crypto.randomUUID(),
    leaseMs: 30_000,
  };
}

const recordOf = async (storage: Storage): Promise<PortalRecord> => (await storage.get<PortalRecord>(KEY))!.value;

describe("holdPortal()", () => {
  it("gives a portal to one of many that want it at once", async () => {
    const storage = await stored();
    const time = { now: 1_000_000 };
    const held = await Promise.all(
      Array.from({ length: 20 }, () => acquireLease(processOn(storage, time), MEMBER_ID)),
    );
    assert.equal(held.filter((one) => one !== undefined).length, 1);
    for (const one of held) one?.stop();
  });

  it("gives none that is not stored", async () => {
    assert.equal(await acquireLease(processOn(memoryStorage(), { now: 1 }), MEMBER_ID), undefined);
  });

  it("gives a portal again once it is released, with a higher fence", async () => {
    const storage = await stored();
    const time = { now: 1_000_000 };
    const first = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    assert.equal(await acquireLease(processOn(storage, time), MEMBER_ID), undefined);
    assert.equal(await first.release((record) => record), true);
    assert.equal((await recordOf(storage)).lease, undefined);
    const second = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    assert(second.fencingToken > first.fencingToken);
    await assert.rejects(first.update((record) => record), LeaseLostError);
    second.stop();
  });

  it("keeps a portal whose holder renews it by writing, and gives up one that is not renewed", async () => {
    const storage = await stored();
    const time = { now: 1_000_000 };
    const first = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    time.now += 29_000;
    await first.update((record) => record);
    time.now += 29_000;
    assert.equal(await acquireLease(processOn(storage, time), MEMBER_ID), undefined);
    time.now += 1000;
    const second = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    assert(second.fencingToken > first.fencingToken);
    first.stop();
    second.stop();
  });

  it("lets an old holder write nothing after a take-over, and tells it", async () => {
    const storage = await stored();
    const time = { now: 1_000_000 };
    const old = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    time.now += 30_000;
    const next = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    await next.update((record) => ({ ...record, version: "2.0.0" }));
    const before = await storage.get(KEY);
    await assert.rejects(old.update((record) => ({ ...record, version: "9.0.0" })), LeaseLostError);
    assert.equal(old.signal.aborted, true);
    assert(old.signal.reason instanceof LeaseLostError);
    await assert.rejects(old.release((record) => record), LeaseLostError);
    await assert.rejects(old.update((record) => record), LeaseLostError);
    assert.deepEqual(await storage.get(KEY), before);
    assert.equal(next.signal.aborted, false);
    old.stop();
    next.stop();
  });

  for (const skew of [-300_000, 300_000]) {
    it(`lets one of two write whose clocks are ${skew} ms apart`, async () => {
      const storage = await stored();
      const time = { now: 1_000_000 };
      const holder = (await acquireLease(processOn(storage, time, skew), MEMBER_ID))!;
      const other = await acquireLease(processOn(storage, time), MEMBER_ID);
      // A holder whose clock is behind is taken over early; one whose clock is ahead, late.
      assert.equal(other !== undefined, skew < 0);
      if (other === undefined) await holder.update((record) => ({ ...record, version: "2.0.0" }));
      else {
        await assert.rejects(holder.update((record) => ({ ...record, version: "2.0.0" })), LeaseLostError);
        await other.update((record) => ({ ...record, version: "3.0.0" }));
      }
      assert.equal((await recordOf(storage)).version, other === undefined ? "2.0.0" : "3.0.0");
      holder.stop();
      other?.stop();
    });
  }

  it("loses no change that another writer of the record makes meanwhile", async () => {
    const storage = await stored();
    const held = (await acquireLease(processOn(storage, { now: 1_000_000 }), MEMBER_ID))!;
    const { value, version } = (await storage.get<PortalRecord>(KEY))!;
    await storage.put(KEY, { ...value, target: "4.0.0" }, { ifVersion: version });
    await held.update((record) => ({ ...record, version: "2.0.0" }));
    const after = await recordOf(storage);
    assert.deepEqual([after.target, after.version], ["4.0.0", "2.0.0"]);
    held.stop();
  });

  it("keeps a portal that its last look at it does not give back", async () => {
    const storage = await stored();
    const held = (await acquireLease(processOn(storage, { now: 1_000_000 }), MEMBER_ID))!;
    assert.equal(await held.release(() => undefined), false);
    await held.update((record) => record);
    held.stop();
  });

  it("renews by itself, and is lost when the storage does not answer for as long as it lasts", async () => {
    const storage = await stored();
    const time = virtualTime();
    const on = (storage: Storage): Parameters<typeof acquireLease>[0] => ({
      ...processOn(storage, { now: 5 }),
      ...{ time, clock: time.now, leaseMs: 60 },
    });
    const begun = time.now();
    const kept = (await acquireLease(on(storage), MEMBER_ID))!;
    await time.elapse(90);
    assert.equal((await recordOf(storage)).lease?.until, begun + 80 + 60);
    assert.equal(kept.signal.aborted, false);
    kept.stop();
    await time.elapse(100);
    assert.equal((await recordOf(storage)).lease?.until, begun + 80 + 60, "a lease that is stopped is not renewed");

    const other = await stored();
    let isDown = false;
    const failing: Storage = {
      ...other,
      put: (...args) => isDown ? Promise.reject(new Error("down")) : other.put(...args),
    };
    const held = (await acquireLease(on(failing), MEMBER_ID))!;
    isDown = true;
    await time.elapse(60);
    assert.equal(held.signal.aborted, false);
    await time.elapse(20);
    assert.match(String(held.signal.reason), /could not be renewed in time/);
    held.stop();
  });

  it("is lost when the storage hangs for as long as it lasts", async () => {
    const storage = await stored();
    const time = virtualTime();
    let hangs = false;
    const hanging: Storage = {
      ...storage,
      put: (...args) => hangs ? new Promise(() => {}) : storage.put(...args),
    };
    const held = (await acquireLease({ ...processOn(hanging, { now: 5 }), time, leaseMs: 60 }, MEMBER_ID))!;
    hangs = true;
    await time.elapse(59);
    assert.equal(held.signal.aborted, false);
    await time.elapse(1);
    assert.match(String(held.signal.reason), /could not be renewed in time/);
    await assert.rejects(held.update((record) => record), LeaseLostError);
    held.stop();
  });
});
