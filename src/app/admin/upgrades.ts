/** The upgrades that the code registers, and the portals that need them. */
import type { RegisteredUpgrade } from "../../plugin/admin_reports.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import type { PortalState } from "../../portal/portal.ts";
import { type PortalRecord, portalState } from "../../portal/record.ts";
import type { Totals } from "../../portal/totals.ts";
import type { Upgrade } from "../../upgrade/definition.ts";
import { dueUpgrades } from "../../upgrade/plan.ts";
import { compareVersions } from "../../version.ts";
import { matchingRecords } from "./portals.ts";

type Counts = { -readonly [Member in keyof Omit<RegisteredUpgrade, "id" | "range">]: number };

/** The states of portals that are not on their target. */
const ON_THE_WAY: readonly PortalState[] = ["upgrading", "blocked", "parked"];

/** Number of records that are read at a time. */
const PAGE = 1000;

/** Returns the status of all upgrades, those that the code does not register last; see `Admin.upgrades`. */
export async function registeredUpgrades(
  runtime: AppRuntime,
  upgrades: readonly Upgrade[],
  totals: Pick<Totals, "counts">,
): Promise<RegisteredUpgrade[]> {
  const { deployed } = runtime.versions;
  const byId = new Map<string, Counts>(upgrades.map(({ id }) => [id, { due: 0, running: 0, blocked: 0, parked: 0 }]));
  // Portals that a sweep has not raised yet are on an older target.
  const isRaised = (target: string): boolean => deployed !== undefined && compareVersions(deployed, target) > 0;
  for (const { version, status, count } of await totals.counts()) {
    if (status !== "current" || version === undefined || !isRaised(version)) continue;
    for (const { id } of dueUpgrades(upgrades, { version, target: deployed! })) byId.get(id)!.due += count;
  }
  for (const status of ON_THE_WAY) {
    let after: string | undefined;
    do {
      const page = await matchingRecords(runtime.storage, { status }, { limit: PAGE, ...(after && { after }) });
      for (const record of page.records) {
        const { target } = record;
        const path = target !== undefined && isRaised(target) ? { ...record, target: deployed! } : record;
        for (const { id } of dueUpgrades(upgrades, path)) byId.get(id)!.due++;
        countBegun(byId, record);
      }
      after = page.next;
    } while (after !== undefined);
  }
  const rangeOf = new Map(upgrades.map(({ id, range }) => [id, range]));
  return Array.from(byId, ([id, counts]) => ({ id, ...(rangeOf.has(id) && { range: rangeOf.get(id)! }), ...counts }));
}

function countBegun(byId: Map<string, Counts>, record: PortalRecord): void {
  const state = portalState(record);
  const id = state === "parked" ? record.failure?.upgradeId : record.run?.current?.upgradeId;
  if (id === undefined || !ON_THE_WAY.includes(state)) return;
  const counts = byId.get(id) ?? { due: 0, running: 0, blocked: 0, parked: 0 };
  byId.set(id, counts);
  counts[state === "upgrading" ? "running" : state as "blocked" | "parked"]++;
}
