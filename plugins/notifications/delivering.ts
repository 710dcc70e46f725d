/** Delivers the messages of the outbox by their channels. */
import { NonRetriableError, type OutboxHandler, redact, RetryAfterError, type RetryPolicy } from "../../mod.ts";
import { abortable } from "./abortable.ts";
import type { Channel } from "./channel.ts";
import type { OutboxEntry } from "./flush.ts";

/** Dependencies of {@linkcode createDelivering}. */
export interface DeliveringParts {
  readonly channels: ReadonlyMap<string, Channel>;
  readonly retry: RetryPolicy & { readonly maxAttempts: number };
  /** Milliseconds that an attempt may take. */
  readonly timeoutMs: number;
  /** Called when a message becomes a dead letter. Never rejects. */
  readonly onDead: (entry: OutboxEntry, id: string) => Promise<void>;
}

/** Delivers messages. */
export interface Delivering {
  /** Sends a message once. Rejects with an error without addresses. */
  readonly send: (entry: OutboxEntry, id: string, signal: AbortSignal) => Promise<void>;
  readonly outbox: OutboxHandler;
}

/** Time (ms) after which the outbox ends an attempt that should have ended by itself. */
const MARGIN_MS = 5000;

/** Returns what delivers messages. */
export function createDelivering({ channels, retry, timeoutMs, onDead }: DeliveringParts): Delivering {
  async function send({ channel: name, message }: OutboxEntry, id: string, signal: AbortSignal): Promise<void> {
    const channel = channels.get(name);
    // In a deploy, another process may have it.
    if (channel === undefined) throw new Error(`the notifier has no channel ${JSON.stringify(name)}`);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      // A channel may ignore the signal.
      await abortable(limit, async () => await channel.send(message, { signal: limit, id }));
    } catch (thrown) {
      throw safeError(name, thrown);
    }
  }

  return {
    send,
    outbox: {
      retry,
      timeoutMs: timeoutMs + MARGIN_MS,
      deliver: async (stored, { id, attempt, signal }) => {
        const entry = stored as OutboxEntry;
        try {
          await send(entry, id, signal);
        } catch (error) {
          // The app is closing: the next process repeats the attempt.
          const isCut = signal.aborted && (signal.reason as Error).name === "AbortError";
          const isLast = error instanceof NonRetriableError ||
            (!(error instanceof RetryAfterError) && attempt >= retry.maxAttempts);
          if (isLast && !isCut) await onDead(entry, id);
          throw error;
        }
      },
    },
  };
}

/** Maximum number of causes that are looked at, and length of a message. */
const MAX_CAUSES = 10;
const MAX_LENGTH = 300;

/** Returns an error with the meaning of what a channel has thrown, and nothing in it that may be a secret. */
export function safeError(channel: string, thrown: unknown): Error {
  const message = `channel ${channel}: ${safeText(thrown instanceof Error ? thrown.message : "failed")}`;
  for (let cause = thrown, depth = 0; cause instanceof Error && depth < MAX_CAUSES; cause = cause.cause, depth++) {
    if (cause instanceof RetryAfterError) return new RetryAfterError(cause.afterMs, message);
    if (cause instanceof NonRetriableError) return new NonRetriableError(message);
  }
  return new Error(message);
}

/** Addresses, and the paths of Telegram. */
const ADDRESS = /\b[a-z][a-z\d+.-]*:\/\/[^\s"'<>)]*|\/?\bbot\d+:[\w-]+/gi;

/** Long words with a digit: keys and tokens. A `member_id` is no secret. */
const KEY = /(?<![\w/+=.-])(?![0-9a-f]{32}(?![\w/+=.-]))(?=[\w/+=.-]*\d)[\w/+=.-]{20,}/g;

function safeText(text: string): string {
  return redact(text.slice(0, MAX_LENGTH * 4)).replace(ADDRESS, "[address]").replace(KEY, "[redacted]").slice(
    0,
    MAX_LENGTH,
  );
}
