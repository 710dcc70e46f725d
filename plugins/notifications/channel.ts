/** The contract of channels. */
import type { PluginHost } from "../../mod.ts";
import type { NotificationMessage } from "./message.ts";

/** Options of {@linkcode Channel.send}. */
export interface SendOptions {
  /** Aborted if the delivery takes too long, or the app closes. */
  readonly signal: AbortSignal;
  /** The id of the notification, the same each time that it is sent: one line, which may contain the name of the channel. */
  readonly id: string;
}

/**
 * Sends notifications to one place. A notification is sent at least once: after a crash, or if an answer was lost, it is sent
 * again with the same `id`. Pass the id on, in the text if the receiver has no other place for it.
 */
export interface Channel {
  /** The name of the channel, unique among those of a notifier: options and errors refer to it. */
  readonly name: string;
  /**
   * Maximum length of a text in UTF-16 units, if there is one.
   *
   * @default no limit
   */
  readonly maxLength?: number;
  /**
   * Sends a notification, and resolves once the receiver has taken it. Its error is logged and stored with the notification:
   * it must not contain the channel's address, nor any other secret. A `RetryAfterError` schedules the next attempt, and a
   * `NonRetriableError` is the last one; any other error is retried with growing delays.
   */
  readonly send: (message: NotificationMessage, options: SendOptions) => Promise<void>;
  /** Called once before the first notification, for channels that need `host.fetch` or `host.credentials`. */
  readonly setup?: (host: PluginHost) => void;
}
