/** A rollout over 1,000 portals by three processes, some of which are killed. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type App, createApp, deployed, type RolloutOptions, type Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import type { PortalRecord } from "../../src/portal/record.ts";
import { quietLogger, trustAll } from "../support/app.ts";
import { OPERATOR } from "../support/operator.ts";
import { run } from "../support/process.ts";
import { inOrderOf, memberIds, storeInstalled, versionsOf } from "../support/rollout.ts";
import { it } from "../support/test.ts";

const PORTALS = 1000;
const PROCESSES = 3;
const HOUR = 60 * 60 * 1000;
const IDS = memberIds(PORTALS);
const STAGES = [{ portals: 5, forMs: 0 }, { percent: 10, forMs: 0 }, { percent: 100 }];

interface World {
  readonly path: string;
  readonly lines: string;
  readonly storage: Storage;
  /** Returns the portals whose handler has begun, in order. */
  readonly begun: () => string[];
  /** Runs three processes at a time; one that has a number to kill itself at must be killed. */
  readonly work: (options: Work) => Promise<void>;
  /** Runs `act` on an app that works on nothing by itself. */
  readonly operate: (version: string, act: (app: App) => Promise<unknown>) => Promise<void>;
}

interface Work {
  readonly version: string;
  readonly rollout: RolloutOptions;
  readonly failing: string;
  readonly aheadMs?: number;
  /** Numbers of writes before which processes kill themselves. The others live on. */
  readonly killAt?: readonly number[];
}

async function world(act: (world: World) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-rollout-"));
  const [path, lines] = [join(folder, "portals.db"), join(folder, "lines")];
  writeFileSync(lines, "");
  const storage = fileStorage({ path });
  try {
    await storeInstalled(storage, IDS, "1.0.0");
    await act({
      ...{ path, lines, storage },
      begun: () => readFileSync(lines, "utf8").split("\n").filter((line) => line !== ""),
      work: async ({ version, rollout, failing, aheadMs = 0, killAt = [] }) => {
        const args = [path, lines, version, JSON.stringify(rollout), String(aheadMs)];
        const all = Array.from(
          { length: PROCESSES },
          (_, i) => run("tests/scenarios/rollout_worker.ts", { args: [...args, String(killAt[i] ?? 0), failing] }),
        );
        for (const [i, { exited, output }] of all.entries()) {
          assert.equal(await exited, killAt[i] === undefined ? 0 : null, output());
        }
      },
      operate: async (version, act) => {
        const options = { storage: { ...storage, close: () => Promise.resolve() }, versions: deployed(version) };
        const app = createApp({ ...options, rollout: {}, logger: quietLogger, checks: false, tickEveryMs: false })
          .use(trustAll);
        await act(app as App);
        await app.close();
      },
    });
  } finally {
    await storage.close?.();
    rmSync(folder, { recursive: true });
  }
}

/** Returns what is stored of portals, by key. */
async function storedOf(storage: Storage, ids: ReadonlySet<string>): Promise<Map<string, string>> {
  const stored = new Map<string, string>();
  for await (const { key, version } of storage.list([])) {
    if (key.some((part) => ids.has(part))) stored.set(key.join("/"), version);
  }
  return stored;
}

async function parked(storage: Storage): Promise<string[]> {
  const found: string[] = [];
  for await (const { value } of storage.list<PortalRecord>(["portal"])) {
    if (value.failure !== undefined && value.failure.retryAt === undefined) found.push(value.memberId);
  }
  return found;
}

it("an upgrade that always fails parks three portals, and no other is touched, however processes are killed", {
  timeout: 600_000,
}, async () => {
  for (const first of [3, 9, 17]) {
    await world(async ({ storage, begun, work, operate }) => {
      const before = await storedOf(storage, new Set(IDS));
      const options = { version: "2.0.0", rollout: { stages: STAGES, pauseWhen: { failed: 3 } } };
      // Each hour of virtual time, some of the processes are killed at another write.
      for (let hour = 0; hour < 3; hour++) {
        const killAt = hour === 2 ? [] : [first + 5 * hour, first + 2 + 7 * hour];
        await workOrEnd(() => work({ ...options, failing: "all", aheadMs: hour * HOUR, killAt }));
      }
      const reached = new Set(begun());
      assert(reached.size <= 3, `${reached.size} portals have begun`);
      assert((await parked(storage)).length <= 3);
      const untouched = new Set(IDS.filter((id) => !reached.has(id)));
      const left = await storedOf(storage, untouched);
      for (const [key, version] of left) assert.equal(before.get(key), version, `${key} was written`);
      // Repaired and resumed.
      await operate(
        "2.0.0",
        (app) =>
          app.admin.rollout.resume("2.0.0", { ...OPERATOR, retryParked: true }).then(() =>
            app.admin.rollout.promote("2.0.0", OPERATOR)
          ),
      );
      for (let hour = 3; hour < 7; hour++) await work({ ...options, failing: "none", aheadMs: hour * HOUR });
      assert.deepEqual(await versionsOf(storage, IDS), { "2.0.0": PORTALS });
    });
  }
});

/** A process may have nothing more to write before it would kill itself. */
async function workOrEnd(work: () => Promise<void>): Promise<void> {
  await work().catch((error) => {
    if (!(error instanceof assert.AssertionError) || error.actual !== 0) throw error;
  });
}

it("failures of one portal in a hundred do not stop a rollout with percent: 5, however processes are killed", {
  timeout: 600_000,
}, async () => {
  await world(async ({ storage, work }) => {
    const order = inOrderOf("2.0.0", IDS);
    const failing = order.filter((_, i) => i % 100 === 50);
    const rollout: RolloutOptions = { stages: STAGES, pauseWhen: { failed: 3, percent: 5 } };
    const options = { version: "2.0.0", rollout, failing: failing.join(",") };
    for (let hour = 0; hour < 4; hour++) {
      await workOrEnd(() => work({ ...options, aheadMs: hour * HOUR, killAt: hour < 3 ? [40 + 100 * hour, 300] : [] }));
    }
    await work({ ...options, aheadMs: 4 * HOUR });
    assert.deepEqual(await versionsOf(storage, IDS), { "1.0.0": failing.length, "2.0.0": PORTALS - failing.length });
    assert.deepEqual((await parked(storage)).sort(), [...failing].sort());
  });
});

it("a lower version takes effect after the abort of a higher one", { timeout: 600_000 }, async () => {
  await world(async ({ storage, begun, work, operate }) => {
    const bad = { version: "2.0.0", rollout: { stages: [{ percent: 100 }] }, failing: "all" };
    await workOrEnd(() => work({ ...bad, killAt: [7, 12] }));
    await work({ ...bad, aheadMs: HOUR });
    await operate("2.0.0", async ({ admin }) => {
      await admin.rollout.abort("2.0.0", OPERATOR);
      for (const memberId of new Set(begun())) await admin.rollback(memberId, OPERATOR);
    });
    await work({ ...bad, aheadMs: 2 * HOUR });
    await work({ version: "1.9.1", rollout: { stages: [{ percent: 100 }] }, failing: "none", aheadMs: 3 * HOUR });
    assert.deepEqual(await versionsOf(storage, IDS), { "1.9.1": PORTALS });
  });
});
