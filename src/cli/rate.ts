/** The rate at which portals become current, while it is watched. */
import type { PortalState } from "../portal/portal.ts";

/** The rate of a rollout. */
export interface Rate {
  /** Portals that became current in a minute. */
  readonly perMinute: number;
  /** Milliseconds until those that are upgrading are current; absent if none becomes so. */
  readonly remainingMs?: number;
}

/** The number of current portals at a time. */
export interface Sample {
  readonly at: number;
  readonly current: number;
}

/** Time (ms) over which the rate is measured. */
const WINDOW_MS = 10 * 60_000;

/** Adds a sample, and returns the rate since the oldest one of the last ten minutes; none before the second sample. */
export function rateOf(
  before: readonly Sample[],
  { at, totals }: { readonly at: number; readonly totals: Readonly<Record<PortalState, number>> },
): { readonly samples: readonly Sample[]; readonly rate?: Rate } {
  const samples = [...before.filter((sample) => at - sample.at <= WINDOW_MS), { at, current: totals.current }];
  const [oldest] = samples;
  if (oldest === undefined || at <= oldest.at) return { samples };
  const perMinute = Math.max((totals.current - oldest.current) / (at - oldest.at), 0) * 60_000;
  const rate = perMinute > 0 ? { perMinute, remainingMs: totals.upgrading / perMinute * 60_000 } : { perMinute };
  return { samples, rate };
}
