/** The upgrades that a portal needs, in the order in which they run. */
import { defined } from "../defined.ts";
import { compareVersions } from "../version.ts";
import { compareThresholds, type Upgrade } from "./definition.ts";

/** An upgrade in a plan. */
export interface PlannedUpgrade {
  /** Id of the upgrade. */
  readonly id: string;
  /** Range of the upgrade, as registered. */
  readonly range: string;
}

/** The result of `app.plan`: the upgrades that would run for a portal. */
export interface Plan {
  /** Version that the portal is on; absent while it is unknown. */
  readonly from?: string;
  /** Version that the portal should be on; absent while it is unknown. */
  readonly to?: string;
  /** `"down"` never runs an upgrade: the portal stays on its version. */
  readonly direction: "up" | "none" | "down";
  /** Upgrades that would run, in this order. */
  readonly upgrades: readonly PlannedUpgrade[];
  /** Upgrades that are not repeated because the current run has applied them. */
  readonly skipped: readonly PlannedUpgrade[];
  /** Why the rollout of a new version holds the portal: the upgrades to `to` run once it has reached it. Absent otherwise. */
  readonly held?: string;
}

/** The part of a portal's record that decides which upgrades it needs. */
export interface UpgradePath {
  readonly version?: string;
  readonly target?: string;
  readonly applied?: readonly { readonly id: string }[];
}

/** Returns the upgrades that are needed and that the run has not applied yet, by threshold, then in the order of registration. */
export function dueUpgrades<U extends Upgrade>(upgrades: readonly U[], path: UpgradePath): U[] {
  const applied = new Set(path.applied?.map(({ id }) => id));
  return neededUpgrades(upgrades, path).filter(({ id }) => !applied.has(id));
}

/** Returns whether the upgrade with this id is due. */
export function isUpgradeDue(upgrades: readonly Upgrade[], path: UpgradePath, upgradeId: string): boolean {
  return dueUpgrades(upgrades, path).some(({ id }) => id === upgradeId);
}

/** Returns what `app.plan` reports. */
export function makePlan(upgrades: readonly Upgrade[], path: UpgradePath): Plan {
  const { version, target } = path;
  const due = new Set(dueUpgrades(upgrades, path));
  const planned = ({ id, range }: Upgrade): PlannedUpgrade => ({ id, range });
  const order = version === undefined || target === undefined ? 0 : compareVersions(target, version);
  return {
    ...defined({ from: version, to: target }),
    direction: order > 0 ? "up" : order < 0 ? "down" : "none",
    upgrades: [...due].map(planned),
    skipped: neededUpgrades(upgrades, path).filter((upgrade) => !due.has(upgrade)).map(planned),
  };
}

/** Returns the upgrades that are needed, whether or not the run has applied them. None is needed up to the version. */
function neededUpgrades<U extends Upgrade>(upgrades: readonly U[], { version, target }: UpgradePath): U[] {
  if (version === undefined || target === undefined || compareVersions(version, target) >= 0) return [];
  return upgrades.filter((upgrade) => upgrade.covers(version, target))
    .sort((a, b) => compareThresholds(a.threshold, b.threshold));
}
