/** Slows down guessing. Failures count for a name and a client together: nobody can lock another one's name. */

/** Failures that cost nothing but their time. */
const FREE = 5;
const MAX_WAIT_MS = 15 * 60_000;
/** A pair without failures for this long is forgotten. */
const FORGET_MS = 60 * 60_000;
/** Maximum number of pairs that are remembered; then the oldest is forgotten. */
const MAX_PAIRS = 10_000;

interface Failures {
  readonly count: number;
  readonly at: number;
}

/** Counts failed attempts. */
export interface Throttle {
  /** Returns the number of milliseconds until the next attempt is allowed; 0 if it is. */
  readonly waitMs: (client: string, name: string) => number;
  /** Counts an attempt as failed before it is made, so that attempts at the same time count. */
  readonly begin: (client: string, name: string) => void;
  readonly succeed: (client: string, name: string) => void;
}

/** Returns a throttle. From the sixth failure on, the wait doubles from one second up to 15 minutes. */
export function createThrottle(clock: () => number): Throttle {
  const failed = new Map<string, Failures>();
  const keyOf = (client: string, name: string): string => JSON.stringify([client, name.slice(0, 100)]);
  const find = (key: string): Failures | undefined => {
    const found = failed.get(key);
    return found !== undefined && clock() - found.at < FORGET_MS ? found : undefined;
  };
  return {
    waitMs: (client, name) => {
      const found = find(keyOf(client, name));
      if (found === undefined || found.count < FREE) return 0;
      const wait = Math.min(MAX_WAIT_MS, 1000 * 2 ** (found.count - FREE));
      return Math.max(0, found.at + wait - clock());
    },
    begin: (client, name) => {
      const key = keyOf(client, name);
      const { count } = find(key) ?? { count: 0 };
      failed.delete(key);
      failed.set(key, { count: count + 1, at: clock() });
      if (failed.size > MAX_PAIRS) failed.delete(failed.keys().next().value!);
    },
    succeed: (client, name) => void failed.delete(keyOf(client, name)),
  };
}
