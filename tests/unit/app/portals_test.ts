import assert from "node:assert/strict";
import { type App, memoryStorage, type PortalFilter, type PortalPage, type Storage } from "@b24/onappupdate";
import { copyStorage, encrypted } from "@b24/onappupdate/storage";
import { listPortals } from "../../../src/app/admin/portals.ts";
import { indexKey, portalKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { createSnapshots } from "../../../src/portal/count_snapshots.ts";
import { createTotals } from "../../../src/portal/totals.ts";
import { quietLogger, rig } from "../../support/app.ts";
import { type CountingStorage, countingStorage } from "../../support/counting_storage.ts";
import { old } from "../../support/keys.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { COMBINED_PAGES, LOOK_UP, PAGES, storePortals } from "../../support/many_portals.ts";
import { before, describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

function record(memberId: string, more: Partial<PortalRecord> = {}): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId, domain: `${memberId[0]}.bitrix24.de`, status: "installed", generation: 1 },
    ...{ applied: [], installedTs: 1, latestTs: 1, version: "2.0.0", target: "2.0.0", ...more },
  };
}

const failed = (upgradeId: string) => ({ upgradeId, to: "3.0.0", message: "no", attempts: 1, at: 1 });
const blocked = (on: "scope" | "payment") => ({ on, message: "no", since: 1, nextTryAt: 2 });

const PORTALS: readonly PortalRecord[] = [
  record("a"),
  record("b", { version: "3.0.0", target: "3.0.0" }),
  record("c", { target: "3.0.0", failure: { ...failed("3"), fingerprint: "f00d" } }),
  record("d", { target: "3.0.0", failure: failed("2.5.0") }),
  record("e", { target: "3.0.0", blocked: blocked("scope") }),
  record("f", { version: "1.0.0", target: "3.0.0", blocked: blocked("payment"), failure: failed("3") }),
  record("g", { domain: "a.bitrix24.de", status: "uninstalled" }),
];

async function filled(): Promise<Storage> {
  const storage = memoryStorage();
  for (const record of PORTALS) await writeRecord(storage, record.memberId, () => ({ record }));
  // A portal that was renamed twice; another one has its first domain now.
  for (const domain of ["a.bitrix24.de", "old.bitrix24.de", "b.bitrix24.de"]) {
    await writeRecord(storage, "b", (record) => ({ record: { ...record!, domain } }));
  }
  return storage;
}

async function found(storage: Storage, filter: PortalFilter): Promise<string> {
  return (await listPortals(storage, filter)).items.map(({ memberId }) => memberId).join("");
}

const FILTERS: readonly (readonly [PortalFilter, string])[] = [
  [{}, "abcdefg"],
  [{ status: "current" }, "ab"],
  [{ status: "parked" }, "cd"],
  [{ version: "2.0.0" }, "acdeg"],
  [{ version: "2.0.0", status: "parked" }, "cd"],
  [{ version: "2.0.0", status: "current" }, "a"],
  [{ domain: "A.bitrix24.de" }, "ag"],
  [{ domain: "a.bitrix24.de", status: "uninstalled" }, "g"],
  [{ domain: "other" }, ""],
  [{ domain: "old.bitrix24.de" }, ""],
  [{ formerDomain: "OLD.bitrix24.de" }, "b"],
  [{ formerDomain: "a.bitrix24.de" }, "b"],
  [{ formerDomain: "a.bitrix24.de", version: "2.0.0" }, ""],
  [{ formerDomain: "b.bitrix24.de" }, ""],
  [{ blockedOn: "scope" }, "e"],
  [{ blockedOn: "scope", version: "1.0.0" }, ""],
  [{ upgradeId: "3" }, "cf"],
  [{ upgradeId: "3", status: "parked" }, "c"],
  [{ upgradeId: "3", blockedOn: "payment" }, "f"],
  [{ after: "c" }, "defg"],
  [{ version: "2.0.0", after: "c", limit: 2 }, "de"],
  [{ fingerprint: "f00d" }, "c"],
  [{ fingerprint: "f00d", status: "current" }, ""],
];

