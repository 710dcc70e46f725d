/** The budget of questions about unverified events a minute: forged posts cannot cause more requests. */
import { originOf } from "../bitrix24/hosts.ts";
import type { VerificationBudget } from "../plugin/verification_policy.ts";

/** Counts questions in windows of a minute. */
export interface Budget {
  /** Returns whether a question about a portal may be asked now, and counts it. `requests` counts each host it goes to. */
  readonly take: (memberId: string, isKnown: boolean, requests?: number) => boolean;
  /** Returns whether `take` would count a question now. */
  readonly allows: (memberId: string, isKnown: boolean, requests?: number) => boolean;
  /** Takes back a question that `take` has counted: the answer showed that nothing was forged. */
  readonly giveBack: (memberId: string, isKnown: boolean, requests?: number) => void;
  /**
   * Counts a question about a known portal for the minute of `at` or, if that is spent, for a later one. Returns when the
   * question may be asked. Times in milliseconds since 1970.
   */
  readonly reserve: (at: number) => number;
  /** Returns how many questions about known portals `take` would count now. */
  readonly left: () => number;
  /** Returns when the window ends, in milliseconds since 1970. */
  readonly renewedAt: () => number;
}

const WINDOW_MS = 60_000;

/** Returns the number of requests of a question: one to the OAuth host that is named, or one to each if none is. */
export function requestsFor(serverEndpoint: string | undefined, oauthHosts: readonly string[]): number {
  const server = originOf(serverEndpoint);
  return server !== undefined && oauthHosts.includes(server) ? 1 : oauthHosts.length;
}

/** Returns a budget. Its memory is bounded by `perMinute`, and by the reserved questions. */
export function createBudget({ perMinute, perPortal }: VerificationBudget, clock: () => number): Budget {
  let window = -1;
  let total = 0;
  let unknown = 0;
  const portals = new Map<string, number>();
  /** Questions of later windows. */
  const reserved = new Map<number, number>();
  const renew = (): void => {
    const now = Math.floor(clock() / WINDOW_MS);
    if (now === window) return;
    [window, total, unknown] = [now, reserved.get(now) ?? 0, 0];
    for (const past of [...reserved.keys()].filter((one) => one <= now)) reserved.delete(past);
    portals.clear();
  };
  /** Counts a question of a window, unless the window is spent. */
  const takeFrom = (one: number): boolean => {
    const count = one === window ? total : reserved.get(one) ?? 0;
    // Half of a later window is left to the events of that minute.
    if (count >= (one === window ? perMinute : perMinute / 2)) return false;
    if (one === window) total++;
    else reserved.set(one, count + 1);
    return true;
  };
  const allows: Budget["allows"] = (memberId, isKnown, requests = 1) => {
    renew();
    // Half is reserved for known portals: made-up member_ids cannot use it up.
    const isSpent = (used: number, limit: number): boolean => used > 0 && used + requests > limit;
    const isOver = isSpent(total, perMinute) || (!isKnown && isSpent(unknown, perMinute / 2));
    return !isOver && (portals.get(memberId) ?? 0) < perPortal;
  };
  return {
    allows,
    take: (memberId, isKnown, requests = 1) => {
      if (!allows(memberId, isKnown, requests)) return false;
      portals.set(memberId, (portals.get(memberId) ?? 0) + 1);
      total += requests;
      if (!isKnown) unknown += requests;
      return true;
    },
    giveBack: (memberId, isKnown, requests = 1) => {
      renew();
      const count = portals.get(memberId);
      // It was counted in an earlier window.
      if (count === undefined) return;
      if (count === 1) portals.delete(memberId);
      else portals.set(memberId, count - 1);
      total = Math.max(0, total - requests);
      if (!isKnown) unknown = Math.max(0, unknown - requests);
    },
    reserve: (at) => {
      renew();
      const wanted = Math.max(window, Math.floor(at / WINDOW_MS));
      let found = wanted;
      while (!takeFrom(found)) found++;
      return found === wanted ? at : found * WINDOW_MS;
    },
    left: () => {
      renew();
      return Math.max(0, perMinute - total);
    },
    renewedAt: () => (Math.floor(clock() / WINDOW_MS) + 1) * WINDOW_MS,
  };
}
