/** Erasure: deletes everything that is stored of a portal but a tombstone. */
import { OnAppUpdateError } from "../../errors.ts";
import type { Outbox } from "../../outbox/outbox.ts";
import { forgottenPortal } from "../../plugin/forgotten_portal.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { withPortalLease } from "../../portal/exclusive.ts";
import { pluginPortalPrefix } from "../../portal/keys.ts";
import { deleteHistory, purgeForgotten, purgeRecord } from "../../portal/purge.ts";
import { receivedAfter } from "../../portal/receipt.ts";
import type { PortalRecord } from "../../portal/record.ts";
import { loadPortal } from "../../portal/record_store.ts";
import { removed } from "../../portal/removal.ts";
import { removeUnverifiedBefore } from "../../portal/unverified.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { ActionParts } from "./actions.ts";

/** The parts of an app that {@linkcode forget} uses. */
interface ForgetParts extends ActionParts {
  readonly outbox: Pick<Outbox, "forget">;
  /** Sets the plugins up. */
  readonly setUp: () => Promise<void>;
}

/** Erases a portal; see `Admin.forget`. */
export async function forget({ runtime, wake, outbox, setUp }: ForgetParts, memberId: string): Promise<void> {
  const { domain, indexedAs } = await loadPortal(runtime.storage, memberId);
  const portal = forgottenPortal(memberId, [domain, ...indexedAs?.former ?? []]);
  // Operators may use an app that was neither started nor set up.
  if (runtime.plugins.some((plugin) => plugin.forget !== undefined)) await setUp();
  const finished = await withPortalLease({ ...runtime, wake }, memberId, async (lease) => {
    const at = runtime.clock();
    // All of them: the clocks of processes that received some may be ahead.
    await removeUnverifiedBefore(runtime, memberId, Infinity);
    // The tombstone before the rest: after a crash, a further call deletes that.
    const { generation } = await lease.update((record) => tombstone(record, at));
    await purgeForgotten(runtime, lease, at, generation);
    await removeUnverifiedBefore(runtime, memberId, at);
    await deleteHistory(runtime.storage, memberId);
    for (const { name } of runtime.plugins) await deleteAll(runtime, pluginPortalPrefix(name, memberId));
    // Plugins first: what they have not put into the outbox yet has no name then.
    for (const plugin of runtime.plugins) await plugin.forget?.(portal);
    await outbox.forget(portal);
    runtime.log.info("portal forgotten", { event: "portal.forgotten", memberId });
  });
  if (finished === undefined) {
    throw new OnAppUpdateError("busy", `cannot forget portal ${memberId}: a worker is processing it; try again later`);
  }
}

/** Returns the record of a portal that only an installation makes known again. `at`: in milliseconds since 1970. */
function tombstone(record: PortalRecord, at: number): PortalRecord {
  const { reports, ...rest } = record;
  // Others quote errors. After a crash, observers may not have been notified of the removal.
  const kept = reports?.filter(({ change }) => change.kind === "portalRemoved") ?? [];
  // The clock of this process may be behind what the record has seen.
  const gone = removed(rest, { ts: Math.floor(receivedAfter(record, at) / 1000) });
  return { ...purgeRecord(gone), forgottenAt: at, ...(kept.length > 0 && { reports: kept }) };
}

async function deleteAll({ storage }: AppRuntime, prefix: readonly string[]): Promise<void> {
  for await (const key of listKeys(storage, prefix)) await storage.delete(key);
}
