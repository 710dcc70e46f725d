/** Remembers until when nothing has to be done for a key. */

/** Times by key, in the memory of this process. */
export interface Throttle {
  /** Returns whether the time of a key is still to come. */
  readonly isHeld: (key: string) => boolean;
  /** Holds a key until `time`, in milliseconds since 1970. */
  readonly hold: (key: string, time: number) => void;
}

/** Returns a throttle that remembers at most `size` keys; it forgets the one that was held first. */
export function createThrottle(clock: () => number, size = 100_000): Throttle {
  const times = new Map<string, number>();
  return {
    isHeld: (key) => clock() < (times.get(key) ?? -Infinity),
    hold: (key, time) => {
      // A key that is set again would keep its place.
      times.delete(key);
      if (times.size >= size) times.delete(times.keys().next().value!);
      times.set(key, time);
    },
  };
}
