import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { runKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { listRuns, withRunFinished } from "../../../src/portal/run_history.ts";
import { writeInOrder } from "../../../src/storage/write.ts";
import { MEMBER_ID, type Rig, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { OPERATOR } from "../../support/operator.ts";
import { withoutWrite } from "../../support/without_write.ts";

/** Returns the record of a portal whose run has applied an upgrade, under the lease with this fencing token. */
function record(fencingToken: number): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "x.bitrix24.de", status: "installed", generation: 1 },
    ...{ applied: [], installedTs: 1, latestTs: 1, fencingToken },
    run: { id: "00000001", from: "1.0.0", startedAt: 1, upgrades: ["to 2"] },
  };
}

describe("withRunFinished()", () => {
  it("stores a run under another key than a former holder of the lease, whose record was refused", async () => {
    const storage = memoryStorage();
    const later = withRunFinished(record(5), "3.0.0", 2);
    await writeInOrder(storage, later.before!);
    await writeInOrder(storage, withRunFinished(record(4), "2.0.0", 2).before!);
    assert.deepEqual((await listRuns(storage, later.record)).map(({ to }) => to), ["3.0.0"]);
  });

  it("leaves what a former holder has stored to be deleted with the runs of its time", async () => {
    const storage = memoryStorage();
    const { app, portal, send } = rig({ storage });
    for (let version = 3; version <= 24; version++) app.upgrade(`${version}`, () => {});
    await send(portal.install(2));
    const former = runKey(MEMBER_ID, "00000002-1");
    await storage.put(former, {});
    for (let version = 3; version <= 23; version++) await send(portal.update(version));
    assert.notEqual(await storage.get(former), null);
    await send(portal.update(24));
    assert.equal(await storage.get(former), null);
    await app.close();
  });
});

describe("the result of a step whose process ends before its entry in the journal", () => {
  const undone: string[] = [];

  /** Runs an upgrade to version 3 whose first attempt ends there. Returns the app, and the keys of stored results. */
  async function interrupted(): Promise<{ readonly made: Rig; readonly results: () => Promise<string[]> }> {
    const inner = memoryStorage();
    let isDying = true;
    const storage: Storage = {
      ...withoutWrite(inner),
      put: (...args) =>
        isDying && args[0][0] === "journal" ? Promise.reject(new StorageError("crash")) : inner.put(...args),
    };
    const made = rig({ storage, retry: { initialDelayMs: 1 } });
    for (let version = 3; version <= 24; version++) {
      made.app.upgrade(`${version}`, async ({ step }) => {
        if (version === 3) await step("large", () => "x".repeat(1000), { undo: (result) => void undone.push(result) });
      });
    }
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    isDying = false;
    made.later();
    await made.app.tick();
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
    const results = (): Promise<string[]> => Array.fromAsync(inner.list(["result"]), ({ key }) => key.at(-1)!);
    return { made, results };
  }

  it("is deleted when its run finishes, and the named one with the run", async () => {
    const { made, results } = await interrupted();
    assert.equal((await results()).length, 1);
    assert.equal((await made.app.admin.rollback(MEMBER_ID, OPERATOR)).undone.length, 1);
    assert.deepEqual(undone, ["x".repeat(1000)]);
    await made.app.admin.retry(MEMBER_ID, OPERATOR);
    for (let version = 4; version <= 24; version++) await made.send(made.portal.update(version));
    assert.deepEqual(await results(), []);
    await made.app.close();
  });
});

describe("the history of a portal", () => {
  it("has the last 20 runs, with their journals and results, and nothing of older ones", async () => {
    const storage = memoryStorage();
    let now = 1_785_400_000_000;
    const { app, portal, send } = rig({ storage, clock: () => now++ });
    const last = 27;
    for (let version = 3; version <= last; version++) {
      app.upgrade(`${version}`, async ({ step }) => {
        await step("small", () => version);
        await step("large", () => "x".repeat(1000), { undo: () => {} });
      });
    }
    const runIds = async (prefix: string): Promise<string[]> => {
      const keys = await Array.fromAsync(storage.list([prefix, MEMBER_ID]), ({ key }) => key[2]!.split("-")[0]!);
      return [...new Set(keys)];
    };
    await send(portal.install(2));
    await send(portal.update(3));
    // Its journal is not that of a finished run.
    await app.admin.rollback(MEMBER_ID, OPERATOR);
    await app.admin.retry(MEMBER_ID, OPERATOR);
    for (let version = 4; version <= last; version++) await send(portal.update(version));
    const runs = await app.admin.runs(MEMBER_ID);
    assert.deepEqual(runs.map(({ to }) => to), Array.from({ length: 20 }, (_, i) => `${last - i}.0.0`));
    for (const { to, applied, upgrades } of runs) {
      const id = to.split(".")[0]!;
      assert.deepEqual(applied.map(({ id }) => id), [id]);
      assert.deepEqual(upgrades.map(({ upgradeId, steps }) => [upgradeId, ...steps.map(({ name }) => name)]), [
        [id, "small", "large"],
      ]);
    }
    const kept = runs.map(({ id }) => id).sort();
    for (const prefix of ["run", "journal", "result"]) assert.deepEqual(await runIds(prefix), kept, prefix);
    await app.close();
  });

  it("has upgrades that were skipped", async () => {
    const { app, portal, send, names } = rig({ retry: { maxAttempts: 1 } });
    app.upgrade("3", () => Promise.reject(new Error("no")));
    await send(portal.install(2));
    await send(portal.update(3));
    await app.admin.skip(MEMBER_ID, "3", OPERATOR);
    await until("the run has finished", () => names().includes("portalUpgraded"));
    const [run] = await app.admin.runs(MEMBER_ID);
    assert.deepEqual(run?.applied.map(({ id, from, to, skipped }) => [id, from, to, skipped]), [
      ["3", "2.0.0", "3.0.0", true],
    ]);
    await app.close();
  });

  it("has the steps in the order in which they ran, also if they are named like integers", async () => {
    const { app, portal, send } = rig();
    const names = ["10", "2", "-1", "1", "01", "__proto__", "0"];
    app.upgrade("3", async ({ step, pages }) => {
      for (const name of names) await step(name, () => {});
      await pages("5", 0, (cursor) => ({ next: cursor < 20 ? cursor + 1 : null, done: 1 }));
      await step("4", () => {});
    });
    await send(portal.install(2));
    await send(portal.update(3));
    const [run] = await app.admin.runs(MEMBER_ID);
    assert.deepEqual(run?.upgrades[0]?.steps.map(({ name }) => name), [...names, "5", "4"]);
    await app.close();
  });
});