describe("admin.portals()", () => {
  for (const [filter, ids] of FILTERS) {
    it(`finds ${ids || "none"} by ${JSON.stringify(filter)}`, async () => {
      assert.equal(await found(await filled(), filter), ids);
    });
  }

  it("skips entries that no record names, and fills the page nevertheless", async () => {
    const storage = await filled();
    for (const id of ["a", "b", "missing"]) await storage.put(indexKey("state", "parked", id), {});
    assert.equal(await found(storage, { status: "parked", limit: 2 }), "cd");
  });

  it("finds the same in a copy, also an encrypted one", async () => {
    const target = memoryStorage();
    const copy = encrypted(target, old);
    await copyStorage(await filled(), copy);
    for (const [filter, ids] of FILTERS) assert.equal(await found(copy, filter), ids);
  });

  it("names the state of each portal, by which it finds it", async () => {
    const storage = await filled();
    let found = 0;
    for (const status of ["current", "upgrading", "blocked", "parked", "uninstalled"] as const) {
      for (const { memberId, state } of (await listPortals(storage, { status })).items) {
        assert.equal(state, status, memberId);
        found++;
      }
    }
    assert.equal(found, (await listPortals(storage)).items.length);
  });

  it("returns each portal once, page by page", async () => {
    const storage = memoryStorage();
    const ids = Array.from({ length: 250 }, (_, i) => String(i).padStart(4, "0"));
    for (const id of ids) await writeRecord(storage, id, () => ({ record: record(id) }));
    const seen: string[] = [];
    let after: string | undefined = "";
    while (after !== undefined) {
      const page: PortalPage = await listPortals(storage, { status: "current", limit: 40, after });
      seen.push(...page.items.map(({ memberId }) => memberId));
      after = page.next;
    }
    assert.deepEqual(seen, ids);
    assert.equal((await listPortals(storage, { status: "current", limit: 1000 })).items.length, 250);
  });

  it("reads at most 1,000 portals for a page, which may be empty", async () => {
    const storage = memoryStorage();
    const ids = Array.from({ length: 1100 }, (_, i) => String(i).padStart(4, "0"));
    for (const id of ids) {
      const domain = id === "1050" ? "wanted.bitrix24.de" : "x.bitrix24.de";
      await writeRecord(storage, id, () => ({ record: { ...record(id), domain } }));
    }
    for (const id of ids) await storage.put(indexKey("state", "parked", id), {});
    const first = await listPortals(storage, { status: "parked" });
    assert.deepEqual(first, { items: [], next: "0999" });
    assert.deepEqual(await listPortals(storage, { status: "parked", after: first.next! }), { items: [] });
  });

  it("shows pages with portals whose records newer code wrote, by their `member_id`s", async () => {
    const storage = memoryStorage();
    for (const id of ["a", "b", "c"]) await writeRecord(storage, id, () => ({ record: record(id) }));
    const { value } = (await storage.get<PortalRecord>(["portal", "b"]))!;
    await storage.put(["portal", "b"], { ...value, format: PORTAL_FORMAT + 1 });
    for (const filter of [{}, { status: "current" }, { status: "current", version: "2.0.0" }] as const) {
      const { items, unreadable, next } = await listPortals(storage, filter);
      assert.deepEqual([items.map(({ memberId }) => memberId), unreadable, next], [["a", "c"], ["b"], undefined]);
    }
    const first = await listPortals(storage, { limit: 2 });
    assert.deepEqual([first.items.length, first.unreadable, first.next], [1, ["b"], "b"]);
    assert.deepEqual(Object.keys(await listPortals(storage, { after: "b" })), ["items"]);
  });

  it("shows pages with portals whose encryption key is gone, by their `member_id`s", async () => {
    const inner = memoryStorage();
    for (const id of ["a", "b", "c"]) await writeRecord(inner, id, () => ({ record: record(id) }));
    const storage = await withoutKeyOf(inner, [portalKey("b")]);
    for (const filter of [{}, { status: "current" }] as const) {
      const { items, unreadable, next } = await listPortals(storage, filter);
      assert.deepEqual([items.map(({ memberId }) => memberId), unreadable, next], [["a", "c"], ["b"], undefined]);
    }
    const first = await listPortals(storage, { limit: 2 });
    assert.deepEqual([first.items.length, first.unreadable, first.next], [1, ["b"], "b"]);
  });
});

