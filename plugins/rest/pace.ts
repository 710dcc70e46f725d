/** Queues of requests: one request at a time for each portal, and no faster than the portal allows. */
import { abortable } from "./abortable.ts";

/** How many requests a portal allows. */
export interface B24Rate {
  /** Requests at once after a pause. Minimum: 1. Bitrix24 allows 50, and 250 on Enterprise portals. */
  readonly burst: number;
  /** Requests each second after that; more than 0. Bitrix24 allows 2, and 5 on Enterprise portals. */
  readonly perSecond: number;
}

/** A clock and a timer, to be replaced in tests. */
export interface B24Timer {
  /** Milliseconds since an arbitrary point; never goes back. */
  readonly now: () => number;
  /** Resolves after `ms` milliseconds. Once the signal is aborted, nobody waits for it. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** The clock and the timers of the system. */
export const SYSTEM_TIMER: B24Timer = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    }),
};

/** @throws {TypeError} if a number is out of its range */
export function assertRate(rate: B24Rate): B24Rate {
  const { burst, perSecond } = rate;
  if (burst >= 1 && burst < Infinity && perSecond > 0 && perSecond < Infinity) return rate;
  throw new TypeError(
    `cannot call portals with burst ${burst} and perSecond ${perSecond}, wanted burst from 1 and perSecond above 0`,
  );
}

/** The queues of requests of all portals. */
export interface RequestQueues {
  /**
   * Runs `request` when the earlier requests of the portal have ended and its rate allows another. `holdOff(ms)` keeps
   * the queue from sending anything for that time.
   */
  readonly run: <T>(
    memberId: string,
    signal: AbortSignal,
    request: (holdOff: (ms: number) => void) => Promise<T>,
  ) => Promise<T>;
}

/** The queue of one portal. */
interface Queue {
  isBusy: boolean;
  /** Starts the requests that wait, in the order in which they came. */
  readonly waiting: Set<() => void>;
  /** When the portal's bucket is empty again, by our clock. */
  emptyAt: number;
}

/**
 * Returns queues that send at the rate of each portal.
 *
 * Bitrix24 keeps a leaky bucket for each portal: it holds `burst` requests and leaks `perSecond` of them. `emptyAt` is our
 * estimate of how full it is.
 */
export function createRequestQueues(rateOf: (memberId: string) => B24Rate, timer: B24Timer): RequestQueues {
  const queues = new Map<string, Queue>();

  async function enter(queue: Queue, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!queue.isBusy) return void (queue.isBusy = true);
    await new Promise<void>((resolve, reject) => {
      const start = (): void => {
        signal.removeEventListener("abort", abort);
        resolve();
      };
      const abort = (): void => {
        queue.waiting.delete(start);
        reject(signal.reason);
      };
      queue.waiting.add(start);
      signal.addEventListener("abort", abort, { once: true });
    });
  }

  function leave(memberId: string, queue: Queue): void {
    const [next] = queue.waiting;
    if (next === undefined) queue.isBusy = false;
    else {
      queue.waiting.delete(next);
      next();
    }
    // Keeps the queue used last at the end, and removes idle ones: an empty bucket needs no memory.
    queues.delete(memberId);
    queues.set(memberId, queue);
    for (const [other, { isBusy, emptyAt }] of queues) {
      if (isBusy || emptyAt > timer.now()) break;
      queues.delete(other);
    }
  }

  return {
    run: async (memberId, signal, request) => {
      const { burst, perSecond } = rateOf(memberId);
      const gapMs = 1000 / perSecond;
      const roomMs = (burst - 1) * gapMs;
      const queue = queues.get(memberId) ?? { isBusy: false, waiting: new Set(), emptyAt: -Infinity };
      queues.set(memberId, queue);
      await enter(queue, signal);
      try {
        const waitMs = queue.emptyAt - roomMs - timer.now();
        if (waitMs > 0) await abortable({ signals: [signal] }, (signal) => timer.sleep(waitMs, signal));
        queue.emptyAt = Math.max(queue.emptyAt, timer.now()) + gapMs;
        return await request((ms) => queue.emptyAt = Math.max(queue.emptyAt, timer.now() + ms + roomMs));
      } finally {
        leave(memberId, queue);
      }
    },
  };
}
