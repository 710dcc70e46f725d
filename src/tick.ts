/** Finds and does the work that failures, crashes and restarts have left in the inbox. */
import { type Delivery, INBOX } from "./portal/inbox.ts";
import type { Accepted } from "./receive.ts";
import type { Key, Storage } from "./storage/storage.ts";
import type { Worker } from "./worker.ts";

/** Options of `app.tick`. */
export interface TickOptions {
  /** At most this many events; default 100. The next tick goes on with those after them. */
  readonly limit?: number;
  /** Portals at a time; default 8. */
  readonly concurrency?: number;
}

/** What `app.tick` did. */
export interface TickReport {
  /** Events whose work is done now. */
  readonly handled: number;
  /** Events whose work failed again. */
  readonly failed: number;
}

/** Ticks over one inbox, each going on where the one before ended, so that failing events do not starve others. */
export function createTicker(storage: Storage, worker: Worker): (options?: TickOptions) => Promise<TickReport> {
  let after: Key | undefined;
  return async ({ limit = 100, concurrency = 8 } = {}) => {
    const waiting = new Map<string, Accepted[]>();
    let found = 0;
    for await (const { key } of storage.list<Delivery>(INBOX, after === undefined ? {} : { after })) {
      const accepted = { memberId: key[1]!, deliveryId: key[2]! };
      after = key;
      if (worker.has(accepted)) continue;
      waiting.set(accepted.memberId, [...(waiting.get(accepted.memberId) ?? []), accepted]);
      if (++found >= limit) break;
    }
    if (found < limit) after = undefined;
    return await workOn(worker, waiting.values(), concurrency);
  };
}

/** Portals side by side, the events of one in turn. */
async function workOn(worker: Worker, portals: Iterator<Accepted[]>, concurrency: number): Promise<TickReport> {
  let handled = 0;
  let failed = 0;
  const next = async (): Promise<void> => {
    for (let portal = portals.next(); !portal.done; portal = portals.next()) {
      for (const accepted of portal.value) {
        const result = await worker.work(accepted);
        if (result === "handled") handled++;
        if (result === "failed") failed++;
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, next));
  return { handled, failed };
}
