/** What the upgrades of the chaos app do: the worker runs it, and what was witnessed is judged by it. */

/** One thing that an upgrade does outside, once or more. */
export interface Part {
  readonly upgradeId: string;
  readonly step: string;
  /** Of `pages`. */
  readonly page?: number;
}

/** By upgrade, in the order in which they run. A number is that many pages. */
export const STEPS: Readonly<Record<string, Readonly<Record<string, "step" | "large" | number>>>> = {
  "2": { settings: "step", fields: "large", robots: "step" },
  "3": { prepare: "step", deals: 4, finish: "step" },
  "4": { before: "step", after: "step", last: "large" },
};

/** After this step the upgrade sleeps. */
export const SLEEPS_AFTER = "before";

/** All parts in the order in which they are to be done. */
export const PARTS: readonly Part[] = Object.entries(STEPS).flatMap(([upgradeId, steps]) =>
  Object.entries(steps).flatMap(([step, kind]) =>
    typeof kind === "number"
      ? Array.from({ length: kind }, (_, page): Part => ({ upgradeId, step, page }))
      : [{ upgradeId, step }]
  )
);

/** Where a part is among all. */
export function rankOf({ upgradeId, step, page }: Part): number {
  return PARTS.findIndex((part) => part.upgradeId === upgradeId && part.step === step && part.page === page);
}
