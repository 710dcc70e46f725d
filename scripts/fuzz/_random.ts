/** Choices that depend on a seed. */

/** Returns a number from 0 up to but not including 1. */
export type Random = () => number;

/** Returns an integer from 0 up to but not including `end`. */
export const below = (random: Random, end: number): number => Math.floor(random() * end);

export const pick = <T>(random: Random, from: readonly T[]): T => from[below(random, from.length)]!;
