import assert from "node:assert/strict";
import { memoryStorage, type PortalCount, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import {
  type CountSnapshot,
  createSnapshots,
  listSnapshots,
  type SnapshotInterval,
} from "../../../src/portal/count_snapshots.ts";
import { snapshotKey } from "../../../src/portal/keys.ts";
import { MEMBER_ID, quietLogger, rig } from "../../support/app.ts";
import { countingStorage } from "../../support/counting_storage.ts";
import { describe, it } from "../../support/test.ts";

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;
const NOON = Date.UTC(2026, 10, 30, 12);

const COUNTS: readonly PortalCount[] = [{ version: "2.0.0", status: "current", count: 7 }];

function snapshotsOf(
  storage: Storage,
  interval: SnapshotInterval,
  from: number,
  to: number,
): Promise<CountSnapshot[]> {
  return listSnapshots({ storage, log: quietLogger }, interval, from, to);
}

describe("snapshots of counts", () => {
  it("are stored once an hour and once a day, by whichever of all processes comes first", async () => {
    let now = NOON + 5 * 60_000;
    const { storage, operations, bytes, reset } = countingStorage(memoryStorage({ clock: () => now }));
    const counted: string[] = [];
    const processes = ["a", "b", "c"].map((name) =>
      createSnapshots({ storage: { ...storage }, clock: () => now }, () => {
        counted.push(name);
        return Promise.resolve([{ ...COUNTS[0]!, count: now }]);
      })
    );
    for (let minute = 0; minute < 180; minute++, now += 60_000) {
      for (const { take } of processes) await take();
    }
    const hours = await snapshotsOf(storage, "hour", 0, now);
    assert.deepEqual(hours.map(({ at }) => new Date(at).toISOString().slice(11, 16)), [
      ...["12:05", "13:00", "14:00", "15:00"],
    ]);
    assert.deepEqual(hours[1], { at: NOON + HOUR_MS, counts: [{ ...COUNTS[0], count: NOON + HOUR_MS }] });
    assert.deepEqual((await snapshotsOf(storage, "day", 0, now)).map(({ at }) => at), [hours[0]!.at]);
    assert.deepEqual(counted, ["a", "a", "a", "a"]);
    reset();
    for (const { take } of processes) await take();
    assert.deepEqual([operations(), bytes()], [0, 0]);
  });

  it("cost one write, also if processes come at once", async () => {
    const { storage, bytes } = countingStorage(memoryStorage());
    const one = createSnapshots({ storage, clock: () => NOON }, () => Promise.resolve(COUNTS));
    await one.take();
    const size = bytes();
    const later = [1, 2, 3].map(() =>
      createSnapshots({ storage, clock: () => NOON + HOUR_MS }, () => Promise.resolve(COUNTS))
    );
    await Promise.all(later.map(({ take }) => take()));
    const stored = await snapshotsOf(storage, "hour", NOON, NOON + HOUR_MS);
    assert.deepEqual(stored.map(({ at }) => at), [NOON, NOON + HOUR_MS]);
    // One value an hour, and one of the day; the losers of the race have tried theirs.
    assert(bytes() <= size / 2 * 5, `${bytes()} bytes`);
  });

  it("of hours are kept for 90 days, those of days for two years", async () => {
    let now = NOON;
    const storage = memoryStorage({ clock: () => now });
    const { take } = createSnapshots({ storage, clock: () => now }, () => Promise.resolve(COUNTS));
    for (let hour = 0; hour < 30; hour++, now += HOUR_MS) await take();
    const numbers = async (): Promise<number[]> => [
      (await snapshotsOf(storage, "hour", 0, now)).length,
      (await snapshotsOf(storage, "day", 0, now)).length,
    ];
    assert.deepEqual(await numbers(), [30, 2]);
    now = NOON + 90 * DAY_MS - 1;
    assert.deepEqual(await numbers(), [30, 2]);
    now = NOON + 92 * DAY_MS;
    assert.deepEqual(await numbers(), [0, 2]);
    now = NOON + 730 * DAY_MS;
    assert.deepEqual(await numbers(), [0, 1]);
  });

  it("are left out while no portal is known, and tried again after a failure of the storage", async () => {
    const inner = memoryStorage();
    let isDown = false;
    const storage = {
      ...inner,
      put: (...args: Parameters<typeof inner.put>) =>
        isDown ? Promise.reject(new StorageError("down")) : inner.put(...args),
    };
    const take = (counts: readonly PortalCount[]) =>
      createSnapshots({ storage, clock: () => NOON }, () => Promise.resolve(counts));
    await take([]).take();
    assert.deepEqual(await snapshotsOf(storage, "hour", 0, NOON), []);
    isDown = true;
    const snapshots = take(COUNTS);
    await assert.rejects(snapshots.take(), StorageError);
    isDown = false;
    await snapshots.take();
    assert.deepEqual(await snapshotsOf(storage, "hour", 0, NOON), [{ at: NOON, counts: COUNTS }]);
  });

  it("of newer code are left out", async () => {
    const storage = memoryStorage();
    await storage.put(snapshotKey("hour", "2026-11-30T11"), { format: 2 });
    await storage.put(snapshotKey("hour", "2026-11-30T12"), { format: 1, at: NOON, counts: COUNTS });
    assert.deepEqual(await snapshotsOf(storage, "hour", 0, NOON), [{ at: NOON, counts: COUNTS }]);
  });
});

describe("admin.snapshots()", () => {
  it("returns what ticks have stored, with those between the hours of `from` and `to`", async () => {
    let now = NOON;
    const { app, send, portal } = rig({ clock: () => now });
    await send(portal.install(2));
    const start = now;
    for (let hour = 0; hour < 5; hour++) {
      await app.tick();
      now += HOUR_MS;
    }
    const all = await app.admin.snapshots();
    assert.equal(all.length, 5);
    assert.deepEqual(all[0], { at: start, counts: [{ version: "2.0.0", status: "current", count: 1 }] });
    const some = await app.admin.snapshots({ from: start + HOUR_MS, to: start + 2 * HOUR_MS });
    assert.deepEqual(some.map(({ at }) => at), [start + HOUR_MS, start + 2 * HOUR_MS]);
    assert.equal((await app.admin.snapshots({ every: "day" })).length >= 1, true);
    assert.deepEqual(await app.admin.snapshots({ to: 5 }), []);
    await assert.rejects(app.admin.snapshots({ every: "week" as "day" }), /every .*"week".*hour/s);
    await assert.rejects(app.admin.snapshots({ from: -1 }), /from/);
    await assert.rejects(app.admin.snapshots({ to: Infinity }), /to/);
    await app.close();
  });
});

describe("admin.stuck()", () => {
  it("groups parked and blocked portals and those that are tried again, with an example", async () => {
    const { app, send, portal, later } = rig({ retry: { maxAttempts: 2 } });
    app.upgrade("3", async ({ step }) => void await step("convert", () => Promise.reject(new Error("no list 7"))));
    await send(portal.install(2));
    await send(portal.update(3));
    const where = {
      ...{ count: 1, upgradeId: "3", step: "convert", message: "no list 7" },
      example: { memberId: MEMBER_ID, domain: portal.domain },
    };
    const [retried] = await app.admin.stuck();
    const { fingerprint } = retried!;
    assert.match(fingerprint!, /^[0-9a-f]{16}$/);
    assert.deepEqual(retried, { status: "upgrading", fingerprint, ...where });
    later();
    await app.tick();
    assert.deepEqual(await app.admin.stuck(), [{ status: "parked", fingerprint, ...where }]);
    await app.admin.rollback(MEMBER_ID, { by: "ada", reason: "ticket 17" });
    const [rolledBack, ...others] = await app.admin.stuck();
    assert.deepEqual([rolledBack?.status, rolledBack?.fingerprint, others], ["parked", undefined, []]);
    assert.equal(rolledBack?.example?.memberId, MEMBER_ID);
    await assert.rejects(app.admin.stuck({ limit: 101 }), /limit/);
    await app.close();
  });
});
