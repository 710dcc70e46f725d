/** The outbox as plugins use it: messages that the core keeps and a plugin delivers. */
import { option, type OptionRules } from "../check_options.ts";
import type { Attribution } from "./admin_pages.ts";
import type { ForgottenPortal } from "./forgotten_portal.ts";
import { RETRY_RULES, type RetryPolicy } from "../retry.ts";

/** Delivers the messages of a plugin: {@linkcode Plugin.outbox}. */
export interface OutboxHandler {
  /**
   * Delivers one message: a copy of what was passed to `host.outbox.put`. It has been delivered once this resolves.
   *
   * At most one process delivers a message at a time, as far as their clocks agree within 30 seconds, and up to 8 messages of a
   * plugin are delivered at a time in a process, up to 6 of them to one `channel`, in any order. A crash may repeat a delivery: pass
   * `id` on, so that the receiver can tell.
   *
   * If it throws, the message is delivered again: after the delay of a `RetryAfterError`, which does not count as an attempt,
   * or by `retry`. After the last attempt, or a `NonRetriableError`, it is a dead letter, which `app.admin.outbox` lists and
   * retries. The message of the error is stored: it must not contain a secret.
   */
  readonly deliver: (message: unknown, context: OutboxContext) => void | Promise<void>;
  /**
   * Returns a message without anything about a portal that `app.admin.forget` erases, or `undefined` for one that is to be
   * deleted. Called for each message that contains the portal's `member_id` or domain. Without this function, these messages are
   * deleted.
   */
  readonly forget?: (message: unknown, portal: ForgottenPortal) => unknown;
  /**
   * Retry policy of failed deliveries.
   *
   * @default the `retry` option of the app
   */
  readonly retry?: RetryPolicy;
  /**
   * Milliseconds after which an attempt fails and its `signal` is aborted. Minimum: 1. Maximum: 600000.
   *
   * @default 60000
   */
  readonly timeoutMs?: number;
}

/** The context in which a message is delivered. */
export interface OutboxContext {
  /** Id of the message, the same for each attempt. */
  readonly id: string;
  /** Number of this attempt; 1 for the first. One whose process ended counts. */
  readonly attempt: number;
  /** Aborted when the time of the attempt is over, and when the app closes. */
  readonly signal: AbortSignal;
}

/** Options of {@linkcode PluginOutbox.put}. */
export interface OutboxOptions {
  /**
   * Id of the message: up to 200 characters, unique in the plugin. While a message waits, another one with its id is not
   * stored. Of a report to an observer, pass the `id` of the report.
   *
   * @default a random string
   */
  readonly id?: string;
  /**
   * When the message is delivered at the earliest, in milliseconds since 1970. Minimum: 0.
   *
   * @default now
   */
  readonly notBefore?: number;
  /**
   * Name of the receiver, up to 100 characters, such as a channel of notifications. Operators see it, and retry the dead letters of
   * one channel.
   *
   * @default none
   */
  readonly channel?: string;
}

/** The outcome of `put`. `duplicate`: one with its id waits; `dropped`: too many wait, see `outboxDropped`. */
export type OutboxResult = "stored" | "duplicate" | "dropped";

/** The messages of a plugin: {@linkcode PluginHost.outbox}. */
export interface PluginOutbox {
  /**
   * Stores a message, which a started app then delivers by {@linkcode Plugin.outbox}: this one at once, or another one on the
   * same storage. A message is kept for 7 days, and a dead letter for 30. Of all plugins, 10,000 messages and 1,000 dead letters
   * are kept: each plugin with an outbox has the same share of the messages, and a dead letter too many replaces the oldest of
   * the plugin that has the most.
   *
   * @throws {TypeError} if the plugin has no `outbox`, an option is invalid, or the message is no JSON of at most 32,768
   *   characters
   * @throws {StorageError} if the storage fails
   */
  readonly put: (message: unknown, options?: OutboxOptions) => Promise<OutboxResult>;
}

/** A message in the outbox. */
export interface OutboxMessage {
  /** Name of the plugin that delivers it. */
  readonly plugin: string;
  /** Its id, unique in the plugin. */
  readonly id: string;
  /** Name of the receiver, as the plugin passed it. */
  readonly channel?: string;
  /** The message, as the plugin passed it. */
  readonly message: unknown;
  /** When it was put, in milliseconds since 1970. */
  readonly putAt: number;
  /** Number of attempts that count, also one that is under way. */
  readonly attempts: number;
  /**
   * Message of the last error; absent before the first attempt has failed. What looks like a token is removed, which no pattern
   * does for every secret: `deliver` must not quote secrets in its errors, such as the URL of a webhook.
   */
  readonly error?: string;
  /** When it is delivered next, in milliseconds since 1970; of one that is being delivered, at the latest. Absent if it is dead. */
  readonly nextTryAt?: number;
  /** When its last attempt failed, in milliseconds since 1970; absent if it is not dead. */
  readonly deadAt?: number;
}

/** Selects messages for {@linkcode OutboxAdmin.list}. */
export interface OutboxFilter {
  /** `waiting` messages, or `dead` letters. */
  readonly state: "waiting" | "dead";
  /** Only messages of this plugin. */
  readonly plugin?: string;
  /** Only messages after this one; pass `next` of a page to get the next page. */
  readonly after?: Pick<OutboxMessage, "plugin" | "id">;
  /**
   * Maximum number of messages. A whole number or `Infinity`. Minimum: 0.
   *
   * @default 100
   */
  readonly limit?: number;
}

/** A page of messages. */
export interface OutboxPage {
  /** The messages, in the order of plugins and ids. */
  readonly items: readonly OutboxMessage[];
  /** Pass it as `after` to get the next page, which may be empty; absent after the last one. */
  readonly next?: Pick<OutboxMessage, "plugin" | "id">;
}

/** Dead letters of a plugin: all, or those with this id and this channel. */
export interface DeadLetters {
  /** Name of the plugin. */
  readonly plugin: string;
  /** Id of the message. */
  readonly id?: string;
  /** Name of the receiver. */
  readonly channel?: string;
}

/** Operators' functions for the outbox. */
export interface OutboxAdmin {
  /**
   * Lists messages in the order of plugins and ids.
   *
   * @throws {TypeError} if a member of the filter is unknown or invalid
   * @throws {StorageError} if the storage fails
   */
  readonly list: (filter: OutboxFilter) => Promise<OutboxPage>;
  /**
   * Delivers dead letters again, with their attempts counted from zero: one, or all of a plugin or of one of its channels. Resolves to their number, once
   * that is stored.
   *
   * @throws {TypeError} if a member is unknown or invalid
   * @throws {StorageError} if the storage fails
   */
  readonly retry: (letters: DeadLetters, attribution: Attribution) => Promise<number>;
}

/** Maximum of `timeoutMs`: another process takes a message over somewhat later. */
const MAX_TIMEOUT_MS = 10 * 60 * 1000;

/** The rules of an {@linkcode OutboxHandler}. */
export const OUTBOX_RULES: OptionRules<OutboxHandler> = {
  deliver: option.required(option.function()),
  forget: option.function(),
  retry: option.object(RETRY_RULES),
  timeoutMs: option.number({ min: 1, max: MAX_TIMEOUT_MS }),
};
