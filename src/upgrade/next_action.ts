/** The next action of a portal's run: one pure function of its record, the registered upgrades, the time and the code. */
import { waitingInstaller } from "../portal/installer.ts";
import type { PortalFailure } from "../portal/portal.ts";
import { blockedFrom, isVersionUnknown } from "../portal/origin.ts";
import type { PortalRecord } from "../portal/record.ts";
import { tokenScopesOf } from "../portal/stored_credentials.ts";
import { compareVersions } from "../version.ts";
import type { Upgrade } from "./definition.ts";
import { dueUpgrades, isUpgradeDue } from "./plan.ts";

/** Delay (ms) before this code retries what only newer code can do. */
export const NEWER_CODE_RETRY_MS = 60_000;

/** An action that a worker can take now. */
export type DueAction =
  /** Run this upgrade. */
  | { readonly action: "run"; readonly upgrade: Upgrade }
  /** Move the version to the target: no upgrade is due. */
  | { readonly action: "complete" }
  /** Record that the portal is blocked: the next upgrade needs scopes that the portal has not granted. */
  | { readonly action: "block"; readonly on: "scope"; readonly message: string };

/** The next action of a portal. */
export type NextAction =
  | DueAction
  /** Nothing before `until`, in milliseconds since 1970. */
  | {
    readonly action: "wait";
    readonly until: number;
    readonly why: "newer_code" | "blocked" | "retry" | "sleep";
  }
  /** Nothing until the handlers of the portal's ONAPPINSTALL have succeeded. */
  | { readonly action: "install" }
  /**
   * Nothing until an operator acts or the target changes: an upgrade failed permanently. Nothing until an operator acts: a
   * rollback is not finished.
   */
  | { readonly action: "parked" }
  /** Nothing: the portal is on its target, its version or target is unknown, or the app was removed. */
  | { readonly action: "none" };

/** Returns the next action. `latest` is the highest version that this code knows, if it says so. */
export function nextAction(
  record: PortalRecord,
  upgrades: readonly Upgrade[],
  now: number,
  latest: string | undefined,
): NextAction {
  // Steps that are undone would run again under their old idempotency keys, and those that are not would count as done.
  if (record.status === "installed" && record.run?.isRollingBack) return { action: "parked" };
  const { failure, run, blocked } = record;
  if (isVersionUnknown(record)) {
    return { action: "wait", until: blocked?.nextTryAt ?? Math.max(now, blockedFrom(record)), why: "blocked" };
  }
  if (!isBelowTarget(record)) return { action: "none" };
  const { target } = record;
  // This code lacks upgrades up to the target: it would move the version without running them.
  if (latest !== undefined && compareVersions(latest, target) < 0) {
    return { action: "wait", until: now + NEWER_CODE_RETRY_MS, why: "newer_code" };
  }
  if (waitingInstaller(record) !== undefined) return { action: "install" };
  if (blocked !== undefined && blocked.nextTryAt > now) {
    return { action: "wait", until: blocked.nextTryAt, why: "blocked" };
  }
  if (failure !== undefined && isCurrent(failure, record, upgrades)) {
    if (failure.retryAt === undefined) return { action: "parked" };
    if (failure.retryAt > now) return { action: "wait", until: failure.retryAt, why: "retry" };
  }
  if (run?.wakeAt !== undefined && run.wakeAt > now) return { action: "wait", until: run.wakeAt, why: "sleep" };
  const [upgrade] = dueUpgrades(upgrades, record);
  if (upgrade === undefined) return { action: "complete" };
  const missing = missingScopes(record, upgrade);
  if (missing.length > 0) {
    return { action: "block", on: "scope", message: `upgrade ${upgrade.id} needs ${missing.join(", ")}` };
  }
  return { action: "run", upgrade };
}

/** Returns whether a worker can take the action now. */
export function isDue(next: NextAction): next is DueAction {
  return next.action === "run" || next.action === "complete" || next.action === "block";
}

/** Returns whether the app is installed on the portal, and its version is known to be below its target. */
export function isBelowTarget(
  record: PortalRecord,
): record is PortalRecord & { readonly version: string; readonly target: string } {
  const { status, version, target } = record;
  return status === "installed" && version !== undefined && target !== undefined &&
    compareVersions(version, target) < 0;
}

/** A failure no longer counts once the target has changed, or its upgrade was skipped or removed from the code. */
function isCurrent({ to, upgradeId }: PortalFailure, record: PortalRecord, upgrades: readonly Upgrade[]): boolean {
  return to === record.target && (upgradeId === undefined || isUpgradeDue(upgrades, record, upgradeId));
}

/** Returns the scopes that the upgrade requires and the portal has not granted. */
export function missingScopes(record: PortalRecord, upgrade: Upgrade): readonly string[] {
  const granted = record.scope ?? tokenScopesOf(record);
  return upgrade.scope.filter((name) => !granted.includes(name));
}
