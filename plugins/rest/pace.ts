/** Queues of requests: a few at a time for each portal, in their order, and no faster than the portal allows. */
import { option, type OptionRules } from "../../mod.ts";

/** The number of requests that a portal allows. */
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

/** The rules of a rate. */
export const RATE_RULES: OptionRules<B24Rate> = {
  burst: option.required(option.number({ min: 1 })),
  perSecond: option.required(
    option.value("a number above 0", (value) => typeof value === "number" && value > 0 && value < Infinity),
  ),
};

/** A request that waits for its start. */
export interface QueuedRequest {
  readonly memberId: string;
  /** Requests start in the order of their tickets, so that one that is repeated does not lose its place. */
  readonly ticket: number;
  /** A request that only reads runs beside others that do; any other one runs alone. */
  readonly isRead: boolean;
  readonly signal: AbortSignal;
}

/** The queues of requests of all portals. */
export interface RequestQueues {
  /** Returns a ticket that is later than all others. */
  readonly ticket: () => number;
  /**
   * Runs `work` when its turn has come and the portal's rate allows another request. `holdOff(ms)` keeps the queue from
   * sending anything for that time.
   */
  readonly run: <T>(request: QueuedRequest, work: (holdOff: (ms: number) => void) => Promise<T>) => Promise<T>;
}

/** Maximum number of requests that a portal answers at the same time. */
const MAX_IN_FLIGHT = 4;

interface Waiting extends QueuedRequest {
  readonly start: () => void;
}

/** The queue of one portal. */
interface Queue {
  inFlight: number;
  /** The request in flight is not one that only reads. */
  isExclusive: boolean;
  /** By ticket. */
  readonly waiting: Waiting[];
  rate: B24Rate;
  /** When the portal's bucket is empty again, by our clock. */
  emptyAt: number;
  /** Ends the wait for the portal's rate; absent if nothing waits for it. */
  waking?: AbortController | undefined;
}

/**
 * Returns queues that send at the rate of each portal.
 *
 * Bitrix24 keeps a leaky bucket for each portal: it holds `burst` requests and leaks `perSecond` of them. `emptyAt` is our
 * estimate of how full it is.
 */
export function createRequestQueues(rateOf: (memberId: string) => B24Rate, timer: B24Timer): RequestQueues {
  const queues = new Map<string, Queue>();
  let tickets = 0;

  /** Starts the requests that may start now, and waits for the portal's rate if only that keeps the next one. */
  function startNext(queue: Queue): void {
    for (let next = queue.waiting[0]; next !== undefined && queue.waking === undefined; next = queue.waiting[0]) {
      if (queue.isExclusive || queue.inFlight >= (next.isRead ? MAX_IN_FLIGHT : 1)) return;
      const waitMs = queue.emptyAt - roomMs(queue.rate) - timer.now();
      if (waitMs > 0) return void wake(queue, waitMs);
      queue.waiting.shift();
      queue.inFlight++;
      queue.isExclusive = !next.isRead;
      queue.emptyAt = Math.max(queue.emptyAt, timer.now()) + gapMs(queue.rate);
      next.start();
    }
  }

  async function wake(queue: Queue, ms: number): Promise<void> {
    const { signal } = queue.waking = new AbortController();
    await timer.sleep(ms, signal);
    if (signal.aborted) return;
    queue.waking = undefined;
    startNext(queue);
  }

  async function enter(queue: Queue, request: QueuedRequest): Promise<void> {
    const { signal, ticket } = request;
    await new Promise<void>((resolve, reject) => {
      const start = (): void => {
        signal.removeEventListener("abort", abort);
        resolve();
      };
      const waiting = { ...request, start };
      const abort = (): void => {
        queue.waiting.splice(queue.waiting.indexOf(waiting), 1);
        reject(signal.reason);
        // The request may have been one that others waited for, or the last one that waited for the rate.
        if (queue.waiting.length > 0) return startNext(queue);
        queue.waking?.abort();
        queue.waking = undefined;
      };
      const place = queue.waiting.findIndex((other) => other.ticket > ticket);
      queue.waiting.splice(place < 0 ? queue.waiting.length : place, 0, waiting);
      signal.addEventListener("abort", abort, { once: true });
      startNext(queue);
    });
  }

  function leave(memberId: string, queue: Queue): void {
    queue.inFlight--;
    queue.isExclusive = false;
    startNext(queue);
    // Keeps the queue used last at the end, and removes idle ones: an empty bucket needs no memory.
    queues.delete(memberId);
    queues.set(memberId, queue);
    for (const [other, { inFlight, waiting, emptyAt }] of queues) {
      if (inFlight > 0 || waiting.length > 0 || emptyAt > timer.now()) break;
      queues.delete(other);
    }
  }

  return {
    ticket: () => tickets++,
    run: async (request, work) => {
      const { memberId, signal } = request;
      signal.throwIfAborted();
      const rate = rateOf(memberId);
      const queue = queues.get(memberId) ?? { inFlight: 0, isExclusive: false, waiting: [], rate, emptyAt: -Infinity };
      queue.rate = rate;
      queues.set(memberId, queue);
      await enter(queue, request);
      try {
        return await work((ms) => queue.emptyAt = Math.max(queue.emptyAt, timer.now() + ms + roomMs(queue.rate)));
      } finally {
        leave(memberId, queue);
      }
    },
  };
}

/** Returns the milliseconds between two requests of a portal whose bucket is full. */
function gapMs({ perSecond }: B24Rate): number {
  return 1000 / perSecond;
}

/** Returns the milliseconds that a bucket with room for one more request takes to become empty. */
function roomMs(rate: B24Rate): number {
  return (rate.burst - 1) * gapMs(rate);
}
