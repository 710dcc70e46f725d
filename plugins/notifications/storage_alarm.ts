/**
 * Notifies operators that the storage fails, and finds out whether it takes writes. Each process does so by itself, from memory:
 * it has nothing else.
 */
import { NonRetriableError, type PluginHost, RetryAfterError, type Silence } from "../../mod.ts";
import { composeFiring, type ComposeOptions, composeResolved } from "./compose.ts";
import { isSilenced, type OutboxEntry } from "./flush.ts";
import { type Group, GROUP_FORMAT } from "./group.ts";
import type { Route } from "./routing.ts";

/** The alarm of an app. */
export interface StorageAlarm {
  /** Notes that the storage has failed, and sends a notification if it has for long enough. Never rejects. */
  readonly fails: (signal: AbortSignal) => Promise<void>;
  /** Notes that the storage works. */
  readonly works: () => Promise<void>;
}

/** Dependencies of {@linkcode createStorageAlarm}. */
export interface StorageAlarmParts {
  readonly host: PluginHost;
  readonly route: Route;
  readonly compose: ComposeOptions;
  /** Sends a message at once. Rejects with an error that is safe to log. */
  readonly send: (entry: OutboxEntry, id: string, signal: AbortSignal) => Promise<void>;
  /** The channel that gets what another one does not take. */
  readonly fallback: string | undefined;
  readonly waitMs: number;
  readonly repeatMs: number;
}

/** A channel that does not have a message yet, and when it is to be tried, in milliseconds since 1970. */
interface Unsent {
  readonly channel: string;
  readonly at: number;
}

/** Time (ms) between two reads of silences. */
const READ_EVERY_MS = 60_000;

const NOTHING = { count: 1, portals: { shown: [], total: 0 } };

/** Returns the alarm of an app. */
export function createStorageAlarm(parts: StorageAlarmParts): StorageAlarm {
  const { host: { admin, clock, random, outbox, log }, route, compose, send, fallback, waitMs, repeatMs } = parts;
  /** The alarm of the outage that this process is in. */
  let outage: { readonly id: string; readonly since: number; toldAt: number; generation: number } | undefined;
  /** The channels that do not have the latest message yet. */
  let unsent: readonly Unsent[] = [];
  /** The fallback has the latest message, or is to get it. */
  let isPassedOn = false;
  /** The silences, as they were when the storage worked. */
  let silences: readonly Silence[] = [];
  let readAt = -Infinity;

  async function readSilences(): Promise<void> {
    const now = clock();
    if (Math.abs(now - readAt) < READ_EVERY_MS || route("storage_failing", {}).length === 0) return;
    silences = await admin.silences.list();
    readAt = now;
  }

  const isHeldBack = (now: number): boolean =>
    silences.some((silence) => silence.until > now && isSilenced({ kind: "storage_failing", labels: {} }, silence));

  function groupOf(outage: { readonly id: string; readonly since: number }): Group {
    const { id: incarnation, since } = outage;
    return {
      ...{
        format: GROUP_FORMAT,
        kind: "storage_failing",
        labels: {},
        details: {},
        incarnation,
        since,
        latestAt: since,
      },
      ...{ hasChanged: false, generation: 1, checkAt: since },
    };
  }

  /** Returns the channels to try instead, or again, after `channel` did not take a message. */
  function unsentAfter(error: unknown, channel: string, now: number): readonly Unsent[] {
    if (error instanceof RetryAfterError) return [{ channel, at: now + error.afterMs }];
    if (!(error instanceof NonRetriableError)) return [{ channel, at: now }];
    if (fallback === undefined || isPassedOn) return [];
    isPassedOn = true;
    return [{ channel: fallback, at: now }];
  }

  return {
    fails: async (signal) => {
      const now = clock();
      // The clock was put back.
      if (outage !== undefined && outage.since > now) outage = { ...outage, since: now };
      if (outage !== undefined && outage.toldAt > now) {
        outage.toldAt = now;
        unsent = unsent.map(({ channel }) => ({ channel, at: now }));
      }
      outage ??= { id: random().replace(/\W/g, "").slice(0, 8), since: now, toldAt: -Infinity, generation: 0 };
      if (now - outage.since < waitMs || isHeldBack(now)) return;
      if (now - outage.toldAt >= repeatMs) {
        outage.toldAt = now;
        outage.generation++;
        const channels = route("storage_failing", {});
        unsent = channels.map((channel) => ({ channel, at: now }));
        isPassedOn = fallback !== undefined && channels.includes(fallback);
      }
      const message = composeFiring(groupOf(outage), { ...NOTHING, since: outage.since }, compose);
      const id = `storage_failing.${outage.id}.${outage.generation}`;
      const left = await Promise.all(unsent.map(async (one) => {
        const { channel, at } = one;
        if (at > now) return [one];
        try {
          await send({ channel, message }, `${id}.${channel}`, signal);
          return [];
        } catch (err) {
          log.warn("failed to notify", { event: "notifications.failed", kind: "storage_failing", channel, err });
          return unsentAfter(err, channel, now);
        }
      }));
      unsent = left.flat();
    },
    works: async () => {
      await readSilences();
      if (outage === undefined) return;
      const { id, generation } = outage;
      if (generation > 0) {
        const message = composeResolved(groupOf(outage), { ...NOTHING, count: 0 }, compose);
        for (const channel of route("storage_failing", {})) {
          const entry: OutboxEntry = { channel, message };
          await outbox.put(entry, { id: `storage_failing.${id}.resolved.${channel}`, channel });
        }
      }
      outage = undefined;
      unsent = [];
    },
  };
}

/** Time (ms) between two writes of a process that find out whether the storage takes writes. */
const PROBE_EVERY_MS = 60_000;

/**
 * Returns the function that writes an entry, at most once a minute while that succeeds. A storage that is full answers reads,
 * and the rest of a tick may only read. `isWanted`: somebody is notified of a storage that fails.
 */
export function createStorageProbe(
  { storage, clock }: Pick<PluginHost, "storage" | "clock">,
  isWanted: boolean,
): () => Promise<void> {
  let writtenAt = -Infinity;
  return async () => {
    const now = clock();
    // The clock may have been put back.
    if (!isWanted || Math.abs(now - writtenAt) < PROBE_EVERY_MS) return;
    await storage.put(["probe"], { at: now });
    writtenAt = now;
  };
}
