/** Bounds the events that wait for portals without a record: anybody can make up a `member_id`. */
import { coalesce } from "../async/coalesce.ts";
import { unknownSize } from "../portal/unverified.ts";
import type { UnverifiedOptions } from "../portal/unverified_head.ts";

/** Milliseconds between two counts of what is stored. */
const RECOUNT_MS = 60_000;

/** Admits bodies of unknown portals. */
export interface UnknownBound {
  /** Returns whether a body of `size` characters may wait, and counts it if so. */
  readonly admit: (size: number) => Promise<boolean>;
  /** Takes back characters that `admit` has counted and that are not stored. */
  readonly giveBack: (size: number) => void;
}

/**
 * Returns the bound of this process, `maxCharacters` of the bodies of all unknown portals: it counts what it has admitted, and at the bound what is stored. Several processes
 * may exceed it together, each once.
 */
export function createUnknownBound(options: UnverifiedOptions, maxCharacters: () => number): UnknownBound {
  let size = 0;
  let countedAt = -Infinity;
  const counting = new Map<string, Promise<void>>();

  async function recount(): Promise<void> {
    countedAt = options.clock();
    size = await unknownSize(options);
  }

  return {
    admit: async (added) => {
      if (size + added > maxCharacters() && Math.abs(options.clock() - countedAt) >= RECOUNT_MS) {
        await coalesce(counting, "", recount);
      }
      if (size + added > maxCharacters()) return false;
      size += added;
      return true;
    },
    giveBack: (removed) => void (size = Math.max(0, size - removed)),
  };
}
