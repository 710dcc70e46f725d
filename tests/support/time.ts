/** Time that passes only when a test says so. */
import type { Time } from "../../src/async/time.ts";

export interface VirtualTime extends Time {
  /** Lets `ms` milliseconds pass. Each timer fires at its time, and what it starts goes on before the next one. */
  readonly elapse: (ms: number) => Promise<void>;
}

/** Its timers do not keep a process alive. */
export function virtualTime(start = 1_785_300_000_000): VirtualTime {
  const timers = new Set<{ readonly at: number; readonly run: () => void }>();
  let passed = 0;
  const goOn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
  return {
    now: () => start + passed,
    monotonic: () => passed,
    setTimer: (run, ms) => {
      const timer = { at: passed + ms, run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    elapse: async (ms) => {
      const end = passed + ms;
      await goOn();
      while (true) {
        const [next] = Array.from(timers).toSorted((a, b) => a.at - b.at);
        if (next === undefined || next.at > end) break;
        timers.delete(next);
        passed = next.at;
        next.run();
        await goOn();
      }
      passed = end;
    },
  };
}
