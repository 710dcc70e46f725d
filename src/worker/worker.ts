/** Who is at work on which portal in this process: one visit a portal at a time. */
import type { Checks } from "./checks.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import type { Accepted, AcceptedDelivery } from "../portal/inbox.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import type { WorkResult } from "./process_delivery.ts";
import { type ProcessedPortal, processPortal, type Settle } from "./process_portal.ts";

/** Works on portals in this process. */
export interface Worker {
  /** Does the work of one delivery, with that of its portal that came before. */
  readonly work: (accepted: Accepted) => Work;
  /** Does all the work that a portal has now, when nobody is at it. Never rejects. */
  readonly process: (memberId: string) => Promise<ProcessedPortal>;
  /** Whether this process is at work on the portal. */
  readonly isProcessing: (memberId: string) => boolean;
  /** Resolves when nothing is under way. */
  readonly idle: () => Promise<void>;
}

/** Work that is under way; nothing of it rejects. */
export interface Work {
  /** How that of the delivery ended. */
  readonly result: Promise<WorkResult>;
  /** All that there is to do at its portal is done. */
  readonly end: Promise<void>;
}

/** A portal that this process is at work on. */
interface Line {
  /** Deliveries that no visit has looked at. */
  readonly fresh: Map<string, AcceptedDelivery>;
  /** Who waits for which delivery. */
  readonly waiters: Map<string, ((result: WorkResult) => void)[]>;
  readonly done: Promise<ProcessedPortal>;
}

/** A worker that runs `upgrades` and the handlers of `core`. */
export function createWorker(core: AppRuntime, upgrades: readonly Upgrade[], checks: Checks): Worker {
  const lines = new Map<string, Line>();

  function begin(memberId: string): Line {
    const fresh: Line["fresh"] = new Map();
    const waiters: Line["waiters"] = new Map();
    const settle: Settle = (deliveryId, result) => {
      fresh.delete(deliveryId);
      for (const resolve of waiters.get(deliveryId) ?? []) resolve(result);
      waiters.delete(deliveryId);
    };
    const done = answerFirst().then(async () => {
      let total: ProcessedPortal = { handled: 0, failed: 0 };
      let [known] = fresh.values();
      try {
        do {
          const begun = [...waiters.keys()];
          fresh.clear();
          const visit = await processPortal(core, upgrades, checks, memberId, known, settle);
          total = { ...visit, handled: total.handled + visit.handled, failed: total.failed + visit.failed };
          for (const deliveryId of begun) settle(deliveryId, "left");
          known = undefined;
        } while (fresh.size > 0);
        return total;
      } finally {
        // At once: nobody may join a line that has looked for the last time.
        lines.delete(memberId);
      }
    });
    const line = { fresh, waiters, done };
    lines.set(memberId, line);
    return line;
  }

  return {
    work: ({ memberId, deliveryId, fresh }) => {
      const line = lines.get(memberId) ?? begin(memberId);
      line.fresh.set(deliveryId, fresh);
      const result = new Promise<WorkResult>((resolve) => {
        line.waiters.set(deliveryId, [...line.waiters.get(deliveryId) ?? [], resolve]);
      });
      return { result, end: line.done.then(() => {}) };
    },
    process: (memberId) => (lines.get(memberId) ?? begin(memberId)).done,
    isProcessing: (memberId) => lines.has(memberId),
    idle: async () => {
      while (lines.size > 0) await Promise.all(Array.from(lines.values(), ({ done }) => done));
    },
  };
}

let answered: Promise<void> | undefined;

/** With a storage in memory, the work would otherwise be done before the answer is sent. One timer for all at once. */
function answerFirst(): Promise<void> {
  return answered ??= new Promise((resolve) =>
    setTimeout(() => {
      answered = undefined;
      resolve();
    }, 0)
  );
}
