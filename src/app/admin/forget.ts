/** Erasure: deletes everything that is stored of a portal but a tombstone. */
import { OnAppUpdateError } from "../../errors.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { withPortalLease } from "../../portal/exclusive.ts";
import { pluginPortalPrefix } from "../../portal/keys.ts";
import { deleteHistory, purgeRecord, purgeTokens } from "../../portal/purge.ts";
import type { PortalRecord } from "../../portal/record.ts";
import { loadPortal } from "../../portal/record_store.ts";
import { removed } from "../../portal/removal.ts";
import { removeUnverifiedBefore } from "../../portal/unverified.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { ActionParts } from "./actions.ts";

/** Erases a portal; see `Admin.forget`. */
export async function forget({ runtime, wake }: ActionParts, memberId: string): Promise<void> {
  await loadPortal(runtime.storage, memberId);
  const finished = await withPortalLease({ ...runtime, wake }, memberId, async (lease) => {
    const at = runtime.clock();
    // All of them: the clocks of processes that received some may be ahead.
    await removeUnverifiedBefore(runtime, memberId, Infinity);
    // The tombstone before the rest: after a crash, a further call deletes that.
    await lease.update((record) => tombstone(record, at));
    await purgeTokens(runtime, lease, at, "");
    await deleteHistory(runtime.storage, memberId);
    for (const { name } of runtime.plugins) await deleteAll(runtime, pluginPortalPrefix(name, memberId));
    runtime.log.info("portal forgotten", { event: "portal.forgotten", memberId });
  });
  if (finished === undefined) {
    throw new OnAppUpdateError("busy", `cannot forget portal ${memberId}: a worker is processing it; try again later`);
  }
}

/** Returns the record of a portal that only an installation makes known again. `at`: in milliseconds since 1970. */
function tombstone(record: PortalRecord, at: number): PortalRecord {
  // Reports that wait quote errors.
  const { reports: _, ...rest } = record;
  const { uninstalledTs = 0 } = record;
  const gone = removed(rest, { ts: Math.max(Math.floor(at / 1000), uninstalledTs) });
  return { ...purgeRecord(gone), forgottenAt: at };
}

async function deleteAll({ storage }: AppRuntime, prefix: readonly string[]): Promise<void> {
  for await (const key of listKeys(storage, prefix)) await storage.delete(key);
}
