import assert from "node:assert/strict";
import { type App, createApp, memoryStorage, NonRetriableError, type Storage } from "@b24/onappupdate";
import {
  credentialsKey,
  deliveryKey,
  dueKey,
  INDEX,
  indexKey,
  portalKey,
  PORTALS,
  RECOUNT,
  totalKey,
} from "../../../src/portal/keys.ts";
import { indexKeysOf } from "../../../src/portal/portal_index.ts";
import { PORTAL_FORMAT, type PortalRecord, portalState } from "../../../src/portal/record.ts";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { entryId, listDue } from "../../../src/portal/schedule.ts";
import { crashingStorage } from "../../support/crashing.ts";
import { MEMBER_ID, OTHER_MEMBER_ID, quietLogger, rig } from "../../support/app.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { OPERATOR } from "../../support/operator.ts";
import { shardOf } from "../../../src/portal/totals.ts";
import type { Entry, Key } from "../../../src/storage/storage.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, virtualTime } from "../../support/time.ts";
import { withoutWrite } from "../../support/without_write.ts";

function record(memberId: string, more: Partial<PortalRecord> = {}): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId, domain: "x.bitrix24.de", status: "installed", generation: 1 },
    ...{ applied: [], installedTs: 1, latestTs: 1, version: "2.0.0", target: "2.0.0", ...more },
  };
}

/** Writes a portal as another process does that crashes before it has added to the totals. */
const put = (storage: Storage, record: PortalRecord): Promise<unknown> =>
  writeRecord({ ...storage }, record.memberId, (current) => ({ record: { ...current, ...record } }));

const recordsOf = async (storage: Storage): Promise<PortalRecord[]> =>
  (await Array.fromAsync(storage.list<PortalRecord>(PORTALS))).map(({ value }) => value);

const keysOf = async (storage: Storage): Promise<string[]> =>
  (await Array.fromAsync(storage.list(INDEX))).map(({ key }) => JSON.stringify(key));

/** Ticks through a round: a page of entries, a page of portals, the repair of totals. */
async function round({ app, later }: { app: App; later: () => void }, ticks = 3): Promise<void> {
  for (let tick = 0; tick < ticks; tick++) {
    later();
    await app.tick();
  }
}

