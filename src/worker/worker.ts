/** The worker of this process: processes each portal at most once at a time, and a limited number of portals at a time. */
import { linkedSignal } from "../async/abortable.ts";
import { coalesce } from "../async/coalesce.ts";
import { delay } from "../async/time.ts";
import { defined } from "../defined.ts";
import type { AcceptedDelivery } from "../portal/inbox.ts";
import { entryTime } from "../portal/schedule.ts";
import type { WorkResult } from "./process_delivery.ts";
import { type Cause, type ProcessedPortal, processPortal, type Settle, type WorkerOptions } from "./process_portal.ts";
import { releaseUnfinished } from "./release.ts";
import { createTurns, type TakenTurn, type TurnKind } from "./turns.ts";

/** Processes portals in this process. Those beyond its limit wait; the schedule has them too, so a crash loses none. */
export interface Worker {
  /** Does the work of a delivery, and all other work of its portal. */
  readonly work: (accepted: AcceptedDelivery) => Work;
  /** Returns whether the work of a delivery of this portal would begin at once. */
  readonly hasRoom: (memberId: string) => boolean;
  /**
   * Does all work of a portal. If the portal is being processed, or waits for a slot, returns that result. Never rejects.
   * `found`: the schedule entries that were found, if any.
   */
  readonly process: (memberId: string, found?: readonly string[]) => Promise<ProcessedPortal>;
  /** Returns whether this process is processing the portal, or the portal waits for a slot here. */
  readonly isProcessing: (memberId: string) => boolean;
  /** Resolves once few enough portals wait for a slot that more may be passed to `process`. */
  readonly room: () => Promise<void>;
  /** Lets no portal wait for a slot any longer: those stay in the schedule. */
  readonly stop: () => void;
  /** Resolves when this process is processing no portal. */
  readonly idle: () => Promise<void>;
}

/** The work that a delivery has started. Its promises never reject. */
export interface Work {
  /** Resolves when the work of the delivery ends. */
  readonly result: Promise<WorkResult>;
  /** Resolves when all work of the portal ends. */
  readonly end: Promise<void>;
}

/** A portal that is being processed, or waits for a slot. It holds no event: thousands may wait. */
interface PortalQueue {
  /** Ids of deliveries that were accepted after the last pass over the inbox began. */
  readonly pending: Set<string>;
  /** Callers that wait for the result of a delivery, by its id. */
  readonly waiters: Map<string, ((result: WorkResult) => void)[]>;
  /** The delivery with which this process has taken the lease of the portal, or one that is processed at once. */
  accepted: AcceptedDelivery | undefined;
  readonly done: Promise<ProcessedPortal>;
}

/** Returns the worker of an app. `concurrency`: the maximum number of portals at a time. */
export function createWorker(options: WorkerOptions & { readonly concurrency: number }): Worker {
  const { runtime } = options;
  const { time } = runtime;
  const turns = createTurns(time, options.concurrency);
  const queues = new Map<string, PortalQueue>();
  const pauses = new Map<string, Promise<void>>();
  let isStopped = false;

  /** With a storage in memory, the work would otherwise end before the answer is sent. All portals share one timer. */
  const afterAnswers = (): Promise<void> => coalesce(pauses, "answers", () => delay(time, 0));

  function start(memberId: string, { accepted, found }: Cause): PortalQueue {
    const begun: Omit<PortalQueue, "done"> = { pending: new Set(), waiters: new Map(), accepted };
    const queue = Object.assign(begun, { done: run(memberId, begun, found) });
    queues.set(memberId, queue);
    return queue;
  }

  async function run(
    memberId: string,
    queue: Omit<PortalQueue, "done">,
    found: Cause["found"],
  ): Promise<ProcessedPortal> {
    const { pending, waiters } = queue;
    const settle: Settle = (deliveryId, result) => {
      pending.delete(deliveryId);
      for (const resolve of waiters.get(deliveryId) ?? []) resolve(result);
      waiters.delete(deliveryId);
    };
    let total: ProcessedPortal = { handled: 0, failed: 0 };
    try {
      let turn = await turns.take("fresh");
      await afterAnswers();
      while (turn !== undefined) {
        const awaited = [...waiters.keys()];
        pending.clear();
        const { accepted } = queue;
        // While the portal waits again, it holds no event.
        queue.accepted = undefined;
        const processed = await processInTurn(options, turn, memberId, defined({ accepted, found }), settle);
        const handled = total.handled + processed.handled;
        total = { ...processed, handled, failed: total.failed + processed.failed };
        for (const deliveryId of awaited) settle(deliveryId, "deferred");
        const next = nextKind(turn, processed, runtime.clock());
        if (pending.size === 0 && next === undefined) break;
        turn = await turns.take(next ?? "fresh");
      }
      return total;
    } finally {
      // In the same turn of the event loop as the last look at `pending`: nothing may be added to a queue that has ended.
      queues.delete(memberId);
      for (const deliveryId of waiters.keys()) settle(deliveryId, "deferred");
      const lease = queue.accepted?.lease;
      // It got no turn, because the app closes.
      if (lease !== undefined) await releaseUnfinished(runtime, lease).catch(() => {}).finally(lease.stop);
    }
  }

  return {
    work: (accepted) => {
      const { id: deliveryId, record: { memberId }, lease } = accepted;
      const isFirst = lease !== undefined || turns.isFree();
      const queue = queues.get(memberId) ?? start(memberId, {});
      queue.pending.add(deliveryId);
      const waiting = queue.accepted?.lease;
      // It has expired, or the record would not have another one.
      if (lease !== undefined) waiting?.stop();
      if (lease !== undefined || (isFirst && waiting === undefined)) queue.accepted = accepted;
      const result = new Promise<WorkResult>((resolve) => {
        queue.waiters.set(deliveryId, [...queue.waiters.get(deliveryId) ?? [], resolve]);
      });
      return { result, end: queue.done.then(() => {}) };
    },
    hasRoom: (memberId) => !isStopped && !queues.has(memberId) && turns.isFree(),
    process: (memberId, found) => (queues.get(memberId) ?? start(memberId, defined({ found }))).done,
    isProcessing: (memberId) => queues.has(memberId),
    room: turns.room,
    stop: () => {
      isStopped = true;
      turns.close();
    },
    idle: async () => {
      while (queues.size > 0) await Promise.all(Array.from(queues.values(), ({ done }) => done));
    },
  };
}

async function processInTurn(
  options: WorkerOptions,
  turn: TakenTurn,
  memberId: string,
  cause: Cause,
  settle: Settle,
): Promise<ProcessedPortal> {
  const { runtime } = options;
  const { signal, unlink } = linkedSignal(runtime.signal);
  try {
    return await processPortal({ ...options, runtime: { ...runtime, signal, turn } }, memberId, cause, settle);
  } finally {
    unlink();
    turn.end();
  }
}

/** Returns the kind of the portal's next turn, if its run was suspended for other portals and is due. */
function nextKind(turn: TakenTurn, { released }: ProcessedPortal, now: number): TurnKind | undefined {
  const isDue = released?.due !== undefined && entryTime(released.due) <= now;
  return isDue ? turn.next() : undefined;
}
