/** Chance that can be had again. */

import { seeded } from "../../src/testing/seeded.ts";

export { seeded };

/** A number from 0 up to 1 for a text. */
export function chanceFor(text: string): number {
  let hash = 2166136261;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  return seeded(hash)();
}

/** The same things in another order. */
export function shuffled<T>(things: readonly T[], chance: () => number): T[] {
  return things.map((thing) => ({ thing, at: chance() })).sort((a, b) => a.at - b.at).map(({ thing }) => thing);
}
