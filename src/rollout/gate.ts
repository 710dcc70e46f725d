/** The gate: whether a portal that is due may begin, or go on with, an upgrade now. Asked by the worker under the lease. */
import type { Admission, AppRuntime, GatedLease } from "../plugin/runtime.ts";
import { withBlock, withoutRolloutBlock } from "../portal/block.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { dueUpgrades } from "../upgrade/plan.ts";
import { type Breakers, limitsOf } from "./breakers.ts";
import type { StoredOptions } from "./options.ts";
import type { Permits } from "./permits.ts";
import { NO_UPGRADE } from "./slot_outcome.ts";
import { isReached, type TargetState } from "./target.ts";
import type { Targets } from "./targets.ts";
import { isOpen } from "./window.ts";

/** The parts of a rollout that know the rollouts of portals. */
export interface StateParts {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  /** The options of the code. */
  readonly given: StoredOptions;
  /** The kind of rollout of targets that customers raise. */
  readonly customerKind: "staged" | "breaker";
  readonly targets: Targets;
  /** Returns a rollout of a target that has none, as deployed versions before rollout control: only failures pause it. */
  readonly unstaged: (target: string) => TargetState;
}

/** The parts of a rollout that the gate uses. */
export interface GateParts extends StateParts {
  readonly breakers: Breakers;
  readonly permits: Permits;
  /** Called for a portal that waits because its upgrade has no free slot. */
  readonly onFull: () => void;
}

/** Why a portal may not go on. */
export interface Refusal {
  readonly why: string;
  /** The portal gets its former target again: nothing has begun, and the rollout raises targets by itself. */
  readonly isLowered: boolean;
}

/** Returns why the rollout of its target does not let a portal go on; `undefined` if it does. */
export function refusalOf(state: TargetState, record: PortalRecord, now: number): Refusal | undefined {
  const hasBegun = record.run !== undefined;
  const isLowered = state.kind === "deployed" && !hasBegun;
  const rollout = `the rollout of ${state.target}`;
  const refused = (why: string, isLowered = false): Refusal => ({ why: `${rollout} ${why}`, isLowered });
  if (state.state === "aborted") return refused("was aborted", isLowered);
  if (!hasBegun && !isReached(state, record.memberId)) return refused("has not reached the portal", isLowered);
  if (record.mayPassPause) return undefined;
  if (state.paused !== undefined) return refused(`is paused by ${state.paused.by}: ${state.paused.reason}`);
  const { window } = state.options;
  if (!hasBegun && window !== undefined && !isOpen(window, now)) return refused("waits for its window");
  return undefined;
}

/** Returns the id of the upgrade that a portal runs next on its way to `target`. */
export function nextUpgradeId(upgrades: readonly Upgrade[], record: PortalRecord, target: string | undefined): string {
  return dueUpgrades(upgrades, { ...record, ...(target !== undefined && { target }) })[0]?.id ?? NO_UPGRADE;
}

/** Returns the record with its version as target, if it has not begun. */
export function lowered(record: PortalRecord): PortalRecord {
  const { version, run, blocked, ...rest } = record;
  if (version === undefined || run !== undefined) return record;
  return { ...rest, version, target: version, ...(blocked !== undefined && blocked.on !== "rollout" && { blocked }) };
}

/** Returns the rollout of a portal's target. Customers' targets have one from the first portal on. */
export async function stateOf(
  { runtime, targets, given, customerKind }: StateParts,
  target: string,
): Promise<TargetState | undefined> {
  const known = await targets.get(target);
  if (known !== undefined || runtime.versions.deployed !== undefined) return known;
  return await targets.ensure(target, customerKind, given);
}

/** Lets a portal pass the gate; see `RolloutGate.admit`. */
export async function admit(
  parts: GateParts,
  lease: GatedLease,
): Promise<Admission> {
  const { runtime, given, upgrades, targets, breakers, permits, onFull } = parts;
  const record = lease.record();
  const { memberId, target } = record;
  const upgradeId = nextUpgradeId(upgrades, record, target);
  const { fencingToken } = lease;
  // Its upgrades are done.
  if (upgradeId === NO_UPGRADE && record.run !== undefined) return { state: "admitted" };
  if (permits.isAdmitted(memberId, upgradeId, fencingToken)) return { state: "admitted" };
  let state = await stateOf(parts, target!);
  let refusal = state && refusalOf(state, record, runtime.clock());
  if (refusal?.isLowered) {
    // The process that has raised the target may know of a later change, and does not raise it again.
    targets.forget();
    state = await stateOf(parts, target!);
    refusal = state && refusalOf(state, record, runtime.clock());
  }
  if (refusal?.isLowered) {
    await lease.update(lowered);
    runtime.log.info("target lowered", { event: "target.lowered", memberId, from: target, detail: refusal.why });
    return { state: "lowered" };
  }
  if (refusal !== undefined) return await blockedBy(runtime, lease, refusal.why);
  const isForced = record.mayPassPause === true;
  const trippedAt = breakers.known(upgradeId)?.trippedAt;
  // The slot that the rollout has taken for the portal.
  if (trippedAt === undefined && permits.admit(memberId, upgradeId, fencingToken)) return admitted(lease);
  const slot = permits.newSlot(target!);
  const limits = limitsOf(state?.options ?? given);
  const [result] = await breakers.take(upgradeId, [{ memberId, slot, limits, isForced }]);
  if (result === "taken") {
    permits.add(memberId, upgradeId, target!);
    permits.admit(memberId, upgradeId, fencingToken);
    return admitted(lease);
  }
  onFull();
  return await blockedBy(
    runtime,
    lease,
    result === "tripped"
      ? `the rollout of upgrade ${upgradeId} is paused: too many portals have failed`
      : `as many portals as may fail are in upgrade ${upgradeId}`,
  );
}

function admitted(lease: GatedLease): Admission {
  if (lease.record().blocked?.on === "rollout") lease.stage((record) => ({ record: withoutRolloutBlock(record) }));
  return { state: "admitted" };
}

async function blockedBy(
  { clock, log }: AppRuntime,
  lease: GatedLease,
  why: string,
): Promise<Admission> {
  await lease.update((record) => withBlock(record, "rollout", why, clock()));
  const { memberId, blocked } = lease.record();
  log.info("portal waits for its rollout", { event: "rollout.portal_waits", memberId, detail: why });
  return { state: "waits", nextAt: blocked!.nextTryAt };
}
