/** Many portals in all states, to compare what lists and counts cost among few and among many of them. */
import type { PortalFilter, Storage } from "@b24/onappupdate";
import { PORTAL_FORMAT, type PortalRecord } from "../../src/portal/record.ts";
import { writeRecord } from "../../src/portal/record_store.ts";
import { createTotals } from "../../src/portal/totals.ts";
import { quietLogger } from "./app.ts";
import { virtualTime } from "./time.ts";

/** Number of portals in each rare group, among any number of portals: what finds them must not read the others. */
const RARE = 20;

const DOMAIN = "p6.bitrix24.de";

/** A filter, and the number of portals that match it; `Infinity`: more than a page shows. */
export interface FilteredPage {
  readonly filter: PortalFilter;
  readonly matches: number;
}

const page = (filter: PortalFilter, matches: number = RARE): FilteredPage => ({ filter, matches });

/** Pages by each member of a filter, with a frequent and a rare value. */
export const PAGES: readonly FilteredPage[] = [
  page({}, Infinity),
  page({ status: "current" }, Infinity),
  page({ status: "parked" }, Infinity),
  page({ status: "blocked" }),
  page({ status: "uninstalled" }),
  page({ version: "2.0.0" }, Infinity),
  page({ version: "1.0.0" }),
  page({ blockedOn: "scope" }),
  page({ upgradeId: "3" }, Infinity),
  page({ upgradeId: "2.5.0" }),
  page({ fingerprint: "often" }, Infinity),
  page({ fingerprint: "seldom" }),
];

/** Pages by several members, one of which has a rare value. */
export const COMBINED_PAGES: readonly FilteredPage[] = [
  page({ version: "2.0.0", status: "blocked" }),
  page({ version: "2.0.0", blockedOn: "scope" }),
  page({ version: "2.0.0", status: "uninstalled" }),
  page({ version: "1.0.0", status: "current" }),
  page({ version: "1.0.0", upgradeId: "3" }, 0),
  page({ status: "blocked", fingerprint: "often" }, 0),
  page({ upgradeId: "2.5.0", status: "parked" }),
  page({ fingerprint: "seldom", upgradeId: "3", status: "parked", version: "2.0.0" }),
  page({ domain: DOMAIN, status: "current", version: "2.0.0" }, 1),
];

/** A look-up of one domain. */
export const LOOK_UP: FilteredPage = page({ domain: DOMAIN }, 1);

/** Stores `count` portals, which is a multiple of 200, and their totals. */
export async function storePortals(storage: Storage, count: number): Promise<void> {
  const totals = createTotals({ storage, time: virtualTime(), log: quietLogger });
  for (let start = 0; start < count; start += TOGETHER) {
    const records = Array.from({ length: Math.min(TOGETHER, count - start) }, (_, i) => recordOf(start + i, count));
    await Promise.all(records.map((record) => writeRecord(storage, record.memberId, () => ({ record }), null)));
  }
  await totals.close();
}

/** Number of records that are written together. */
const TOGETHER = 500;

/** Returns the record of portal `n`. Each group is spread evenly over the portals. */
function recordOf(n: number, count: number): PortalRecord {
  const group = n % (count / RARE);
  const parkedBy = (upgradeId: string, fingerprint: string): Partial<PortalRecord> => ({
    target: "3.0.0",
    failure: { upgradeId, to: "3.0.0", message: "no", attempts: 1, at: 1, fingerprint },
  });
  const rare: readonly Partial<PortalRecord>[] = [
    parkedBy("2.5.0", "other"),
    parkedBy("3", "seldom"),
    { target: "3.0.0", blocked: { on: "scope", message: "no", since: 1, nextTryAt: 2 } },
    { version: "1.0.0", target: "1.0.0" },
    { status: "uninstalled" },
  ];
  return {
    ...{ format: PORTAL_FORMAT, memberId: memberIdOf(n), domain: `p${n}.bitrix24.de`, status: "installed" },
    ...{ generation: 1, applied: [], installedTs: 1, latestTs: 1, version: "2.0.0", target: "2.0.0" },
    ...rare[group] ?? (n % 2 === 1 ? parkedBy("3", "often") : {}),
  };
}

/** Returns the member_id of portal `n`. The first digits vary most, as in real ones, which are digests. */
function memberIdOf(n: number): string {
  return Array.from(n.toString(16).padStart(32, "0")).reverse().join("");
}
