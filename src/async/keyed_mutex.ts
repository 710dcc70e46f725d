/** A mutex per key, within this process. */

/** Runs `work` when all earlier work under `key` has settled. Returns what `work` returns, and rejects as it does. */
export type KeyedMutex = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** Returns a mutex with keys of its own. It remembers only the keys that are in use. */
export function createKeyedMutex(): KeyedMutex {
  /** The end of the queue of each key. */
  const tails = new Map<string, Promise<void>>();

  return async (key, work) => {
    const previous = tails.get(key);
    const { promise: tail, resolve: release } = Promise.withResolvers<void>();
    tails.set(key, tail);
    await previous;
    try {
      return await work();
    } finally {
      if (tails.get(key) === tail) tails.delete(key);
      release();
    }
  };
}

/** Returns a mutex without keys. */
export function createMutex(): <T>(work: () => Promise<T>) => Promise<T> {
  const mutex = createKeyedMutex();
  return (work) => mutex("", work);
}
