/** The runs of a portal, as operators see them. */
import { defined } from "../../defined.ts";
import type { FinishedRun, RecordedRun } from "../../plugin/admin_history.ts";
import { readJournals } from "../../portal/journal.ts";
import { portalKey } from "../../portal/keys.ts";
import { type PortalRecord, readRecord } from "../../portal/record.ts";
import { listRuns, type StoredRun } from "../../portal/run_history.ts";
import { stepsIn } from "../../portal/run_steps.ts";
import type { Storage } from "../../storage/storage.ts";

/** Returns the finished runs of a portal that are kept, the latest first. */
export async function listFinishedRuns(storage: Storage, memberId: string): Promise<FinishedRun[]> {
  const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
  return record === undefined ? [] : await finishedRuns(storage, record);
}

/** Returns the current run of a portal, if there is one, and the finished runs that are kept, the latest first. */
export async function listAllRuns(storage: Storage, record: PortalRecord): Promise<RecordedRun[]> {
  const { memberId, generation, run, target, applied } = record;
  const finished = await finishedRuns(storage, record);
  if (run === undefined || target === undefined) return finished;
  const { id, from, startedAt, upgrades, calls } = run;
  const current = { id, generation, from, to: target, startedAt, applied, upgrades, ...defined({ calls }) };
  // A run that is being rolled back is listed once.
  return [await withSteps(storage, memberId, current), ...finished.filter((other) => other.id !== id)];
}

async function finishedRuns(storage: Storage, record: PortalRecord): Promise<FinishedRun[]> {
  const runs: FinishedRun[] = [];
  for (const { format: _, ...run } of await listRuns(storage, record)) {
    runs.push(await withSteps(storage, record.memberId, run));
  }
  return runs;
}

/** Returns a run with the steps of its upgrades, which are in their journals. */
async function withSteps<Run extends Pick<StoredRun, "id" | "upgrades" | "calls">>(
  storage: Storage,
  memberId: string,
  { upgrades, calls = {}, ...run }: Run,
): Promise<Omit<Run, "upgrades" | "calls"> & Pick<RecordedRun, "upgrades" | "calls">> {
  const journals = await readJournals(storage, memberId, run.id);
  return {
    ...run,
    upgrades: upgrades.map((upgradeId) => ({ upgradeId, steps: stepsIn(journals.get(upgradeId) ?? []) })),
    calls,
  };
}
