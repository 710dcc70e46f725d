/** Lists and counts of portals. */
import { defined } from "../../defined.ts";
import { portalKey } from "../../portal/keys.ts";
import type { Portal } from "../../portal/portal.ts";
import { type PortalRecord, readRecord, snapshot } from "../../portal/record.ts";
import { listIndexed, type PortalState } from "../../portal/state_index.ts";
import type { Storage } from "../../storage/storage.ts";

/** Selects portals for {@linkcode Admin.portals}; members that are left out select all. */
export interface PortalFilter {
  /** Only portals on this version, spelled as in `portal.version`. */
  readonly version?: string;
  /** Only portals in this state. */
  readonly status?: PortalState;
  /** Only portals after this `member_id`; pass the last one of a page to get the next page. */
  readonly after?: string;
  /**
   * Maximum number of portals.
   *
   * @default 100
   */
  readonly limit?: number;
}

/** The number of portals that are on one version in one state. */
export interface PortalCount {
  /** Absent for portals whose version is not known. */
  readonly version?: string;
  /** The state of these portals. */
  readonly status: PortalState;
  /** At least 1. */
  readonly count: number;
}

/** Returns the portals that match, in the order of their `member_id`. */
export async function listPortals(storage: Storage, filter: PortalFilter = {}): Promise<Portal[]> {
  const { version, status, after, limit = 100 } = filter;
  const portals: Portal[] = [];
  for await (const indexed of listIndexed(storage, after)) {
    if (portals.length >= limit) break;
    if (version !== undefined && indexed.version !== version) continue;
    if (status !== undefined && indexed.state !== status) continue;
    const record = readRecord(await storage.get<PortalRecord>(portalKey(indexed.memberId)));
    if (record !== undefined) portals.push(snapshot(record));
  }
  return portals;
}

/** Returns the counts in the order of state and version. */
export async function countPortals(storage: Storage): Promise<PortalCount[]> {
  const counts = new Map<string, PortalCount>();
  for await (const { state, version } of listIndexed(storage)) {
    const key = `${state} ${version ?? ""}`;
    const count = (counts.get(key)?.count ?? 0) + 1;
    counts.set(key, { status: state, count, ...defined({ version }) });
  }
  return [...counts.keys()].sort().map((key) => counts.get(key)!);
}
