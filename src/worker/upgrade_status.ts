/** The status of a portal's upgrade, for people who wait for it. */
import { defined } from "../defined.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { claimState } from "../portal/event_claims.ts";
import { factsOf } from "../portal/event_facts.ts";
import { type Delivery, runsUpgrades } from "../portal/delivery.ts";
import { listInbox } from "../portal/inbox_list.ts";
import type { RunProgress } from "../portal/portal.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { nextAction } from "../upgrade/next_action.ts";
import { eventOf } from "./process_delivery.ts";

/** The status of a portal's upgrade. */
export interface UpgradeStatus {
  /**
   * `current`: the portal is on its target, and the handlers of its installation or update have succeeded. `upgrading`:
   * work is under way, or due. `blocked`: something has to happen on the portal first. `parked`: it has failed
   * permanently and waits for an operator. `held`: the rollout of a new version has not reached the portal, or is paused; it has
   * the data of an earlier version.
   */
  readonly state: "current" | "upgrading" | "blocked" | "parked" | "held";
  /** The progress that the running upgrade reports; absent if it reports none. */
  readonly progress?: RunProgress;
  /** Why the portal is blocked, parked or held, for operators, without tokens. */
  readonly message?: string;
  /** An update of the app is blocked, parked or held, and not its installation: the portal has the data of an earlier version. */
  readonly isUpdate?: true;
}

/** Returns the status of a portal. */
export async function upgradeStatus(
  runtime: AppRuntime,
  upgrades: readonly Upgrade[],
  record: PortalRecord,
): Promise<UpgradeStatus> {
  const { blocked, failure, run } = record;
  if (record.status === "uninstalled") return { state: "blocked", message: "the app was removed from the portal" };
  const { version, target } = record;
  const isUpdate = version !== target ? { isUpdate: true as const } : {};
  const held = blocked?.on === "rollout" ? blocked : await runtime.rollout?.heldBlock(record);
  if (held !== undefined) return { state: "held", message: held.message, isUpdate: true };
  if (blocked !== undefined) return { state: "blocked", message: blocked.message, ...isUpdate };
  const upgrading: UpgradeStatus = { state: "upgrading", ...defined({ progress: run?.progress }) };
  const next = nextAction(record, upgrades, runtime.clock(), runtime.versions.latest);
  switch (next.action) {
    case "parked":
      return { state: "parked", ...defined({ message: failure?.message }), ...isUpdate };
    case "block":
      return { state: "blocked", message: next.message, ...isUpdate };
    case "install":
      return await inboxStatus(runtime, record) ?? upgrading;
    case "none":
      return await inboxStatus(runtime, record) ?? { state: "current" };
    default:
      return upgrading;
  }
}

/** Returns the status of the installations and updates of a portal whose work is not done; `undefined` if there are none. */
async function inboxStatus(runtime: AppRuntime, record: PortalRecord): Promise<UpgradeStatus | undefined> {
  let status: UpgradeStatus | undefined;
  for await (const { id, delivery } of listInbox(runtime.storage, record)) {
    const { attempts, retryAt, error } = delivery;
    if (!runsUpgrades(id) || isOnlyClaimed(runtime, record, delivery)) continue;
    if (attempts > 0 && retryAt === undefined) {
      const isUpdate = id.startsWith("ONAPPUPDATE:") ? { isUpdate: true as const } : {};
      return { state: "parked", ...defined({ message: error }), ...isUpdate };
    }
    status = { state: "upgrading" };
  }
  return status;
}

/** Any user of the portal can claim a version: a page does not wait for such a claim. */
function isOnlyClaimed(runtime: AppRuntime, record: PortalRecord, delivery: Delivery): boolean {
  const { verification, receivedAt } = delivery;
  if (verification.claims === undefined) return false;
  try {
    return claimState(record, eventOf(delivery, record), factsOf(runtime, verification, receivedAt)) !== "work";
  } catch {
    // Newer code knows its version.
    return false;
  }
}
