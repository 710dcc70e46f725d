/** A limited number of slots for work that may be put off. */

/** Slots of this process. */
export interface Slots {
  /**
   * Runs `work` in a free slot. If there is none, returns `undefined` and remembers `key`, whose turn comes when a slot is
   * free again.
   */
  readonly tryRun: <T>(key: string, work: () => Promise<T>) => Promise<T> | undefined;
  /** Returns the number of keys that wait for a slot. */
  readonly waiting: () => number;
}

/** Returns `max` slots. `onTurn` is called for a key that found no slot, in order, once one is free. */
export function createSlots(max: number, onTurn: (key: string) => void): Slots {
  const waiting = new Set<string>();
  let used = 0;

  function release(): void {
    used--;
    // A key may have nothing to do by now, so each free slot is offered.
    for (const key of Array.from(waiting).slice(0, max - used)) {
      waiting.delete(key);
      onTurn(key);
    }
  }

  return {
    tryRun: (key, work) => {
      if (used >= max) {
        waiting.add(key);
        return undefined;
      }
      waiting.delete(key);
      used++;
      return work().finally(release);
    },
    waiting: () => waiting.size,
  };
}
