/** The reports that a change of a portal's record causes. Pure functions. */
import { defined } from "../defined.ts";
import { compareVersions } from "../version.ts";
import type { ClaimKind } from "./claims.ts";
import type { PortalBlock } from "./portal.ts";
import { blockOf, type PortalRecord } from "./record.ts";
import type { StateChange } from "./stored_report.ts";

/** Maximum length of a message in a report: a record has to hold many of them. */
const MAX_MESSAGE_LENGTH = 500;

/** Returns what has changed in the state of a portal, in the order in which it happened. */
export function stateChanges(before: PortalRecord | undefined, after: PortalRecord): readonly StateChange[] {
  const isSame = before !== undefined && before.generation === after.generation;
  const changes: (StateChange | undefined)[] = [];
  if (isSame) changes.push(upgraded(before, after), ...droppedClaims(before, after));
  if (before !== undefined) changes.push(removal(before, after));
  if (after.status === "installed") changes.push(...standstill(isSame ? before : undefined, after));
  return changes.filter((change) => change !== undefined);
}

function upgraded({ version: from }: PortalRecord, { version: to }: PortalRecord): StateChange | undefined {
  const isHigher = from !== undefined && to !== undefined && from !== to && compareVersions(to, from) > 0;
  return isHigher ? { kind: "portalUpgraded", from, to } : undefined;
}

function droppedClaims({ claims = {} }: PortalRecord, after: PortalRecord): readonly StateChange[] {
  return (Object.keys(claims) as ClaimKind[])
    .filter((kind) => claims[kind]!.settled === undefined && after.claims?.[kind]?.settled?.as === "dropped")
    .map((claim) => ({
      ...{ kind: "claimDropped", claim },
      ...defined({ version: claims[claim]!.version ?? claims[claim]!.raw }),
    }));
}

function removal(before: PortalRecord, after: PortalRecord): StateChange | undefined {
  // It may be installed anew by the same write. Generation 0 is a portal whose installation is not known yet.
  const isOver = after.status === "uninstalled" || (before.generation > 0 && after.generation > before.generation);
  if (before.status !== "installed" || !isOver) return undefined;
  const confirmed = after.removalBelievedAt === undefined;
  return { kind: "portalRemoved", confirmed, ...defined({ version: before.version }) };
}

/** Returns the begins and ends of a block and of a parking. `before`: of the same installation. */
function standstill(before: PortalRecord | undefined, after: PortalRecord): readonly (StateChange | undefined)[] {
  const [was, is] = [before && toldBlockOf(before), toldBlockOf(after)];
  return [
    was !== undefined && is === undefined ? { kind: "portalUnblocked", on: was.on, since: was.since } : undefined,
    before !== undefined && isParked(before) && !isParked(after) ? resumed(after) : undefined,
    is !== undefined && is.on !== was?.on ? blocked(is) : undefined,
    isParked(after) && !(before !== undefined && isParked(before)) ? parked(after) : undefined,
  ];
}

/** A portal that waits for its rollout is not told: thousands may. */
function toldBlockOf(record: PortalRecord): PortalBlock | undefined {
  const block = blockOf(record);
  return block?.on === "rollout" ? undefined : block;
}

/** Returns whether an operator has to act before the portal can reach its target. */
function isParked({ version, target, failure }: PortalRecord): boolean {
  return version !== target && failure !== undefined && failure.to === target && failure.retryAt === undefined;
}

function resumed({ version, target }: PortalRecord): StateChange | undefined {
  return version === undefined || target === undefined
    ? undefined
    : { kind: "portalResumed", from: version, to: target };
}

function blocked({ on, message, since, nextTryAt }: PortalBlock): StateChange {
  return { kind: "portalBlocked", on, message: cut(message), since, ...defined({ nextTryAt }) };
}

/** A portal that an operator has rolled back, which is no failure, has no attempts. */
function parked({ version, target, failure }: PortalRecord): StateChange | undefined {
  if (version === undefined || target === undefined || failure === undefined || failure.attempts === 0) {
    return undefined;
  }
  const { upgradeId, step, attempts, message, error, fingerprint } = failure;
  return {
    ...{ kind: "portalParked", from: version, to: target },
    failure: { attempts, message: cut(message), ...defined({ upgradeId, step, error, fingerprint }) },
  };
}

function cut(message: string): string {
  return message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH - 1)}…` : message;
}
