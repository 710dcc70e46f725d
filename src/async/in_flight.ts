/** Work that is under way, so that others can wait for it. */

/** Work that is under way. */
export interface InFlight {
  /** Returns `work`, and remembers it until it settles. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
  /** Resolves when no work is under way, however it ends. */
  readonly idle: () => Promise<void>;
}

/** Returns a set of work, empty at first. */
export function createInFlight(): InFlight {
  const running = new Set<Promise<unknown>>();
  return {
    track: (work) => {
      running.add(work);
      const forget = (): boolean => running.delete(work);
      work.then(forget, forget);
      return work;
    },
    idle: async () => {
      while (running.size > 0) await Promise.allSettled(running);
    },
  };
}
