/** Shares one execution of work among all callers that ask for it while it runs. */

/** Returns the promise that runs under `key`; calls `run` if there is none. The promise is forgotten once it settles. */
export function coalesce<T>(running: Map<string, Promise<T>>, key: string, run: () => Promise<T>): Promise<T> {
  const current = running.get(key);
  if (current !== undefined) return current;
  const started = run().finally(() => running.delete(key));
  running.set(key, started);
  return started;
}
