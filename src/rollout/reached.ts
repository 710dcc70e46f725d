/** Counts the portals that reach their targets, by minute. A crash loses what was not added yet: it only estimates a pace. */
import { type TargetState, withReached } from "./target.ts";
import type { Targets } from "./targets.ts";

const MINUTE_MS = 60_000;

/** The portals that have reached their targets in this process. */
export interface Reached {
  readonly add: (target: string, memberId: string) => void;
  /** Returns the numbers that are not added yet, by minute. */
  readonly of: (target: string) => ReadonlyMap<number, number>;
  /** Adds them to the rollouts. What cannot be added is kept. */
  readonly flush: () => Promise<void>;
}

/** Returns the counts of a process. */
export function createReached(clock: () => number, targets: Targets): Reached {
  const counts = new Map<string, Map<number, number>>();
  /** The last portal of each target: one that had several slots reaches it once. */
  const last = new Map<string, string>();

  function add(target: string, minute: number, count: number): void {
    const ofTarget = counts.get(target) ?? new Map<number, number>();
    counts.set(target, ofTarget);
    ofTarget.set(minute, (ofTarget.get(minute) ?? 0) + count);
  }

  return {
    add: (target, memberId) => {
      if (last.get(target) === memberId) return;
      last.set(target, memberId);
      add(target, Math.floor(clock() / MINUTE_MS), 1);
    },
    of: (target) => counts.get(target) ?? new Map(),
    flush: async () => {
      const taken = [...counts];
      counts.clear();
      for (const [target, byMinute] of taken) {
        try {
          const change = (state: TargetState | undefined): TargetState | undefined =>
            state && withReached(state, byMinute);
          await targets.change(target, change);
        } catch (error) {
          for (const [minute, count] of byMinute) add(target, minute, count);
          throw error;
        }
      }
    },
  };
}
