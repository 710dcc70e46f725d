import assert from "node:assert/strict";
import { memoryStorage, NonRetriableError, type RolloutStatus } from "@b24/onappupdate";
import { countingStorage } from "../../support/counting_storage.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { codeAt, memberIds, storeInstalled } from "../../support/rollout.ts";
import { describe, it } from "../../support/test.ts";

interface Measured {
  readonly status: RolloutStatus;
  readonly cost: { readonly operations: number; readonly rows: number };
}

/** Returns the status of a rollout in which half of the portals fail for two causes, and what it costs. */
async function statusOf(count: number): Promise<Measured> {
  const { storage, operations, rows, reset } = countingStorage(memoryStorage());
  const ids = memberIds(count);
  await storeInstalled(storage, ids, "1.0.0");
  const { app } = codeAt("2.0.0", {
    storage,
    rollout: { pauseWhen: { failed: count } },
    upgrade: (memberId) => {
      const n = ids.indexOf(memberId);
      if (n % 2 === 0) throw new NonRetriableError(n % 8 === 0 ? `field ${n} is full` : `no list "${memberId}"`);
    },
  });
  await app.tick({ limit: count });
  reset();
  const status = (await app.admin.rollout.status())!;
  const cost = { operations: operations(), rows: rows() };
  await app.close();
  return { status, cost };
}

describe("admin.rollout.status()", () => {
  it("names the causes of failures with all of their portals, at a cost that does not depend on their number", async () => {
    const [few, many] = [await statusOf(80), await statusOf(800)];
    for (const [{ status }, count] of [[few, 80], [many, 800]] as const) {
      assert.equal(status.counts.parked, count / 2);
      assert.deepEqual(status.failures.map(({ count, memberIds, upgradeId }) => [count, memberIds.length, upgradeId]), [
        [count / 2 - count / 8, 5, "2.0.0"],
        [count / 8, 5, "2.0.0"],
      ]);
      assert.match(status.failures[0]!.message, /^no list /);
      assert.match(status.failures[1]!.message, /^field \d+ is full$/);
    }
    // Totals have at most 256 entries.
    const rows = (cost: typeof few.cost): number => Math.max(cost.rows, 2 * 256);
    assert.ok(many.cost.operations <= 1.5 * few.cost.operations, JSON.stringify([few.cost, many.cost]));
    assert.ok(rows(many.cost) <= 1.5 * rows(few.cost), JSON.stringify([few.cost, many.cost]));
  });

  it("leaves out portals that newer code wrote, and those whose encryption key is gone", async () => {
    const inner = memoryStorage();
    const ids = memberIds(4);
    await storeInstalled(inner, ids, "1.0.0");
    const storage = await withoutKeyOf(inner, []);
    const upgrade = (): never => {
      throw new NonRetriableError("no");
    };
    const { app } = codeAt("2.0.0", { storage, rollout: { pauseWhen: { failed: 10 } }, upgrade });
    await app.tick();
    await storage.put(portalKey(ids[0]!), { format: 1000 });
    await withoutKeyOf(inner, [portalKey(ids[1]!)]);
    const { failures } = (await app.admin.rollout.status())!;
    assert.deepEqual(failures.map(({ count, memberIds }) => [count, memberIds]), [[4, ids.slice(2)]]);
    await app.close();
  });
});
