/** One piece of work for all who ask for it while it is under way. */

/** What is under way under `name`, or what `run` begins. */
export function coalesce<T>(running: Map<string, Promise<T>>, name: string, run: () => Promise<T>): Promise<T> {
  const known = running.get(name);
  if (known !== undefined) return known;
  const started = run().finally(() => running.delete(name));
  running.set(name, started);
  return started;
}
