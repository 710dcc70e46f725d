/** The state of all portals of an app. */
import type { Pause } from "../plugin/admin_reports.ts";
import type { AppHealth } from "../plugin/app_health.ts";
import type { StuckGroup } from "../plugin/admin_pages.ts";
import type { RolloutStatus } from "../plugin/rollout.ts";
import type { PortalCount } from "../portal/totals.ts";
import type { OperatorClient } from "./operator_client.ts";
import { COUNTED_STATES } from "./portal_filter.ts";
import type { Rate } from "./rate.ts";

/** Portals with one cause. */
export type ReasonGroup = Omit<StuckGroup, "status">;

/** Maximum number of causes that are read: a page of the operator API. */
const MAX_GROUPS = 100;

/** The state of all portals of an app. */
export interface Status {
  readonly app: string;
  readonly at: number;
  readonly counts: readonly PortalCount[];
  readonly totals: Readonly<Record<PortalCount["status"], number>>;
  readonly pause?: Pause;
  /** The running rollout, or the last one; absent if all are aborted. */
  readonly rollout?: RolloutStatus;
  /** Portals by what stops them, the most frequent first, of the 100 most frequent causes. */
  readonly parked: readonly ReasonGroup[];
  readonly blocked: readonly ReasonGroup[];
  /** Events that wait for their verification, if no portal is known. */
  readonly unverified?: number;
  /** While it is watched. */
  readonly rate?: Rate;
}

/** Reads it. `at` is the present time. */
export async function readStatus(client: OperatorClient, at: number): Promise<Status> {
  const [{ items: counts }, { pause }, { rollout }, { items: stuck }] = await Promise.all([
    client.get<{ readonly items: readonly PortalCount[] }>("/counts"),
    client.get<{ readonly pause?: Pause }>("/pause"),
    client.get<{ readonly rollout?: RolloutStatus }>("/rollout"),
    client.get<{ readonly items: readonly StuckGroup[] }>("/stuck", { limit: MAX_GROUPS }),
  ]);
  const totals = Object.fromEntries(COUNTED_STATES.map((state) => [state, 0])) as Record<PortalCount["status"], number>;
  for (const { status, count } of counts) totals[status] += count;
  const groupsOf = (state: StuckGroup["status"]): readonly ReasonGroup[] =>
    stuck.filter(({ status }) => status === state).map(({ status: _, ...group }) => group);
  const health = counts.length === 0 ? await client.get<Pick<AppHealth, "unverified">>("/health") : undefined;
  return {
    app: client.name,
    at,
    counts,
    totals,
    ...health !== undefined && { unverified: health.unverified.events },
    ...pause !== undefined && { pause },
    ...rollout !== undefined && { rollout },
    parked: groupsOf("parked"),
    blocked: groupsOf("blocked"),
  };
}
