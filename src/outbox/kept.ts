/** Bounds of the outbox, and the messages that it drops. */
import { coalesce } from "../async/coalesce.ts";
import type { Observers } from "../plugin/observers.ts";
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import { listKeys } from "../storage/list_keys.ts";
import type { Key, Storage } from "../storage/storage.ts";

/** Maximum number of messages that wait, and of dead letters. */
export const MAX_MESSAGES = 10_000;
export const MAX_DEAD_LETTERS = 1000;

/** Age (ms) at which a count is made again: other processes add and remove entries, too. */
const RECOUNT_MS = 60_000;

/** The number of entries under a prefix, which other processes change, too: it is right to within what they do in a minute. */
export interface KeptCount {
  readonly get: () => Promise<number>;
  readonly add: (count: number) => void;
}

/** Returns a count of at most `max` entries. */
export function createKeptCount(
  { storage, clock }: { readonly storage: Storage; readonly clock: () => number },
  prefix: Key,
  max: number,
): KeptCount {
  const counting = new Map<string, Promise<void>>();
  let count = 0;
  let countedAt = -Infinity;

  async function recount(): Promise<void> {
    countedAt = clock();
    let found = 0;
    for await (const _ of listKeys(storage, prefix, { limit: max })) found++;
    count = found;
  }

  return {
    get: async () => {
      if (Math.abs(clock() - countedAt) >= RECOUNT_MS || counting.size > 0) await coalesce(counting, "", recount);
      return count;
    },
    add: (added) => void (count += added),
  };
}

type Dropped = Parameters<Observers["outboxDropped"]>[0];

/** Numbers of messages dropped since the last report. */
export interface DroppedMessages {
  readonly add: (plugin: string, reason: Dropped["reason"]) => void;
  /** Logs what was dropped, and notifies observers, once. */
  readonly report: () => void;
}

export function createDroppedMessages(runtime: AppRuntime): DroppedMessages {
  let dropped: readonly Dropped[] = [];
  return {
    add: (plugin, reason) => {
      const isSame = (other: Dropped): boolean => other.plugin === plugin && other.reason === reason;
      const count = (dropped.find(isSame)?.count ?? 0) + 1;
      dropped = [...dropped.filter((other) => !isSame(other)), { plugin, reason, count }];
    },
    report: () => {
      const reports = dropped;
      dropped = [];
      for (const report of reports) {
        runtime.log.warn("messages of the outbox dropped", { event: "outbox.dropped", ...report });
        notify(runtime, "outboxDropped", report);
      }
    },
  };
}
