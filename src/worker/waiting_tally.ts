/** Keeps the count of deliveries with keys of their own exact while a worker does their work. */
import { defined } from "../defined.ts";
import type { Overflow, WaitingDelivery } from "../portal/delivery.ts";
import type { PortalRecord } from "../portal/record.ts";
import { countDelivery } from "../portal/waiting.ts";

/** Counts the deliveries that are left. */
export interface WaitingTally {
  /** Begins a pass over the inbox. `isWhole`: also over the deliveries with keys of their own. */
  readonly begin: (isWhole: boolean) => void;
  /** Counts a delivery that is left. */
  readonly add: (waiting: WaitingDelivery) => void;
  /** Returns the record with the count after a pass during which no delivery has arrived. */
  readonly apply: (record: PortalRecord) => PortalRecord;
}

/** Returns a tally. */
export function createWaitingTally(): WaitingTally {
  let left: Overflow | undefined;
  let isExact = false;

  return {
    begin: (isWhole) => [left, isExact] = [undefined, isWhole],
    add: ({ id, delivery, version }) => {
      if (version !== undefined) left = countDelivery(left, id, delivery, 1);
    },
    apply: (record) => {
      if (!isExact) return record;
      const { overflow: _, ...rest } = record;
      return { ...rest, ...defined({ overflow: left }) };
    },
  };
}
