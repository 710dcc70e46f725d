/** The worker of this process: processes each portal at most once at a time, and queues deliveries that arrive meanwhile. */
import { coalesce } from "../async/coalesce.ts";
import { delay } from "../async/time.ts";
import { defined } from "../defined.ts";
import type { AcceptedDelivery } from "../portal/inbox.ts";
import type { WorkResult } from "./process_delivery.ts";
import { type ProcessedPortal, processPortal, type Settle, type WorkerOptions } from "./process_portal.ts";

/** Processes portals in this process. */
export interface Worker {
  /** Does the work of a delivery, and all other work of its portal. */
  readonly work: (accepted: AcceptedDelivery) => Work;
  /** Returns whether the work of a delivery of this portal would begin at once. */
  readonly hasRoom: (memberId: string) => boolean;
  /**
   * Does all work of a portal. If the portal is being processed, returns that result. Never rejects. `due`: the schedule
   * entry that was found, if any.
   */
  readonly process: (memberId: string, due?: string) => Promise<ProcessedPortal>;
  /** Returns whether this process is processing the portal. */
  readonly isProcessing: (memberId: string) => boolean;
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

/** The queue of a portal that is being processed. */
interface PortalQueue {
  /** Deliveries that were accepted after the last pass over the inbox began, by id. */
  readonly pending: Map<string, AcceptedDelivery>;
  /** Callers that wait for the result of a delivery, by its id. */
  readonly waiters: Map<string, ((result: WorkResult) => void)[]>;
  readonly done: Promise<ProcessedPortal>;
}

/** Returns the worker of an app. */
export function createWorker(options: WorkerOptions): Worker {
  const { time } = options.runtime;
  const queues = new Map<string, PortalQueue>();
  const pauses = new Map<string, Promise<void>>();

  /** With a storage in memory, the work would otherwise end before the answer is sent. All portals share one timer. */
  const afterAnswers = (): Promise<void> => coalesce(pauses, "answers", () => delay(time, 0));

  function start(memberId: string, due?: string): PortalQueue {
    const pending: PortalQueue["pending"] = new Map();
    const waiters: PortalQueue["waiters"] = new Map();
    const settle: Settle = (deliveryId, result) => {
      pending.delete(deliveryId);
      for (const resolve of waiters.get(deliveryId) ?? []) resolve(result);
      waiters.delete(deliveryId);
    };
    const done = afterAnswers().then(async () => {
      let total: ProcessedPortal = { handled: 0, failed: 0 };
      try {
        do {
          const awaited = [...waiters.keys()];
          const arrived = [...pending.values()];
          pending.clear();
          const first = arrived.find(({ lease }) => lease !== undefined) ?? arrived[0];
          const processed = await processPortal(options, memberId, defined({ accepted: first, due }), settle);
          const handled = total.handled + processed.handled;
          total = { ...processed, handled, failed: total.failed + processed.failed };
          for (const deliveryId of awaited) settle(deliveryId, "deferred");
        } while (pending.size > 0);
        return total;
      } finally {
        // In the same turn as the last look at `pending`: nothing may be added to a queue that has ended.
        queues.delete(memberId);
      }
    });
    const queue = { pending, waiters, done };
    queues.set(memberId, queue);
    return queue;
  }

  return {
    work: (accepted) => {
      const { id: deliveryId, record: { memberId } } = accepted;
      const queue = queues.get(memberId) ?? start(memberId);
      queue.pending.set(deliveryId, accepted);
      const result = new Promise<WorkResult>((resolve) => {
        queue.waiters.set(deliveryId, [...queue.waiters.get(deliveryId) ?? [], resolve]);
      });
      return { result, end: queue.done.then(() => {}) };
    },
    hasRoom: (memberId) => !queues.has(memberId),
    process: (memberId, due) => (queues.get(memberId) ?? start(memberId, due)).done,
    isProcessing: (memberId) => queues.has(memberId),
    idle: async () => {
      while (queues.size > 0) await Promise.all(Array.from(queues.values(), ({ done }) => done));
    },
  };
}
