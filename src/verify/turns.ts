/** The queue of the portals whose events wait for verification: one event a turn, a few turns at a time. */
import { coalesce } from "../async/coalesce.ts";
import { delay } from "../async/time.ts";
import type { AppRuntime } from "../plugin/runtime.ts";

/** Gives portals their turns in the order in which they were woken; those that had none come first. */
export interface Turns {
  /** Queues a portal. Returns `false` if it gets no turn soon: it waits for the budget, or turns have stopped. */
  readonly wake: (memberId: string) => boolean;
  /** Returns whether a portal has its turn, or waits for one or for the budget. */
  readonly has: (memberId: string) => boolean;
  /** Resolves when no portal has its turn or waits for one. */
  readonly settled: () => Promise<void>;
  /** Starts no further turn. Resolves when none is under way. */
  readonly stop: () => Promise<void>;
  readonly isStopped: () => boolean;
}

/** What turns consist of. */
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

/** Returns an empty queue. */
export function createTurns({ runtime, take, renewedAt, onFailure }: TurnsOptions): Turns {
  const queue = createQueue();
  const spent = createSpent(runtime, renewedAt, (memberIds) => {
    for (const memberId of memberIds) queue.add(memberId);
    next();
  });
  const running = new Map<string, Promise<void>>();
  const pauses = new Map<string, Promise<void>>();
  let isStopped = false;

  /** With a storage in memory, a turn would otherwise end before the answer is sent. All turns share one timer. */
  const afterAnswers = (): Promise<void> => coalesce(pauses, "answers", () => delay(runtime.time, 0));

  /** Starts turns while there are slots. */
  function next(): void {
    for (const memberId of queue.inOrder()) {
      if (isStopped || runtime.signal.aborted || running.size >= CONCURRENCY) return;
      if (running.has(memberId)) continue;
      queue.delete(memberId);
      const turn = afterAnswers().then(() => run(memberId)).catch((error) => onFailure(memberId, error)).finally(() => {
        running.delete(memberId);
        next();
      });
      running.set(memberId, turn);
    }
  }

  async function run(memberId: string): Promise<void> {
    const left = await take(memberId);
    if (left === "budget_spent") return isStopped ? undefined : spent.add(memberId);
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
    has: (memberId) => spent.has(memberId) || queue.has(memberId) || running.has(memberId),
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

/** Portals that wait for the budget. `onRenewed` receives them once it is renewed. */
function createSpent(
  { clock, time }: TurnsOptions["runtime"],
  renewedAt: () => number,
  onRenewed: (memberIds: readonly string[]) => void,
): {
  readonly add: (memberId: string) => void;
  readonly has: (memberId: string) => boolean;
  readonly clear: () => void;
} {
  const memberIds = new Set<string>();
  /** When the budget is renewed, and how to cancel the timer that continues then. */
  let renewal: { readonly at: number; readonly cancel: () => void } | undefined;

  function clear(): void {
    renewal?.cancel();
    renewal = undefined;
    memberIds.clear();
  }

  function renew(): void {
    const renewed = [...memberIds];
    clear();
    onRenewed(renewed);
  }

  return {
    add: (memberId) => {
      memberIds.add(memberId);
      if (renewal !== undefined) return;
      const at = renewedAt();
      renewal = { at, cancel: time.setTimer(renew, Math.max(1, at - clock()), { keepAlive: false }) };
    },
    has: (memberId) => {
      // Hosts that suspend processes also suspend their timers.
      if (renewal !== undefined && clock() >= renewal.at) renew();
      return memberIds.has(memberId);
    },
    clear,
  };
}

/** Portals that wait for their turn. Those that had none come first, so that repeated forgeries delay no other portal. */
function createQueue(): {
  readonly add: (memberId: string) => void;
  readonly delete: (memberId: string) => void;
  readonly has: (memberId: string) => boolean;
  readonly inOrder: () => Iterable<string>;
  /** Says whether a portal had a turn and has more events. */
  readonly setServed: (memberId: string, isServed: boolean) => void;
  readonly clear: () => void;
} {
  const [first, again, served] = [new Set<string>(), new Set<string>(), new Set<string>()];
  return {
    add: (memberId) => void (served.has(memberId) ? again : first).add(memberId),
    delete: (memberId) => void (first.delete(memberId) || again.delete(memberId)),
    has: (memberId) => first.has(memberId) || again.has(memberId),
    inOrder: function* (): Generator<string> {
      yield* first;
      yield* again;
    },
    setServed: (memberId, isServed) => {
      if (!isServed) served.delete(memberId);
      else {
        served.add(memberId);
        if (first.delete(memberId)) again.add(memberId);
      }
    },
    clear: () => {
      for (const set of [first, again, served]) set.clear();
    },
  };
}
