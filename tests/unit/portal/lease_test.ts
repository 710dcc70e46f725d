import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { acquireLease } from "../../../src/portal/lease.ts";
import { LeaseLostError, RecordLostError } from "../../../src/portal/lease_lost.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import { MEMBER_ID as PORTAL_ID, quietLogger, rig } from "../../support/app.ts";
import { type Faults, faultyStorage } from "@b24/onappupdate/testing";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";
import { withoutWrite } from "../../support/without_write.ts";

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

/** Returns the options of a process whose clock is `skew` milliseconds off. */
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
    log: quietLogger,
  };
}

const recordOf = async (storage: Storage): Promise<PortalRecord> => (await storage.get<PortalRecord>(KEY))!.value;

describe("acquireLease()", () => {
  it("returns the lease to one of many concurrent callers", async () => {
    const storage = await stored();
    const time = { now: 1_000_000 };
    const leases = await Promise.all(
      Array.from({ length: 20 }, () => acquireLease(processOn(storage, time), MEMBER_ID)),
    );
    assert.equal(leases.filter((lease) => lease !== undefined).length, 1);
    for (const lease of leases) lease?.stop();
  });

  it("returns undefined for an unknown portal", async () => {
    assert.equal(await acquireLease(processOn(memoryStorage(), { now: 1 }), MEMBER_ID), undefined);
  });

  it("returns a released lease again, with a higher fencing token", async () => {
    const storage = await stored();
    const time = { now: 1_000_000 };
    const first = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    assert.equal(await acquireLease(processOn(storage, time), MEMBER_ID), undefined);
    assert.equal(await first.release((record) => ({ record })), true);
    assert.equal((await recordOf(storage)).lease, undefined);
    const second = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    assert(second.fencingToken > first.fencingToken);
    await assert.rejects(first.update((record) => record), LeaseLostError);
    second.stop();
  });

  it("does not return a lease that its holder renews by writing, and returns one that has expired", async () => {
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

  it("stops the former holder from writing, and aborts its signal", async () => {
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
    await assert.rejects(old.release((record) => ({ record })), LeaseLostError);
    await assert.rejects(old.update((record) => record), LeaseLostError);
    assert.deepEqual(await storage.get(KEY), before);
    assert.equal(next.signal.aborted, false);
    old.stop();
    next.stop();
  });

  for (const skew of [-300_000, 300_000]) {
    it(`lets one of two processes write whose clocks are ${skew} ms apart`, async () => {
      const storage = await stored();
      const time = { now: 1_000_000 };
      const holder = (await acquireLease(processOn(storage, time, skew), MEMBER_ID))!;
      const other = await acquireLease(processOn(storage, time), MEMBER_ID);
      // The lease of a holder whose clock is behind expires early; of one whose clock is ahead, late.
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

  for (const clock of ["monotonic clock", "clock"] as const) {
    it(`renews a lease before work that begins when it is nearly over by the ${clock}, and not before`, async () => {
      const storage = await stored();
      let passed = 0;
      const virtual = virtualTime();
      const options = {
        ...processOn(storage, { now: 0 }),
        clock: () => 1_000_000 + (clock === "clock" ? passed : 0),
        time: { ...virtual, monotonic: () => clock === "clock" ? 0 : passed },
      };
      const lease = (await acquireLease(options, MEMBER_ID))!;
      const version = async (): Promise<string> => (await storage.get(KEY))!.version;
      const first = await version();
      passed = 20_000;
      await lease.ensureHeld();
      assert.equal(await version(), first);
      passed = 20_001;
      await lease.ensureHeld();
      const second = await version();
      assert.notEqual(second, first);
      assert.equal((await recordOf(storage)).lease?.until, options.clock() + 30_000);
      passed = 40_001;
      await lease.ensureHeld();
      assert.equal(await version(), second);
      passed = 80_000;
      const { lease: held, ...rest } = await recordOf(storage);
      await storage.put(KEY, { ...rest, lease: { ...held, owner: "other" } });
      await assert.rejects(lease.ensureHeld(), LeaseLostError);
      assert(lease.signal.aborted);
      lease.stop();
    });
  }

  it("keeps changes that other writers make to the record meanwhile", async () => {
    const storage = await stored();
    const lease = (await acquireLease(processOn(storage, { now: 1_000_000 }), MEMBER_ID))!;
    const { value, version } = (await storage.get<PortalRecord>(KEY))!;
    await storage.put(KEY, { ...value, target: "4.0.0" }, { ifVersion: version });
    await lease.update((record) => ({ ...record, version: "2.0.0" }));
    const after = await recordOf(storage);
    assert.deepEqual([after.target, after.version], ["4.0.0", "2.0.0"]);
    lease.stop();
  });

  it("keeps the lease if the change of release() returns undefined", async () => {
    const storage = await stored();
    const lease = (await acquireLease(processOn(storage, { now: 1_000_000 }), MEMBER_ID))!;
    assert.equal(await lease.release(() => undefined), false);
    await lease.update((record) => record);
    lease.stop();
  });

  it("returns a lease at once to the process whose work under it ended without a release, and to no other", async () => {
    const storage = await stored();
    const time = { now: 1_000_000 };
    const first = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    first.stop();
    assert.equal(await acquireLease(processOn({ ...storage }, time), MEMBER_ID), undefined);
    const second = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    assert(second.fencingToken > first.fencingToken);
    await assert.rejects(first.update((record) => record), LeaseLostError);
    second.stop();
  });

  it("applies a staged change once, also if the reply of the write that applied it was lost", async () => {
    const inner = await stored();
    const faults: Faults = {};
    const lease = (await acquireLease(processOn(faultyStorage(inner, faults, 1), { now: 1_000_000 }), MEMBER_ID))!;
    let reports = 0;
    const increment = (record: PortalRecord) => ({ record: { ...record, rollbacks: (record.rollbacks ?? 0) + 1 } });
    lease.stage(increment, () => void reports++);
    faults.loseReplies = 1;
    await assert.rejects(lease.flush(), { code: "storage" });
    assert.deepEqual([(await recordOf(inner)).rollbacks, reports], [1, 0]);
    lease.stage(increment, () => void reports++);
    faults.unavailable = 1;
    await assert.rejects(lease.flush(), { code: "storage" });
    faults.unavailable = 0;
    await lease.reread();
    assert.equal(lease.record().rollbacks, 2);
    await lease.flush();
    assert.deepEqual([(await recordOf(inner)).rollbacks, lease.record().rollbacks, reports], [2, 2, 2]);
    assert.equal(await lease.release((record) => ({ record })), true);
  });

  it("renews the lease periodically, and loses it after leaseMs of storage errors", async () => {
    const storage = await stored();
    const time = virtualTime();
    const on = (storage: Storage): Parameters<typeof acquireLease>[0] => ({
      ...processOn(storage, { now: 5 }),
      ...{ time, clock: time.now, leaseMs: 60 },
    });
    const start = time.now();
    const kept = (await acquireLease(on(storage), MEMBER_ID))!;
    await time.elapse(90);
    assert.equal((await recordOf(storage)).lease?.until, start + 80 + 60);
    assert.equal(kept.signal.aborted, false);
    kept.stop();
    await time.elapse(100);
    assert.equal((await recordOf(storage)).lease?.until, start + 80 + 60, "not renewed after stop()");

    const other = await stored();
    let isDown = false;
    const failing: Storage = {
      ...withoutWrite(other),
      put: (...args) => isDown ? Promise.reject(new Error("down")) : other.put(...args),
    };
    const lease = (await acquireLease(on(failing), MEMBER_ID))!;
    isDown = true;
    await time.elapse(60);
    assert.equal(lease.signal.aborted, false);
    await time.elapse(20);
    assert.match(String(lease.signal.reason), /could not be renewed in time/);
    lease.stop();
  });

  it("loses the lease after leaseMs of a storage that hangs", async () => {
    const storage = await stored();
    const time = virtualTime();
    let hangs = false;
    const hanging: Storage = {
      ...withoutWrite(storage),
      put: (...args) => hangs ? new Promise(() => {}) : storage.put(...args),
    };
    const lease = (await acquireLease({ ...processOn(hanging, { now: 5 }), time, leaseMs: 60 }, MEMBER_ID))!;
    hangs = true;
    await time.elapse(59);
    assert.equal(lease.signal.aborted, false);
    await time.elapse(1);
    assert.match(String(lease.signal.reason), /could not be renewed in time/);
    await assert.rejects(lease.update((record) => record), LeaseLostError);
    lease.stop();
  });

  it("is not relied on after a pause in which another process may have acquired it", async () => {
    let monotonic = 0;
    // A process that is paused runs no timers.
    const time = { monotonic: () => monotonic, setTimer: () => () => {} };
    const lease = (await acquireLease({ ...processOn(await stored(), { now: 5 }), time }, MEMBER_ID))!;
    monotonic = 20_000;
    await lease.reread();
    monotonic = 20_001;
    await assert.rejects(lease.reread(), LeaseLostError);
    await assert.rejects(lease.update((record) => record), LeaseLostError);
    lease.stop();
  });
});

describe("a lease whose record the storage has lost", () => {
  const losses = [
    { what: "is gone", lose: (storage: Storage) => storage.delete(KEY), reason: "its record is gone: was the storage" },
    {
      what: "is older",
      lose: (storage: Storage) => storage.put(KEY, RECORD),
      reason: "its record is older than the lease: did the storage lose writes",
    },
  ];
  for (const { what, lose, reason } of losses) {
    it(`says that the record ${what}`, async () => {
      for (const use of ["update", "reread", "release"] as const) {
        const storage = await stored();
        const lease = (await acquireLease(processOn(storage, { now: 1_000_000 }), MEMBER_ID))!;
        await lose(storage);
        const calls = {
          update: () => lease.update((record) => record),
          reread: () => lease.reread(),
          release: () => lease.release((record) => ({ record })),
        };
        const isIt = (error: Error): boolean => error instanceof RecordLostError && error.message.includes(reason);
        await assert.rejects(calls[use], isIt);
        assert(isIt(lease.signal.reason as Error));
        lease.stop();
      }
    });
  }

  it("is not what another process's lease is", async () => {
    const storage = await stored();
    const time = { now: 1_000_000 };
    const lease = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    time.now += 60_000;
    const other = (await acquireLease(processOn(storage, time), MEMBER_ID))!;
    await other.release((record) => ({ record }));
    await assert.rejects(
      lease.update((record) => record),
      (error) => !(error instanceof RecordLostError) && /another process acquired it/.test(String(error)),
    );
    lease.stop();
  });

  it("stops a run with an error in the log that says so", async () => {
    const storage = memoryStorage();
    const made = rig({ storage });
    made.app.upgrade("3", async ({ step }) => {
      await step("flush", async () => {
        for await (const { key } of storage.list([])) await storage.delete(key);
      });
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    await made.settled();
    const lines = made.lines.map((line) => JSON.parse(line)).filter(({ err }) => err !== undefined);
    const said = lines.map(({ level, event, err }) => [level, event, err.message]);
    const reason = "its record is gone: was the storage emptied or replaced?";
    assert.deepEqual(said, [["error", "portal.lost", `lost the lease of portal ${PORTAL_ID}: ${reason}`]]);
    await made.app.close();
  });
});
