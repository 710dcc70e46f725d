/** The queue of the portals whose events wait for verification: one event a turn, a few turns at a time. */
import { coalesce } from "../async/coalesce.ts";
import { delay } from "../async/time.ts";
import type { AppRuntime } from "../plugin/runtime.ts";

/**
 * Gives portals their turns in the order in which they were woken; those that had none come first. While many wait, every
 * second turn is that of the portal that came last: after a flood of made-up `member_id`s, a new portal does not wait for
 * all of them.
 */
export interface Turns {
  /** Queues a portal. Returns `false` if it gets no turn soon: it waits for the budget, or turns have stopped. */
  readonly wake: (memberId: string) => boolean;
  /** Returns whether a portal waits for a turn or for the budget; one that has its turn may need another one. */
  readonly has: (memberId: string) => boolean;
  /** Resolves when no portal has its turn or waits for one. */
  readonly settled: () => Promise<void>;
  /** Starts no further turn. Resolves when none is under way. */
  readonly stop: () => Promise<void>;
  readonly isStopped: () => boolean;
}

/** Options of {@linkcode createTurns}. */
export interface TurnsOptions {
  readonly runtime: Pick<AppRuntime, "clock" | "time" | "signal">;
  /**
   * Takes the turn of a portal. `"again"`: the portal queues for another turn, so that one with many events delays no
   * other. `"budget_spent"`: the portal queues when the budget is renewed.
   */
  readonly take: (memberId: string) => Promise<"again" | "budget_spent" | "done">;
  /** Returns when the budget is renewed, in milliseconds since 1970. */
  readonly renewedAt: () => number;
  readonly onFailure: (memberId: string, error: unknown) => void;
}

/** Turns at a time. */
const CONCURRENCY = 8;

/** Number of portals that had no turn above which every second turn is that of the newest of them. */
const MANY = 100;

/** Returns an empty queue. */
export function createTurns({ runtime, take, renewedAt, onFailure }: TurnsOptions): Turns {
  const queue = createQueue();
  const spent = createSpent(runtime, renewedAt, (arrivals) => {
    for (const [memberId, arrival] of arrivals) queue.add(memberId, arrival);
    next();
  });
  const running = new Map<string, Promise<void>>();
  const pauses = new Map<string, Promise<void>>();
  let isStopped = false;

  /** With a storage in memory, a turn would otherwise end before the answer is sent. All turns share one timer. */
  const afterAnswers = (): Promise<void> => coalesce(pauses, "answers", () => delay(runtime.time, 0));

  /** Starts turns while there are slots. */
  function next(): void {
    while (!isStopped && !runtime.signal.aborted && running.size < CONCURRENCY) {
      const taken = queue.take((memberId) => running.has(memberId));
      if (taken === undefined) return;
      const { memberId } = taken;
      const turn = afterAnswers().then(() => run(taken)).catch((error) => onFailure(memberId, error)).finally(() => {
        running.delete(memberId);
        next();
      });
      running.set(memberId, turn);
    }
  }

  async function run({ memberId, arrival }: Waiting): Promise<void> {
    const left = await take(memberId);
    if (left === "budget_spent") return isStopped ? undefined : spent.add(memberId, arrival);
    queue.setServed(memberId, left === "again");
    if (left === "again") queue.add(memberId);
  }

  async function settled(): Promise<void> {
    while (running.size > 0) await Promise.all(running.values());
  }

  return {
    wake: (memberId) => {
      if (isStopped || spent.has(memberId)) return false;
      queue.add(memberId);
      next();
      return true;
    },
    has: (memberId) => spent.has(memberId) || queue.has(memberId),
    settled,
    stop: async () => {
      isStopped = true;
      // Their events are stored: another process verifies them, or the next start of this one.
      queue.clear();
      spent.clear();
      await settled();
    },
    isStopped: () => isStopped,
  };
}

/** A portal that waits, and its number in the order of arrival. */
interface Waiting {
  readonly memberId: string;
  readonly arrival: number;
}

