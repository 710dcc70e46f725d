import assert from "node:assert/strict";
import { type App, createApp, deployed, memoryStorage, type Storage } from "@b24/onappupdate";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { quietLogger, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

function record(memberId: string, version: string, more: Partial<PortalRecord> = {}): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId, domain: "x.bitrix24.de", status: "installed", generation: 1, applied: [] },
    ...{ installedTs: 1, latestTs: 1, initialVersion: version, version, target: version, ...more },
  };
}

const run = (upgradeId: string) => ({
  run: { id: "1", from: "1.0.0", startedAt: 1, upgrades: [upgradeId], current: { upgradeId } },
});

const PORTALS: readonly PortalRecord[] = [
  record("a", "1.0.0"),
  record("b", "1.0.0", { target: "3.0.0", ...run("2") }),
  record("c", "2.0.0", {
    ...{ target: "3.0.0", ...run("3") },
    failure: { upgradeId: "3", to: "3.0.0", message: "no", attempts: 3, at: 1 },
  }),
  record("d", "1.0.0", {
    ...{ target: "3.0.0", ...run("2") },
    applied: [{ id: "2", from: "1.0.0", to: "3.0.0", at: 1 }],
    blocked: { on: "scope", message: "no", since: 1, nextTryAt: 2 },
  }),
  record("e", "2.0.0", { target: "3.0.0", ...run("gone") }),
  record("f", "3.0.0"),
  record("g", "1.0.0", { status: "uninstalled", target: "3.0.0" }),
];

async function appOf(versions?: ReturnType<typeof deployed>): Promise<App> {
  const storage: Storage = memoryStorage();
  const app = createApp({
    ...{ storage, logger: quietLogger, checks: false as const, tickEveryMs: false as const },
    ...(versions && { versions }),
  }).use(trustAll).upgrade("2", () => {}).upgrade("3", () => {});
  // As another process has stored them: through the app's storage, so that its totals know them.
  for (const one of PORTALS) await writeRecord(storage, one.memberId, () => ({ record: one }));
  return app;
}

describe("admin.upgrades()", () => {
  it("counts the portals that need each upgrade, and lists what the code no longer has", async () => {
    const app = await appOf();
    assert.deepEqual(await app.admin.upgrades(), [
      { id: "2", range: "2", due: 1, running: 1, blocked: 1, parked: 0 },
      { id: "3", range: "3", due: 4, running: 0, blocked: 0, parked: 1 },
      { id: "gone", due: 0, running: 1, blocked: 0, parked: 0 },
    ]);
    await app.close();
  });

  it("counts portals that a deploy has not raised yet, by the totals", async () => {
    const app = await appOf(deployed("3"));
    await app.settled();
    const [second] = await app.admin.upgrades();
    assert.equal(second!.id, "2");
    await app.close();
  });
});