/** Asserts that the index has the entries of the records and no others, and that lists and counts agree with the records. */
async function assertExact(storage: Storage, { admin }: App): Promise<void> {
  const records = await recordsOf(storage);
  const named = (await Promise.all(records.map(indexKeysOf))).flat().map((key) => JSON.stringify(key));
  assert.deepEqual((await keysOf(storage)).toSorted(), named.toSorted());
  const counts = new Map<string, number>();
  for (const record of records) {
    assert.equal(record.indexedAs?.state, portalState(record));
    const name = `${portalState(record)} ${record.version ?? ""}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  assert.deepEqual(
    (await admin.counts()).map(({ status, version = "", count }) => [`${status} ${version}`, count]),
    [...counts].sort(),
  );
  for (const status of ["current", "upgrading", "blocked", "parked", "uninstalled"] as const) {
    const ids = records.filter((record) => portalState(record) === status).map(({ memberId }) => memberId);
    assert.deepEqual((await admin.portals({ status, limit: 1000 })).items.map(({ memberId }) => memberId), ids, status);
  }
}

describe("the recount", () => {
  it("makes lists and counts exact after a crash between any two operations, on a storage without write", async () => {
    let isWhole = false;
    for (let crashAt = 0; !isWhole; crashAt++) {
      const storage = memoryStorage();
      const { storage: crashing, hasCrashed } = crashingStorage(storage, crashAt);
      const first = rig({ storage: crashing });
      first.app.upgrade("3", () => Promise.reject(new NonRetriableError("no")));
      const { portal } = first;
      for (const body of [portal.install(2), portal.update(3), portal.uninstall()]) await first.send(body);
      await first.app.tick().catch(() => {});
      isWhole = !hasCrashed();
      assert(crashAt < 200);

      const second = rig({ storage, fetch: first.bitrix24.fetch });
      second.app.upgrade("3", () => Promise.reject(new NonRetriableError("no")));
      await round(second, 6);
      await assertExact(storage, second.app);
      await Promise.all([first.app.close(), second.app.close()]);
    }
  });

  it("counts many portals, 256 a tick, across shards and pages", async () => {
    const storage = memoryStorage();
    const ids = Array.from({ length: 600 }, (_, i) => `${["00", "a0", "a1"][i % 3]}${String(i).padStart(30, "0")}`)
      .sort();
    const crashed = { ...storage };
    for (const id of ids) await writeRecord(crashed, id, () => ({ record: record(id) }));
    const made = rig({ storage });
    // 1,800 entries are two pages, 600 portals three, and the last totals are repaired at the tick after.
    await round(made, 2 + 3);
    assert((await made.app.admin.counts()).every(({ count }) => count < 600));
    await round(made, 1);
    assert.deepEqual(await made.app.admin.counts(), [{ status: "current", version: "2.0.0", count: 600 }]);
    await made.app.close();
  });

  it("leaves a portal that newer code wrote, its entries and the total of its shard alone, and repairs the others", async () => {
    const storage = memoryStorage();
    // Both are in one shard, the third is in another.
    const [near, other] = [`${MEMBER_ID.slice(0, 2)}${"f".repeat(30)}`, OTHER_MEMBER_ID];
    for (const id of [near, other]) await writeRecord({ ...storage }, id, () => ({ record: record(id) }));
    const later = new Date(2100, 0).getTime();
    const newer: [Key, unknown][] = [
      [portalKey(MEMBER_ID), { format: 1000 }],
      [indexKey("state", "news", MEMBER_ID), {}],
      [dueKey(entryId(later, "newer"), MEMBER_ID), {}],
      [totalKey(shardOf(MEMBER_ID)), { format: 1, counts: { "current 3.0.0": 2 } }],
    ];
    for (const [key, value] of newer) await storage.put(key, value);
    await storage.put(indexKey("state", "parked", other), {});
    const made = rig({ storage });
    await round(made, 6);
    for (const [key, value] of newer) assert.deepEqual((await storage.get(key))?.value, value, key.join("/"));
    assert.equal(await storage.get(indexKey("state", "parked", other)), null);
    assert.deepEqual(await made.app.admin.counts(), [
      { status: "current", version: "2.0.0", count: 1 },
      { status: "current", version: "3.0.0", count: 2 },
    ]);
    await made.app.close();
  });

  it("leaves portals and entries alone whose encryption key is gone, and repairs the others", async () => {
    const inner = memoryStorage();
    const [near, other] = [`${MEMBER_ID.slice(0, 2)}${"f".repeat(30)}`, OTHER_MEMBER_ID];
    for (const id of [MEMBER_ID, near, other]) await writeRecord({ ...inner }, id, () => ({ record: record(id) }));
    const later = new Date(2100, 0).getTime();
    const lost: Key[] = [
      portalKey(MEMBER_ID),
      indexKey("state", "current", MEMBER_ID),
      indexKey("state", "current", near),
      dueKey(entryId(later, "lost"), MEMBER_ID),
    ];
    await inner.put(totalKey(shardOf(MEMBER_ID)), { format: 1, counts: { "current 2.0.0": 2 } });
    const storage = await withoutKeyOf(inner, lost);
    const unreadable = await Promise.all(lost.map((key) => inner.get(key)));
    await storage.put(indexKey("state", "parked", other), {});
    await storage.put(dueKey(entryId(later, "orphaned"), other), {});
    await storage.delete(indexKey("version", "2.0.0", near));
    const made = rig({ storage });
    await round(made, 6);
    assert.deepEqual(await Promise.all(lost.map((key) => inner.get(key))), unreadable);
    assert.equal(await storage.get(indexKey("state", "parked", other)), null);
    assert.equal(await storage.get(dueKey(entryId(later, "orphaned"), other)), null);
    assert.notEqual(await storage.get(indexKey("version", "2.0.0", near)), null);
    assert.deepEqual(await made.app.admin.counts(), [{ status: "current", version: "2.0.0", count: 3 }]);
    assert.deepEqual(made.lines.filter((line) => line.includes('"recount.failed"')), []);
    await made.app.close();
  });

  it("goes on after a portal whose credentials cannot be read", async () => {
    const inner = memoryStorage();
    const removed = record(MEMBER_ID, { status: "uninstalled", uninstalledTs: 2, purgeAt: 1e15 });
    for (const one of [removed, record(OTHER_MEMBER_ID)]) await put(inner, one);
    const storage = await withoutKeyOf(inner, [credentialsKey(MEMBER_ID)]);
    const made = rig({ storage });
    await round(made, 4);
    assert.deepEqual(made.lines.filter((line) => line.includes('"recount.failed"')), []);
    assert.equal(made.lines.filter((line) => line.includes('"recount.skipped"')).length, 1);
    await assertExact(storage, made.app);
    await made.app.close();
  });

  it("puts missing entries, and deletes those of no portal and those that a record does not name", async () => {
    const storage = memoryStorage();
    await put(storage, record(MEMBER_ID));
    await storage.delete(indexKey("state", "current", MEMBER_ID));
    await storage.put(indexKey("state", "parked", MEMBER_ID), {});
    await storage.put(indexKey("version", "1.0.0", OTHER_MEMBER_ID), {});
    const made = rig({ storage });
    assert.deepEqual(await made.app.admin.portals({ status: "parked" }), { items: [] });
    assert.deepEqual(await made.app.admin.portals({ version: "1.0.0" }), { items: [] });
    await round(made);
    await assertExact(storage, made.app);
    await made.app.close();
  });

  it("repairs everything at once by admin.recount()", async () => {
    const storage = memoryStorage();
    const time = virtualTime();
    const ids = Array.from({ length: 600 }, (_, i) => String(i).padStart(32, "0"));
    for (const id of ids) await put(storage, record(id));
    await storage.delete(indexKey("state", "current", ids[17]!));
    await storage.put(totalKey("00"), { format: 1, counts: { "current 2.0.0": 5 } });
    const app = createApp({ ...simulated(time), storage, logger: quietLogger, tickEveryMs: false });
    const recounted = app.admin.recount(OPERATOR);
    await time.elapse(60_000);
    await recounted;
    await assertExact(storage, app);
    assert.equal((await app.admin.audit()).items[0]?.action, "recount");
    // Again, though a round is over.
    await storage.put(totalKey("00"), { format: 1, counts: { "current 2.0.0": 5 } });
    const again = app.admin.recount(OPERATOR);
    await time.elapse(60_000);
    await again;
    await assertExact(storage, app);
    await app.close();
  });

  it("removes schedule entries of the far future that a record does not name, after a look at the portal", async () => {
    const storage = memoryStorage();
    const made = rig({ storage });
    await made.send(made.portal.install(2));
    const body = { kind: "form", text: made.portal.update(3) } as const;
    const delivery = { format: 1, body, receivedAt: made.clock(), verification: {}, attempts: 0, generation: 1 };
    // A crash came between the delivery and the record that counts it.
    await storage.put(deliveryKey(MEMBER_ID, "ONAPPUPDATE:3:1"), delivery);
    for (const id of ["1", "2"]) {
      await storage.put(dueKey(entryId(made.clock() + 30 * 86_400_000, id), MEMBER_ID), {});
    }
    await round(made);
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
    assert.deepEqual(await Array.fromAsync(storage.list(["delivery"])), []);
    const { due } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
    const entries = await Array.fromAsync(listDue(storage, Infinity), (entry) => entry.due);
    assert.deepEqual(entries, due === undefined ? [] : [due]);
    await made.app.close();
  });

  it("removes them without a look if there are no deliveries that the record may not know of", async () => {
    const storage = memoryStorage();
    await put(storage, record(MEMBER_ID));
    const made = rig({ storage });
    await storage.put(dueKey(entryId(made.clock() + 30 * 86_400_000, "1"), MEMBER_ID), {});
    await made.app.tick();
    assert.deepEqual(await Array.fromAsync(listDue(storage, Infinity)), []);
    assert.equal((await storage.get<PortalRecord>(portalKey(MEMBER_ID)))?.value.fencingToken, undefined);
    await made.app.close();
  });

  it("leaves an entry that a write names which ends while the recount looks at it", async () => {
    const storage = memoryStorage();
    await put(storage, record(MEMBER_ID));
    const key = indexKey("state", "parked", MEMBER_ID);
    await storage.put(key, {});
    let isPending = true;
    const made = rig({
      storage: {
        ...storage,
        get: async <T>(...args: Parameters<Storage["get"]>) => {
          const entry = await storage.get<T>(...args);
          if (!isPending || args[0][0] !== "portal") return entry;
          isPending = false;
          // The write has put the entry before.
          const { value, version } = entry as Entry<PortalRecord>;
          const named = { ...value, indexedAs: { ...value.indexedAs, state: "parked" } };
          await storage.put(portalKey(MEMBER_ID), named, { ifVersion: version });
          return entry;
        },
      },
    });
    await made.app.tick();
    assert.equal(isPending, false);
    assert.notEqual(await storage.get(key), null);
    await made.app.close();
  });

  it("leaves the entries of a write that has not put its record yet", async () => {
    const storage = memoryStorage();
    await put(storage, record(MEMBER_ID));
    const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const paused: Storage = {
      ...withoutWrite(storage),
      put: async (key, ...args) => {
        if (key[0] === "portal") {
          reached.resolve();
          await goOn.promise;
        }
        return await storage.put(key, ...args);
      },
    };
    const writing = put(paused, record(MEMBER_ID, { target: "3.0.0" }));
    await reached.promise;
    const made = rig({
      storage: {
        ...storage,
        // The writer goes on at the worst moment.
        delete: async (...args) => {
          goOn.resolve();
          await writing;
          return await storage.delete(...args);
        },
      },
    });
    await round(made, 1);
    assert.deepEqual(await made.app.admin.portals({ status: "current" }), { items: [] });
    assert.equal((await made.app.admin.portals({ status: "upgrading" })).items.length, 1);
    await made.app.close();
  });

  it("leaves a total that another process has changed since", async () => {
    const storage = memoryStorage();
    const other = rig({ storage: { ...storage } });
    assert.equal(await other.send(other.portal.install(2)), 200);
    const made = rig({ storage });
    await round(made, 2);
    assert.equal((await storage.get<{ differing: unknown[] }>(RECOUNT))?.value.differing.length, 1);
    assert.equal(await other.send(other.portal.uninstall()), 200);
    await other.app.close();
    await round(made, 1);
    assert.deepEqual(await made.app.admin.counts(), [{ status: "uninstalled", version: "2.0.0", count: 1 }]);
    await made.app.close();
  });

  it("waits until every process has added its changes, and rests for an hour after a round", async () => {
    const inner = memoryStorage();
    let pages = 0;
    const list: Storage["list"] = (prefix, options) => {
      if (prefix[0] === "portal") pages++;
      return inner.list(prefix, options);
    };
    await put(inner, record(MEMBER_ID));
    let now = Date.now();
    const { app } = rig({ storage: { ...inner, list }, clock: () => now });
    const tickAfter = async (ms: number): Promise<number> => {
      now += ms;
      await app.tick();
      return (await app.admin.counts()).length;
    };
    assert.equal(await tickAfter(0), 0);
    assert.equal(await tickAfter(0), 0);
    assert.equal(await tickAfter(2999), 0);
    assert.equal(await tickAfter(1), 1);
    for (let tick = 0; tick < 5; tick++) await tickAfter(10 * 60_000);
    assert.equal(pages, 1);
    await tickAfter(10 * 60_000);
    await tickAfter(0);
    assert.equal(pages, 2);
    await app.close();
  });

  it("that fails does not keep portals from their work", async () => {
    const inner = memoryStorage();
    const made = rig({ storage: inner });
    made.app.upgrade("3", () => {});
    await made.send(made.portal.install(2));
    await inner.put(RECOUNT, { format: 2 });
    await inner.put(portalKey(OTHER_MEMBER_ID), { format: 2 });
    const { lines } = made;
    await round(made, 2);
    assert.equal(lines.filter((line) => line.includes("recount.failed")).length, 2);
    assert.deepEqual((await inner.get(RECOUNT))?.value, { format: 2 });
    await made.app.close();
  });
});