/** Portals that wait for the budget. `onRenewed` receives them once it is renewed, in the order of their arrival. */
function createSpent(
  { clock, time }: TurnsOptions["runtime"],
  renewedAt: () => number,
  onRenewed: (arrivals: readonly (readonly [memberId: string, arrival: number])[]) => void,
): {
  readonly add: (memberId: string, arrival: number) => void;
  readonly has: (memberId: string) => boolean;
  readonly clear: () => void;
} {
  const arrivals = new Map<string, number>();
  /** When the budget is renewed, and how to cancel the timer that continues then. */
  let renewal: { readonly at: number; readonly cancel: () => void } | undefined;

  function clear(): void {
    renewal?.cancel();
    renewal = undefined;
    arrivals.clear();
  }

  function renew(): void {
    const renewed = Array.from(arrivals).sort(([, a], [, b]) => a - b);
    clear();
    onRenewed(renewed);
  }

  return {
    add: (memberId, arrival) => {
      arrivals.set(memberId, arrival);
      if (renewal !== undefined) return;
      const at = renewedAt();
      renewal = { at, cancel: time.setTimer(renew, Math.max(1, at - clock()), { keepAlive: false }) };
    },
    has: (memberId) => {
      // Hosts that suspend processes also suspend their timers.
      if (renewal !== undefined && clock() >= renewal.at) renew();
      return arrivals.has(memberId);
    },
    clear,
  };
}

/** Portals that wait for their turn. Those that had none come first, so that repeated forgeries delay no other portal. */
function createQueue(): {
  /** `arrival`: as it was taken, if the portal waits again without having had a turn. */
  readonly add: (memberId: string, arrival?: number) => void;
  readonly has: (memberId: string) => boolean;
  /** Removes the portal whose turn it is. Those that are running stay. */
  readonly take: (isRunning: (memberId: string) => boolean) => Waiting | undefined;
  /** Says whether a portal had a turn and has more events. */
  readonly setServed: (memberId: string, isServed: boolean) => void;
  readonly clear: () => void;
} {
  const [first, again] = [new Map<string, number>(), new Map<string, number>()];
  const served = new Set<string>();
  /** The portals of `first` in the order of arrival, and some that have left it. */
  let newest: string[] = [];
  let arrivals = 0;
  let isNewestNext = false;

  function oldestOf(
    waiting: ReadonlyMap<string, number>,
    isRunning: (memberId: string) => boolean,
  ): string | undefined {
    for (const memberId of waiting.keys()) if (!isRunning(memberId)) return memberId;
    return undefined;
  }

  function newestOf(isRunning: (memberId: string) => boolean): string | undefined {
    while (newest.length > 0 && !first.has(newest.at(-1)!)) newest.pop();
    return newest.findLast((memberId) => first.has(memberId) && !isRunning(memberId));
  }

  function add(memberId: string, arrival = ++arrivals): void {
    if (first.has(memberId) || again.has(memberId)) return;
    if (served.has(memberId)) return void again.set(memberId, arrival);
    first.set(memberId, arrival);
    newest.push(memberId);
    if (newest.length > 2 * first.size + 100) newest = [...first.keys()];
  }

  return {
    add,
    has: (memberId) => first.has(memberId) || again.has(memberId),
    take: (isRunning) => {
      const chosen = isNewestNext && first.size > MANY ? newestOf(isRunning) : oldestOf(first, isRunning);
      const memberId = chosen ?? oldestOf(again, isRunning);
      if (memberId === undefined) return undefined;
      const arrival = first.get(memberId) ?? again.get(memberId)!;
      if (first.delete(memberId)) isNewestNext = !isNewestNext;
      else again.delete(memberId);
      return { memberId, arrival };
    },
    setServed: (memberId, isServed) => {
      if (!isServed) served.delete(memberId);
      else {
        served.add(memberId);
        const arrival = first.get(memberId);
        if (arrival !== undefined && first.delete(memberId)) again.set(memberId, arrival);
      }
    },
    clear: () => {
      for (const portals of [first, again, served]) portals.clear();
      newest = [];
    },
  };
}
