/** Portals that are parked or blocked, grouped by the reason. */
import { defined } from "../defined.ts";
import type { Portal } from "../portal/portal.ts";
import { type OperatorClient, take } from "./operator_client.ts";

/** Portals with one reason. */
export interface ReasonGroup {
  readonly count: number;
  /** The need of blocked portals. */
  readonly blockedOn?: string;
  readonly upgradeId?: string;
  readonly step?: string;
  /** That of the first portal. */
  readonly message: string;
  /** For `--error`. */
  readonly fingerprint?: string;
  /** The first portal. */
  readonly example: { readonly memberId: string; readonly domain: string };
}

/** Maximum number of portals that are grouped: a page of the operator API. */
const MAX_PORTALS = 1000;

/** Returns the groups of the first 1,000 portals in this state, the largest first. */
export async function reasonsOf(client: OperatorClient, status: "parked" | "blocked"): Promise<readonly ReasonGroup[]> {
  const { items } = await take<Portal>(client, "/portals", { status }, MAX_PORTALS);
  const groups = new Map<string, ReasonGroup>();
  for (const portal of items) {
    const group = groupOf(portal, status);
    const key = JSON.stringify([group.blockedOn, group.upgradeId, group.step, group.fingerprint ?? group.message]);
    const before = groups.get(key);
    groups.set(key, before === undefined ? group : { ...before, count: before.count + 1 });
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}

function groupOf({ memberId, domain, failure, blocked }: Portal, status: "parked" | "blocked"): ReasonGroup {
  const example = { memberId, domain };
  if (status === "blocked") {
    return { count: 1, message: blocked?.message ?? "", example, ...defined({ blockedOn: blocked?.on }) };
  }
  const { upgradeId, step, fingerprint, message = "the handlers of an event have failed" } = failure ?? {};
  return { count: 1, message, example, ...defined({ upgradeId, step, fingerprint }) };
}
