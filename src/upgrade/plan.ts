/** Which upgrades a portal needs, in which order. */
import { compareVersions } from "../version.ts";
import { compareMilestones, type Upgrade } from "./definition.ts";

/** An upgrade in a plan. */
export interface PlannedUpgrade {
  /** Its id. */
  readonly id: string;
  /** Its range, as it was registered. */
  readonly range: string;
}

/** What would run for a portal. */
export interface Plan {
  /** Version the portal is on; absent while nothing has told. */
  readonly from?: string;
  /** Version it should be on. */
  readonly to?: string;
  /** `down` never runs anything: the portal stays where it is. */
  readonly direction: "up" | "none" | "down";
  /** In the order in which they run. */
  readonly upgrades: readonly PlannedUpgrade[];
  /** Those that would run if they had not been applied already. */
  readonly skipped: readonly PlannedUpgrade[];
}

/** Where a portal is and where it should be. */
export interface UpgradePath {
  readonly version?: string;
  readonly target?: string;
  readonly applied?: readonly { readonly id: string }[];
}

/** The upgrades that `journey` needs and has not had: by milestone, then as they were registered. */
export function dueUpgrades<U extends Upgrade>(upgrades: readonly U[], journey: UpgradePath): U[] {
  const applied = new Set(journey.applied?.map(({ id }) => id));
  return covering(upgrades, journey).filter(({ id }) => !applied.has(id));
}

/** The same for people. */
export function makePlan(upgrades: readonly Upgrade[], journey: UpgradePath): Plan {
  const { version, target } = journey;
  const due = new Set(dueUpgrades(upgrades, journey));
  const planned = ({ id, range }: Upgrade): PlannedUpgrade => ({ id, range });
  const order = version === undefined || target === undefined ? 0 : compareVersions(target, version);
  return {
    ...(version === undefined ? {} : { from: version }),
    ...(target === undefined ? {} : { to: target }),
    direction: order > 0 ? "up" : order < 0 ? "down" : "none",
    upgrades: [...due].map(planned),
    skipped: covering(upgrades, journey).filter((upgrade) => !due.has(upgrade)).map(planned),
  };
}

function covering<U extends Upgrade>(upgrades: readonly U[], { version, target }: UpgradePath): U[] {
  if (version === undefined || target === undefined || compareVersions(version, target) >= 0) return [];
  return upgrades.filter((upgrade) => upgrade.covers(version, target))
    .sort((a, b) => compareMilestones(a.milestone, b.milestone));
}
