/** Ranges of options. */

/** The maximum delay of a timer, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** @throws {TypeError} if a value is given and is not a number from `min` on that a timer can wait for */
export function assertRange(values: Readonly<Record<string, number | undefined>>, min: number): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || (value >= min && value <= MAX_TIMER_MS)) continue;
    throw new TypeError(`cannot call portals with ${name} ${value}, wanted a number from ${min} to ${MAX_TIMER_MS}`);
  }
}