describe("admin.counts()", () => {
  it("shows other processes what a process has changed, after its tick and after it is closed", async () => {
    const storage = memoryStorage();
    const [one, other] = [rig({ storage: { ...storage } }), rig({ storage })];
    await one.send(one.portal.install(2));
    await one.app.tick();
    assert.deepEqual(await other.app.admin.counts(), [{ status: "current", version: "2.0.0", count: 1 }]);
    await one.send(one.portal.uninstall());
    await one.app.close();
    assert.deepEqual(await other.app.admin.counts(), [{ status: "uninstalled", version: "2.0.0", count: 1 }]);
    await other.app.close();
  });
});

/** Returns an app with `count` portals, and what counts the cost of its calls. */
async function withPortals(count: number): Promise<{ app: App; count: number; counting: CountingStorage }> {
  const storage = memoryStorage();
  await storePortals(storage, count);
  let at = Date.UTC(2026, 0);
  const snapshots = createSnapshots({ storage, clock: () => at }, createTotals({ storage, ...QUIET }).counts);
  for (let day = 0; day < 30; day++, at += DAY_MS) await snapshots.take();
  const counting = countingStorage(storage);
  return { app: rig({ storage: counting.storage }).app, count, counting };
}

const DAY_MS = 24 * 60 * 60 * 1000;
const QUIET = { time: virtualTime(), log: quietLogger };

/** Maximum number of portals on a page. A frequent value has more, a rare one fewer. */
const LIMIT = 50;

/** Calls whose cost is compared. Each asserts that its result is complete. */
const CALLS: readonly (readonly [string, (app: App, count: number) => Promise<void>])[] = [
  ["counts()", async (app, count) => {
    const counts = await app.admin.counts();
    assert.equal(counts.reduce((sum, { count }) => sum + count, 0), count);
  }],
  ["stuck()", async (app, count) => {
    const groups = await app.admin.stuck();
    assert.deepEqual(groups.map(({ message, example }) => [message, typeof example?.domain]), [
      ...groups.map(() => ["no", "string"]),
    ]);
    const sizes = groups.map(({ status, fingerprint, blockedOn, count }) => [status, fingerprint ?? blockedOn, count]);
    assert.deepEqual(sizes[0]?.slice(0, 2), ["parked", "often"]);
    assert.deepEqual(
      new Set(sizes.slice(1).map(String)),
      new Set(["blocked,scope,20", "parked,other,20", "parked,seldom,20"]),
    );
    assert((sizes[0]?.[2] as number) > count / 4);
  }],
  ["snapshots()", async (app) => {
    const from = Date.UTC(2026, 0);
    const days = await app.admin.snapshots({ every: "day", from, to: from + 90 * DAY_MS });
    assert.deepEqual([days.length, days[0]?.at], [30, from]);
  }],
  ...[LOOK_UP, ...PAGES, ...COMBINED_PAGES].map(({ filter, matches }) =>
    [`portals(${JSON.stringify(filter)})`, async (app: App) => {
      const { items } = await app.admin.portals({ ...filter, limit: LIMIT });
      assert.equal(items.length, Math.min(matches, LIMIT));
    }] as const
  ),
];

describe("storage operations and rows among 2,000 portals are at most 1.5 times those among 200", () => {
  const worlds: Awaited<ReturnType<typeof withPortals>>[] = [];
  before(async () => {
    for (const count of [200, 2000]) worlds.push(await withPortals(count));
  });

  for (const [name, call] of CALLS) {
    it(name, async () => {
      const costs: { operations: number; rows: number }[] = [];
      for (const { app, count, counting: { operations, rows, reset } } of worlds) {
        reset();
        await call(app, count);
        costs.push({ operations: operations(), rows: rows() });
      }
      const [few, many] = costs;
      assert(few!.operations > 0 && many!.operations <= 1.5 * few!.operations, JSON.stringify(costs));
      assert(few!.rows > 0 && many!.rows <= 1.5 * few!.rows, JSON.stringify(costs));
    });
  }
});
