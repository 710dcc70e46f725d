/** Which portals belong to a stage: by a hash of target and `member_id`, so that it is the same in every process. */
import type { RolloutStage } from "../plugin/rollout.ts";

/**
 * Returns the place of a portal in the order in which a target reaches portals: from 0 up to, but not including, 1. Stored
 * rollouts rely on it: it must never change.
 */
export function rolloutHash(target: string, memberId: string): number {
  const text = `${target}/${memberId}`;
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  // The last characters have changed only the last bits so far.
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/** The portals of a rollout that are named, and those of its stages. */
export interface StagePlan {
  readonly target: string;
  readonly stages: readonly RolloutStage[];
  readonly first: readonly string[];
  readonly hold: readonly string[];
  /** The portals with the lowest hashes, the lowest first; absent until they are found. */
  readonly lowest?: readonly string[];
}

/** Returns whether a portal belongs to a stage, counted from 0, or to one before it. */
export function isMember(plan: StagePlan, stage: number, memberId: string): boolean {
  if (plan.hold.includes(memberId)) return false;
  if (plan.first.includes(memberId)) return true;
  const hash = rolloutHash(plan.target, memberId);
  return plan.stages.slice(0, stage + 1).some((one) =>
    "percent" in one ? hash < one.percent / 100 : lowestOf(plan, one.portals).includes(memberId)
  );
}

/** Returns the portals of a stage of `portals`, those of `first` included. */
export function membersOf(plan: StagePlan, portals: number): readonly string[] {
  return [...plan.first, ...lowestOf(plan, portals)].filter((memberId) => !plan.hold.includes(memberId));
}

function lowestOf({ first, hold, lowest = [] }: StagePlan, portals: number): readonly string[] {
  return lowest.filter((memberId) => !first.includes(memberId) && !hold.includes(memberId))
    .slice(0, Math.max(0, portals - first.length));
}

/** Returns the largest number of portals of a stage; 0 if no stage has a number. */
export function maxPortals(stages: readonly RolloutStage[]): number {
  return Math.max(0, ...stages.map((stage) => "portals" in stage ? stage.portals : 0));
}

/** Collects the portals with the lowest hashes. */
export function createLowest(target: string, size: number): {
  readonly add: (memberId: string) => void;
  readonly memberIds: () => readonly string[];
} {
  let found: { readonly memberId: string; readonly hash: number }[] = [];
  return {
    add: (memberId) => {
      const hash = rolloutHash(target, memberId);
      if (found.length >= size && hash >= found.at(-1)!.hash) return;
      found = [...found, { memberId, hash }].sort((a, b) => a.hash - b.hash || (a.memberId < b.memberId ? -1 : 1))
        .slice(0, size);
    },
    memberIds: () => found.map(({ memberId }) => memberId),
  };
}
