/** How fast portals are called. */
import { within } from "./within.ts";

/** How many requests a portal takes. */
export interface B24Rate {
  /** At once, after a pause; 50, and 250 for Enterprise. */
  readonly burst: number;
  /** Each second; 2, and 5 for Enterprise. */
  readonly perSecond: number;
}

/** How time is told and waited for: for tests. */
export interface B24Timer {
  /** Milliseconds since any fixed time, which only rise. */
  readonly now: () => number;
  /** Resolves after `ms` milliseconds. Nobody waits for it any longer once the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** The runtime's. */
export const SYSTEM_TIMER: B24Timer = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    }),
};

/** @throws {TypeError} when it is none */
export function assertRate(rate: B24Rate): B24Rate {
  const { burst, perSecond } = rate;
  if (burst >= 1 && burst < Infinity && perSecond > 0 && perSecond < Infinity) return rate;
  throw new TypeError(
    `cannot call portals ${perSecond} times a second and ${burst} at once, wanted at least 1 at once`,
  );
}

/** What goes to portals, one request at a time to each. */
export interface Lanes {
  /**
   * Runs `work`, a request, once those of the portal that came before are over and the portal takes it. `fill`: the
   * portal takes none for so many milliseconds.
   */
  readonly run: <T>(
    memberId: string,
    signal: AbortSignal,
    work: (fill: (ms: number) => void) => Promise<T>,
  ) => Promise<T>;
}

/** What goes to one portal. */
interface Lane {
  isBusy: boolean;
  /** In the order in which they came. */
  readonly waiting: Set<() => void>;
  /** When Bitrix24 has forgotten all requests so far, if its bucket leaks as fast as ours. */
  emptyAt: number;
}

/**
 * Lets portals have as many requests as `rateOf` says.
 *
 * A portal's bucket holds `burst` requests and leaks `perSecond` of them: `emptyAt` tells how full it is.
 */
export function createLanes(rateOf: (memberId: string) => B24Rate, timer: B24Timer): Lanes {
  const lanes = new Map<string, Lane>();

  async function turn(lane: Lane, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!lane.isBusy) return void (lane.isBusy = true);
    await new Promise<void>((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const stop = (): void => {
        lane.waiting.delete(go);
        reject(signal.reason);
      };
      lane.waiting.add(go);
      signal.addEventListener("abort", stop, { once: true });
    });
  }

  function leave(memberId: string, lane: Lane): void {
    const [next] = lane.waiting;
    if (next === undefined) lane.isBusy = false;
    else {
      lane.waiting.delete(next);
      next();
    }
    // The longest unused are first, and an idle one with an empty bucket is as good as none.
    lanes.delete(memberId);
    lanes.set(memberId, lane);
    for (const [idle, { isBusy, emptyAt }] of lanes) {
      if (isBusy || emptyAt > timer.now()) break;
      lanes.delete(idle);
    }
  }

  return {
    run: async (memberId, signal, work) => {
      const { burst, perSecond } = rateOf(memberId);
      const gapMs = 1000 / perSecond;
      const roomMs = (burst - 1) * gapMs;
      const lane = lanes.get(memberId) ?? { isBusy: false, waiting: new Set(), emptyAt: -Infinity };
      lanes.set(memberId, lane);
      await turn(lane, signal);
      try {
        const waitMs = lane.emptyAt - roomMs - timer.now();
        if (waitMs > 0) await within([signal], undefined, (signal) => timer.sleep(waitMs, signal));
        lane.emptyAt = Math.max(lane.emptyAt, timer.now()) + gapMs;
        return await work((ms) => lane.emptyAt = Math.max(lane.emptyAt, timer.now() + ms + roomMs));
      } finally {
        leave(memberId, lane);
      }
    },
  };
}
