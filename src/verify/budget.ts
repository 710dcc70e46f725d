/** How often Bitrix24 is asked about unverified events: a budget a minute, so that forged posts cannot cause more requests. */

import type { VerificationBudget } from "../plugin/plugin.ts";

/** Counts questions in windows of a minute. */
export interface Budget {
  /** Returns whether a question about a portal may be asked now, and counts it. */
  readonly take: (memberId: string, isKnown: boolean) => boolean;
  /** Takes back a question that `take` has counted: the answer showed that nothing was forged. */
  readonly giveBack: (memberId: string, isKnown: boolean) => void;
  /** Returns when the window ends, in milliseconds since 1970. */
  readonly renewedAt: () => number;
}

const WINDOW_MS = 60_000;

/** Returns a budget. Its memory is bounded by `perMinute`. */
export function createBudget({ perMinute, perPortal }: VerificationBudget, clock: () => number): Budget {
  let window = -1;
  let total = 0;
  let unknown = 0;
  const portals = new Map<string, number>();
  const renew = (): void => {
    const now = Math.floor(clock() / WINDOW_MS);
    if (now === window) return;
    [window, total, unknown] = [now, 0, 0];
    portals.clear();
  };
  return {
    take: (memberId, isKnown) => {
      renew();
      const count = portals.get(memberId) ?? 0;
      // Half is reserved for known portals: made-up member_ids cannot use it up.
      if (count >= perPortal || total >= perMinute || (!isKnown && unknown >= perMinute / 2)) return false;
      portals.set(memberId, count + 1);
      total++;
      if (!isKnown) unknown++;
      return true;
    },
    giveBack: (memberId, isKnown) => {
      renew();
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
