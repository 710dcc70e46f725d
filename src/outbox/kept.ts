/** Bounds of the outbox, and the messages that it drops. */
import { coalesce } from "../async/coalesce.ts";
import type { Observers } from "../plugin/observers.ts";
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import { OUTBOX_MESSAGES } from "../portal/keys.ts";
import { listKeys } from "../storage/list_keys.ts";
import type { Key, Storage } from "../storage/storage.ts";

/** Maximum number of messages of all plugins that wait, and of dead letters. */
export const MAX_MESSAGES = 10_000;
export const MAX_DEAD_LETTERS = 1000;

/** Age (ms) at which a count is made again: other processes add and remove entries, too. */
const RECOUNT_MS = 60_000;

/** The number of entries under a prefix, which other processes change, too: it is right to within what they do in a minute. */
export interface KeptCount {
  readonly get: () => Promise<number>;
  readonly add: (count: number) => void;
}

/** The numbers of messages that wait, by plugin. */
export interface MessageCounts {
  readonly of: (plugin: string) => KeptCount;
  /**
   * Maximum number of messages of a plugin that wait: all plugins with an outbox have the same share, so that none can take the
   * room of another.
   */
  readonly share: () => number;
}

/** Returns the counts of the messages of an app. */
export function createMessageCounts(runtime: Pick<AppRuntime, "storage" | "clock" | "plugins">): MessageCounts {
  const counts = new Map<string, KeptCount>();
  return {
    of: (plugin) => {
      const count = counts.get(plugin) ?? createKeptCount(runtime, [...OUTBOX_MESSAGES, plugin], MAX_MESSAGES);
      counts.set(plugin, count);
      return count;
    },
    share: () => Math.floor(MAX_MESSAGES / Math.max(1, runtime.plugins.filter(({ outbox }) => outbox).length)),
  };
}

/** A dead letter that may have to give way. */
export interface DeadLetter {
  readonly plugin: string;
  /** When it became one, in milliseconds since 1970. */
  readonly deadAt: number;
}

/** Returns the letters in the order in which they give way to others: each time the oldest of the plugin that has the most. */
export function inDropOrder<Letter extends DeadLetter>(letters: readonly Letter[]): readonly Letter[] {
  const oldestFirst = letters.toSorted((a, b) => a.deadAt - b.deadAt);
  const groups = Object.values(Object.groupBy(oldestFirst, ({ plugin }) => plugin)) as Letter[][];
  return letters.map(() => {
    const largest = groups.reduce((a, b) =>
      b.length > a.length || (b.length === a.length && b[0]!.deadAt < a[0]!.deadAt) ? b : a
    );
    const dropped = largest.shift()!;
    if (largest.length === 0) groups.splice(groups.indexOf(largest), 1);
    return dropped;
  });
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
