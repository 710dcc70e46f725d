/** How often Bitrix24 is asked about unverified events: a budget a minute, so that forged posts cannot make more of it. */

import type { VerificationBudget } from "../plugin/plugin.ts";

/** Counts questions in windows of a minute. */
export interface Budget {
  /** Whether a question about a portal may be asked now; if so, it is counted. */
  readonly take: (memberId: string, isKnown: boolean) => boolean;
  /** Takes back a question that `take` has counted: its answer showed that nothing was forged. */
  readonly giveBack: (memberId: string, isKnown: boolean) => void;
  /** When the window ends, in milliseconds since 1970. */
  readonly renewedAt: () => number;
}

const WINDOW_MS = 60_000;

/** Returns a budget. Its memory is bounded by `perMinute`. */
export function createBudget({ perMinute, perPortal }: VerificationBudget, clock: () => number): Budget {
  let window = -1;
  let total = 0;
  let unknown = 0;
  let portals = new Map<string, number>();
  const turn = (): void => {
    const now = Math.floor(clock() / WINDOW_MS);
    if (now !== window) [window, total, unknown, portals] = [now, 0, 0, new Map()];
  };
  return {
    take: (memberId, isKnown) => {
      turn();
      const count = portals.get(memberId) ?? 0;
      // Whoever is unknown cannot use up what stored portals need.
      if (count >= perPortal || total >= perMinute || (!isKnown && unknown >= perMinute / 2)) return false;
      portals.set(memberId, count + 1);
      total++;
      if (!isKnown) unknown++;
      return true;
    },
    giveBack: (memberId, isKnown) => {
      turn();
      const count = portals.get(memberId);
      // It was counted in an earlier window.
      if (count === undefined) return;
      if (count === 1) portals.delete(memberId);
      else portals.set(memberId, count - 1);
      total--;
      if (!isKnown) unknown = Math.max(0, unknown - 1);
    },
    renewedAt: () => (Math.floor(clock() / WINDOW_MS) + 1) * WINDOW_MS,
  };
}
