/** Watches what no observer reports: events that wait for long, and that none come. */
import type { PluginHost } from "../../mod.ts";
import type { NotificationKind } from "./message.ts";

/** The number of events that wait for long, and the time since which the oldest one waits. */
export interface Delayed {
  readonly count: number;
  readonly isAtLeast?: true;
  readonly since: number;
}

/** The watch of an app. */
export interface Watch {
  /** Notes that an event was received. */
  readonly received: () => void;
  /** Stores when the latest event was received, and returns since when none is, if that is too long. */
  readonly silence: () => Promise<{ readonly count: 1; readonly since: number } | undefined>;
  /** Returns the events that wait for too long for their verification, by the kind of their problem. */
  readonly delayed: () => Promise<Readonly<Partial<Record<NotificationKind, Delayed>>>>;
}

/** Options of {@linkcode createWatch}. */
export interface WatchOptions {
  readonly nothingReceivedMs: number | undefined;
  readonly delayedMs: number;
}

/** When the latest event was received, by any process, in milliseconds since 1970. */
interface Received {
  readonly at: number;
}

/** Maximum number of pages of events that are read. */
const MAX_PAGES = 5;
const PAGE = 1000;

/** Returns the watch of an app. */
export function createWatch({ storage, clock, admin }: PluginHost, options: WatchOptions): Watch {
  const { nothingReceivedMs, delayedMs } = options;
  let latest: number | undefined;

  async function store(): Promise<Received> {
    while (true) {
      const entry = await storage.get<Received>(["received"]);
      const now = clock();
      // A clock that was ahead must not hide the silence for as long as it was.
      latest = latest && Math.min(latest, now);
      // An app that has never received anything waits from its first start on.
      const at = Math.min(now, Math.max(latest ?? 0, entry?.value.at ?? now));
      if (entry?.value.at === at) return entry.value;
      const { ok } = await storage.put<Received>(["received"], { at }, { ifVersion: entry?.version ?? null });
      if (ok) return { at };
    }
  }

  return {
    received: () => {
      latest = clock();
    },
    silence: async () => {
      if (nothingReceivedMs === undefined) return undefined;
      const { at } = await store();
      return clock() - at < nothingReceivedMs ? undefined : { count: 1, since: at };
    },
    delayed: async () => {
      const found: Partial<Record<NotificationKind, Delayed>> = {};
      const before = clock() - delayedMs;
      let after: string | undefined;
      for (let page = 1; page <= MAX_PAGES; page++) {
        const { items, next } = await admin.unverified({ limit: PAGE, ...(after !== undefined && { after }) });
        for (const { events } of items) {
          for (const { receivedAt, attempts } of events) {
            if (receivedAt > before) continue;
            // Questions without an answer: the hosts do not answer. Without questions: there is no budget for them.
            const kind = attempts > 0 ? "oauth_failing" : "verification_delayed";
            const { count = 0, since = Infinity } = found[kind] ?? {};
            found[kind] = { count: count + 1, since: Math.min(since, receivedAt) };
          }
        }
        after = next;
        if (after === undefined) return found;
      }
      for (const delayed of Object.values(found)) Object.assign(delayed, { isAtLeast: true });
      return found;
    },
  };
}
