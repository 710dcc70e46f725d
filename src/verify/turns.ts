/** The queue of the portals whose events wait for verification: one event a turn, a few turns at a time. */
import { coalesce } from "../async/coalesce.ts";
import { delay } from "../async/time.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { createTurnQueue, type Waiting } from "./turn_queue.ts";

/**
 * Gives portals their turns in the order in which they were woken; those that had none come first. While many wait, every
 * second turn is that of the portal that came last: after a flood of made-up `member_id`s, a new portal does not wait for
 * all of them. Portals with an event from a trusted address precede the others in three of four turns.
 */
export interface Turns {
  /**
   * Queues a portal. `isTrusted`: for an event from a trusted address. Returns `false` if it gets no turn soon: it waits for
   * the budget, or turns have stopped.
   */
  readonly wake: (memberId: string, isTrusted?: boolean) => boolean;
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

/** Returns an empty queue. */
export function createTurns({ runtime, take, renewedAt, onFailure }: TurnsOptions): Turns {
  const queue = createTurnQueue();
  const spent = createSpent(runtime, renewedAt, (renewed) => {
    for (const { memberId, ...how } of renewed) queue.add(memberId, how);
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

  async function run(waiting: Waiting): Promise<void> {
    const { memberId } = waiting;
    const left = await take(memberId);
    if (left === "budget_spent") return isStopped ? undefined : spent.add(waiting);
    queue.setServed(memberId, left === "again");
    if (left === "again") queue.add(memberId, { isTrusted: false });
  }

  async function settled(): Promise<void> {
    while (running.size > 0) await Promise.all(running.values());
  }

  return {
    wake: (memberId, isTrusted = false) => {
      if (isStopped) return false;
      if (spent.has(memberId)) {
        if (isTrusted) spent.trust(memberId);
        return false;
      }
      queue.add(memberId, { isTrusted });
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

/** Portals that wait for the budget. `onRenewed` receives them once it is renewed, in the order of their arrival. */
function createSpent(
  { clock, time }: TurnsOptions["runtime"],
  renewedAt: () => number,
  onRenewed: (renewed: readonly Waiting[]) => void,
): {
  readonly add: (waiting: Waiting) => void;
  /** Marks a portal that waits: an event from a trusted address has come. */
  readonly trust: (memberId: string) => void;
  readonly has: (memberId: string) => boolean;
  readonly clear: () => void;
} {
  const portals = new Map<string, Waiting>();
  /** When the budget is renewed, and how to cancel the timer that continues then. */
  let renewal: { readonly at: number; readonly cancel: () => void } | undefined;

  function clear(): void {
    renewal?.cancel();
    renewal = undefined;
    portals.clear();
  }

  function renew(): void {
    const renewed = [...portals.values()].sort((a, b) => a.arrival - b.arrival);
    clear();
    onRenewed(renewed);
  }

  return {
    add: (waiting) => {
      portals.set(waiting.memberId, waiting);
      if (renewal !== undefined) return;
      const at = renewedAt();
      renewal = { at, cancel: time.setTimer(renew, Math.max(1, at - clock()), { keepAlive: false }) };
    },
    trust: (memberId) => void portals.set(memberId, { ...portals.get(memberId)!, isTrusted: true }),
    has: (memberId) => {
      // Hosts that suspend processes also suspend their timers.
      if (renewal !== undefined && clock() >= renewal.at) renew();
      return portals.has(memberId);
    },
    clear,
  };
}
