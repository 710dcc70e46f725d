/** The upgrades of the chaos app: workers run them, and the checks compare effects with them. */

/** One part of an upgrade: a step, or a page. */
export interface Part {
  readonly upgradeId: string;
  readonly step: string;
  /** Number of the page, in `pages`. */
  readonly page?: number;
}

/** Steps by upgrade, in order. A number is the number of pages. */
export const STEPS: Readonly<Record<string, Readonly<Record<string, "step" | "large" | number>>>> = {
  "2": { settings: "step", fields: "large", robots: "step" },
  "3": { prepare: "step", deals: 4, finish: "step" },
  "4": { before: "step", after: "step", last: "large" },
};

/** The upgrade sleeps after this step. */
export const SLEEPS_AFTER = "before";

/** All parts in order. */
export const PARTS: readonly Part[] = Object.entries(STEPS).flatMap(([upgradeId, steps]) =>
  Object.entries(steps).flatMap(([step, kind]) =>
    typeof kind === "number"
      ? Array.from({ length: kind }, (_, page): Part => ({ upgradeId, step, page }))
      : [{ upgradeId, step }]
  )
);

/** Returns the position of a part among all. */
export function rankOf({ upgradeId, step, page }: Part): number {
  return PARTS.findIndex((part) => part.upgradeId === upgradeId && part.step === step && part.page === page);
}
