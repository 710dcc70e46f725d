/** Reproducible random numbers for tests. */

import { seeded } from "../../src/testing/seeded.ts";

export { seeded };

/** Returns a number from 0, inclusive, to 1, exclusive, that depends only on `text`. */
export function seededBy(text: string): number {
  let hash = 2166136261;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  return seeded(hash)();
}

/** Returns the items in random order. */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items.map((item) => ({ item, at: random() })).sort((a, b) => a.at - b.at).map(({ item }) => item);
}
