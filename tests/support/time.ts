/** Time that passes only when a test lets it. */
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Simulation } from "../../src/app/options.ts";
import type { Time } from "../../src/async/time.ts";

export interface VirtualTime extends Time {
  /** Lets `ms` milliseconds pass. Timers fire in order, and the work that one starts runs before the next fires. */
  readonly elapse: (ms: number) => Promise<void>;
}

/** Returns a time whose timers do not keep the process alive. */
export function virtualTime(start = 1_785_300_000_000): VirtualTime {
  const timers = new Set<Timer>();
  let passed = 0;
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
        const next = earliest(timers);
        if (next === undefined || next.at > end) break;
        timers.delete(next);
        passed = Math.max(passed, next.at);
        next.run();
        await runPendingWork();
      }
      passed = end;
    },
  };
}

/** A timer that has not fired. */
interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** Returns the timer that fires next; of several at the same time, the one that was set first. */
function earliest(timers: ReadonlySet<Timer>): Timer | undefined {
  let first: Timer | undefined;
  for (const timer of timers) if (first === undefined || timer.at < first.at) first = timer;
  return first;
}

/** Number of turns of the event loop after which nothing goes on by itself: bodies of requests take a few. */
const TURNS = 3;

async function runPendingWork(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await setImmediate();
}

/** Returns options of `createApp` for an app whose time is `time`, and which does the same in every run. */
export function simulated(time: Time): Simulation & { readonly clock: () => number } {
  answerDigestsAtOnce();
  return { time, clock: time.now };
}

let isAnsweredAtOnce = false;

/** WebCrypto answers from other threads, in any order and at any time. */
function answerDigestsAtOnce(): void {
  if (isAnsweredAtOnce) return;
  isAnsweredAtOnce = true;
  // No mock of `node:test`, which would keep every call.
  Object.defineProperty(crypto.subtle, "digest", {
    configurable: true,
    value: (_algorithm: string, bytes: Uint8Array) => {
      const { buffer, byteOffset, byteLength } = createHash("sha256").update(bytes).digest();
      return Promise.resolve(buffer.slice(byteOffset, byteOffset + byteLength));
    },
  });
}
