/** Time that passes only when a test lets it. */
import type { Time } from "../../src/async/time.ts";

export interface VirtualTime extends Time {
  /** Lets `ms` milliseconds pass. Timers fire in order, and the work that one starts runs before the next fires. */
  readonly elapse: (ms: number) => Promise<void>;
}

/** Returns a time whose timers do not keep the process alive. */
export function virtualTime(start = 1_785_300_000_000): VirtualTime {
  const timers = new Set<{ readonly at: number; readonly run: () => void }>();
  let passed = 0;
  const runPendingWork = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
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
      await runPendingWork();
      while (true) {
        const [next] = Array.from(timers).toSorted((a, b) => a.at - b.at);
        if (next === undefined || next.at > end) break;
        timers.delete(next);
        passed = next.at;
        next.run();
        await runPendingWork();
      }
      passed = end;
    },
  };
}
