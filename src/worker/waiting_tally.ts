/** Keeps the count of waiting deliveries in a portal's record up to date while a worker does their work. */
import { defined } from "../defined.ts";
import type { PortalLease } from "../portal/lease.ts";
import type { PortalRecord } from "../portal/record.ts";
import { countDelivery, type Counted, type Waiting } from "../portal/waiting.ts";

/** Counts deliveries that are done, and those that are left. */
export interface WaitingTally {
  /** Begins a pass over the inbox; `isWhole`: over all of it. */
  readonly begin: (isWhole: boolean) => void;
  readonly add: (delivery: Counted, isDone: boolean) => Promise<void>;
  /** Returns the record with the count after a pass during which no delivery has arrived. */
  readonly apply: (record: PortalRecord) => PortalRecord;
}

/** Number of done deliveries after which the record is written, for portals whose inbox is never empty. */
const WRITE_EVERY = 100;

/** Returns the tally of the holder of a lease. */
export function createWaitingTally(lease: PortalLease): WaitingTally {
  /** Done, and still counted in the record. */
  let done: Counted[] = [];
  let left: Waiting | undefined;
  let isExact = false;

  const withWaiting = ({ waiting: _, ...record }: PortalRecord, waiting: Waiting | undefined): PortalRecord => ({
    ...record,
    ...defined({ waiting }),
  });
  const withoutDone = (record: PortalRecord): PortalRecord =>
    withWaiting(record, done.reduce((waiting, delivery) => countDelivery(waiting, delivery, -1), record.waiting));

  return {
    begin: (isWhole) => [left, isExact] = [undefined, isWhole],
    add: async (delivery, isDone) => {
      if (!isDone) {
        left = countDelivery(left, delivery, 1);
        return;
      }
      done.push(delivery);
      if (done.length < WRITE_EVERY) return;
      await lease.update(withoutDone);
      done = [];
    },
    apply: (record) => isExact ? withWaiting(record, left) : withoutDone(record),
  };
}
