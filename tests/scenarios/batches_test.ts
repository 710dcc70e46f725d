import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type App, createApp } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { PORTAL_FORMAT, type PortalRecord } from "../../src/portal/record.ts";
import { writeRecord } from "../../src/portal/record_store.ts";
import { quietLogger, trustAll } from "../support/app.ts";
import { OPERATOR } from "../support/operator.ts";
import { run } from "../support/process.ts";
import { it } from "../support/test.ts";

/** 20000 in the long form. */
const PORTALS = Number(process.env.BATCH_PORTALS ?? "600");
const KILLS = 10;
const WORKER = "tests/scenarios/batch_worker.ts";
/** By how much (ms) the clock of each process is ahead of the one before. */
const AHEAD_MS = 125_000;

function parked(memberId: string): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId, domain: "x.bitrix24.de", status: "installed", generation: 1, applied: [] },
    ...{ installedTs: 1, latestTs: 1, initialVersion: "2.0.0", version: "2.0.0", target: "3.0.0" },
    failure: { upgradeId: "3", to: "3.0.0", message: "no", fingerprint: "f00d", attempts: 3, at: 1 },
  };
}

it(`a batch operation over ${PORTALS} portals whose process is killed ${KILLS} times acts on each once`, async () => {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-batch-"));
  const path = join(folder, "portals.db");
  try {
    const ids = Array.from({ length: PORTALS }, (_, i) => String(i).padStart(32, "0"));
    const storage = fileStorage({ path });
    const app = createApp({ storage, logger: quietLogger, checks: false, tickEveryMs: false }).use(trustAll);
    await Promise.all(ids.map((id) => writeRecord(storage, id, () => ({ record: parked(id) }))));
    const { id } = await app.admin.batches.start({
      ...{ action: "skip", upgradeId: "3", match: { fingerprint: "f00d" }, expect: PORTALS, ...OPERATOR },
    });
    for (let killed = 1; killed <= KILLS; killed++) {
      // Each process gets through a few pages.
      const killAt = Math.ceil(PORTALS / 3 / KILLS) + 37 * killed;
      const { exited, output } = run(WORKER, { args: [path, String(killed * AHEAD_MS), String(killAt)] });
      assert.equal(await exited, null, output());
    }
    const last = run(WORKER, { args: [path, String((KILLS + 1) * AHEAD_MS), "0"] });
    assert.equal(await last.exited, 0, last.output());

    const [batch] = await app.admin.batches.list();
    const { state, done, refused, changed } = batch!;
    assert.deepEqual([batch!.id, state, done, refused, changed], [id, "finished", PORTALS, 0, 0]);
    for (const memberId of ids) {
      const { version } = (await app.portal(memberId))!;
      const [finished] = await app.admin.runs(memberId);
      assert.deepEqual([version, finished?.applied.map(({ id, skipped }) => [id, skipped])], ["3.0.0", [["3", true]]]);
    }
    assert.deepEqual((await auditedPortals(app)).toSorted(), ids);
    await app.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Returns the portals of all entries of the audit log that are done. */
async function auditedPortals({ admin }: Pick<App, "admin">): Promise<string[]> {
  const portals: string[] = [];
  let after: string | undefined;
  do {
    const page = await admin.audit({ action: "skip", limit: 1000, ...(after !== undefined && { after }) });
    for (const { memberId, outcome } of page.items) if (outcome === "done") portals.push(memberId!);
    after = page.next;
  } while (after !== undefined);
  return portals;
}
