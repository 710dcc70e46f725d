/**
 * Notifications for operators and customers: what happens to portals and rollouts, in groups, by Telegram, Slack, e-mail, signed
 * webhooks and messages in Bitrix24, and the contract for channels of your own.
 *
 * @module
 */
import { checkOptions, option, type OptionRules, type Plugin, type PluginHost, type RetryPolicy } from "../mod.ts";
import { StorageError } from "../errors.ts";
import type { Channel } from "./notifications/channel.ts";
import { type ComposeOptions, consoleLink, type LinkedGroup } from "./notifications/compose.ts";
import { createDelivering, type Delivering } from "./notifications/delivering.ts";
import { createFlush, type OutboxEntry } from "./notifications/flush.ts";
import type { GroupLabels } from "./notifications/group.ts";
import { messageWithoutPortal } from "./notifications/forget.ts";
import { createGroupStore } from "./notifications/group_store.ts";
import { createHeartbeat, type Heartbeat, HEARTBEAT_RULES } from "./notifications/heartbeat.ts";
import type { Severity } from "./notifications/kinds.ts";
import { createLevels } from "./notifications/level.ts";
import type { NotificationLanguage } from "./notifications/message.ts";
import { createObservers, createTally, type ObservingParts } from "./notifications/observing.ts";
import { createIsQuiet, type QuietHours, quietHoursRule } from "./notifications/quiet_hours.ts";
import { createRouting, type NotificationRule, type Routing, RULE_RULES } from "./notifications/routing.ts";
import { createStanding } from "./notifications/standing.ts";
import { createStorageAlarm, createStorageProbe } from "./notifications/storage_alarm.ts";
import { createWatch } from "./notifications/watch.ts";

export type { GroupLabels, Heartbeat, LinkedGroup, NotificationRule, QuietHours, Severity };
export type { Channel, SendOptions } from "./notifications/channel.ts";
export { consoleChannel, type ConsoleChannelOptions } from "./notifications/channels/console.ts";
export {
  emailChannel,
  type EmailMessage,
  type EmailOptions,
  type EmailTransport,
} from "./notifications/channels/email.ts";
export {
  type CustomerPortalOptions,
  type OwnPortalOptions,
  portalMessageChannel,
} from "./notifications/channels/portal_message.ts";
export { slackChannel, type SlackOptions } from "./notifications/channels/slack.ts";
export { telegramChannel, type TelegramOptions } from "./notifications/channels/telegram.ts";
export { webhookChannel, type WebhookOptions } from "./notifications/channels/webhook.ts";
export type {
  NotificationKind,
  NotificationLanguage,
  NotificationMessage,
  NotifiedPortal,
} from "./notifications/message.ts";
export { type RenderOptions, renderText } from "./notifications/render.ts";

/** Options of {@linkcode notifications}. */
export interface NotificationsOptions {
  /** The channels. At least one; each with a name of its own, of letters, digits and `-_.`. */
  readonly channels: readonly Channel[];
  /**
   * Which notifications go to which channels.
   *
   * @default all that operators get, to all channels
   */
  readonly rules?: readonly NotificationRule[];
  /**
   * The name of the channel that gets what another one could not deliver to operators.
   *
   * @default none
   */
  readonly fallback?: string;
  /**
   * Milliseconds from the first thing of a group to its message: what happens meanwhile is in the same message. Minimum: 0.
   *
   * @default 30000
   */
  readonly groupWaitMs?: number;
  /**
   * Milliseconds between two messages of a group about something new, and until its end is noticed. Minimum: 1000.
   *
   * @default 300000
   */
  readonly groupIntervalMs?: number;
  /**
   * Milliseconds after which a message is repeated if its problem is not over. Minimum: 1000.
   *
   * @default 14400000
   */
  readonly repeatIntervalMs?: number;
  /** When operators get critical notifications only. */
  readonly quietHours?: QuietHours;
  /**
   * The language of notifications.
   *
   * @default "en"
   */
  readonly language?: NotificationLanguage;
  /** An address that is called while the notifier works. */
  readonly heartbeat?: Heartbeat;
  /** Address of the console, such as `"https://ops.example/console"`: notifications link to it. */
  readonly consoleUrl?: string;
  /** Returns the link of a notification for operators. It replaces `consoleUrl`. */
  readonly link?: (group: LinkedGroup) => string | undefined;
  /**
   * Milliseconds without any event after which operators are notified. Minimum: 60000.
   *
   * @default never
   */
  readonly nothingReceivedMs?: number;
  /**
   * Milliseconds that an event may wait for its verification before operators are notified. Minimum: 60000.
   *
   * @default 600000
   */
  readonly delayedMs?: number;
  /**
   * Number of events within `groupIntervalMs` that were refused as not authentic, from which on operators are notified. A whole
   * number. Minimum: 1.
   *
   * @default 10
   */
  readonly minRefused?: number;
  /**
   * Milliseconds that one attempt to send may take. Minimum: 1. Maximum: 300000.
   *
   * @default 30000
   */
  readonly timeoutMs?: number;
  /**
   * Retry policy of what could not be sent.
   *
   * @default { maxAttempts: 10, initialDelayMs: 10000, maxDelayMs: 600000 }
   */
  readonly retry?: RetryPolicy;
}

const CHANNEL = option.value("a channel with a name of letters, digits and -_. and a function send", (channel) => {
  const { name, send } = Object(channel) as Partial<Channel>;
  return typeof name === "string" && /^[\w.-]{1,50}$/.test(name) && typeof send === "function";
});

const OPTION_RULES: OptionRules<NotificationsOptions> = {
  channels: option.required(option.list("a list of channels", CHANNEL)),
  rules: option.list("a list of rules", option.object(RULE_RULES)),
  fallback: option.text("the name of a channel"),
  groupWaitMs: option.duration({ min: 0 }),
  groupIntervalMs: option.duration({ min: 1000 }),
  repeatIntervalMs: option.duration({ min: 1000 }),
  quietHours: quietHoursRule,
  language: option.oneOf("en", "ru"),
  heartbeat: option.object(HEARTBEAT_RULES),
  consoleUrl: option.value("an address that starts with https:// or http://", (url) => {
    return typeof url === "string" && /^https?:\/\//.test(url) && URL.canParse(url);
  }),
  link: option.function(),
  nothingReceivedMs: option.number({ min: 60_000 }),
  delayedMs: option.number({ min: 60_000 }),
  minRefused: option.number({ min: 1, isWhole: true }),
  timeoutMs: option.number({ min: 1, max: 300_000 }),
  retry: option.object<RetryPolicy>({
    maxAttempts: option.number({ min: 1, isWhole: true }),
    initialDelayMs: option.number({ min: 0 }),
    maxDelayMs: option.number({ min: 0 }),
  }),
};

/** Name of the plugin. */
const NAME = "notifications";

const RETRY = { maxAttempts: 10, initialDelayMs: 10_000, maxDelayMs: 600_000 } as const;

/**
 * Notifies operators, and customers if a rule says so, of what happens: portals that are parked, rollouts that are paused or
 * finished, events that are refused or cannot be verified, registrations that have drifted, a storage that fails.
 * `docs/notifications.md` is the guide.
 *
 * - **Groups.** Things of one kind with the same target, upgrade, step and cause are one message: 40 portals that are parked for one
 *   reason are one message with names and a link, and one more when no portal is parked. A group waits for `groupWaitMs`,
 *   and sends again at most every `groupIntervalMs` if there is news, and every `repeatIntervalMs` if there is none.
 * - **At least once.** What is to be told is stored before it is sent, and retried. A crash between sending and recording sends a
 *   message again, with the same `id`.
 * - **Noise.** A paused rollout stands for the portals that are parked on the way to its target. `app.admin.silences` and
 *   `quietHours` hold notifications back.
 * - **Failures.** What a channel does not take is retried, then sent by `fallback`, and is a dead letter in `app.admin.outbox`.
 *   Other channels notify operators that one fails, never that one itself.
 *
 * All decisions are made at ticks: on hosts without timers, waits are minimums.
 *
 * @throws {TypeError} if an option is unknown or invalid, or two channels have the same name
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { consoleChannel, notifications } from "@b24/onappupdate/notifications";
 *
 * createApp({ storage: memoryStorage() })
 *   .use(notifications({ channels: [consoleChannel()], consoleUrl: "https://ops.example/console" }));
 * ```
 */
export function notifications(options: NotificationsOptions): Plugin {
  checkOptions("cannot notify", options, OPTION_RULES);
  const channels = channelsOf(options);
  const { rules, language = "en", consoleUrl, link, retry, timeoutMs = 30_000 } = options;
  const routing = createRouting([...channels.keys()], rules);
  const compose: ComposeOptions = {
    language,
    link: link ?? (consoleUrl === undefined ? () => undefined : consoleLink(consoleUrl)),
  };
  let parts: NotifierParts | undefined;
  const delivering = createDelivering({
    ...{ channels, retry: { ...RETRY, ...retry }, timeoutMs },
    onDead: (entry, id) => onDead(parts!, options, routing, entry, id),
  });
  return {
    name: NAME,
    setup: (host) => {
      for (const channel of channels.values()) channel.setup?.(host);
      parts = createParts(host, { options, routing, compose, delivering });
    },
    observe: createObservers(routing, { plugin: NAME, language, parts: () => parts! }),
    outbox: {
      ...delivering.outbox,
      forget: (entry, portal) => messageWithoutPortal(entry as OutboxEntry, portal),
    },
    forget: (portal) => parts!.store.forget(portal),
    tick: ({ signal }) => parts!.tick(signal),
  };
}

/** @throws {TypeError} if there are none, two have the same name, or `fallback` names none */
function channelsOf({ channels, fallback }: NotificationsOptions): ReadonlyMap<string, Channel> {
  const byName = new Map<string, Channel>();
  for (const [i, channel] of channels.entries()) {
    if (byName.has(channel.name)) {
      throw new TypeError(
        `cannot notify with channels.${i}.name "${channel.name}", wanted another name than those before`,
      );
    }
    byName.set(channel.name, channel);
  }
  if (byName.size === 0) throw new TypeError("cannot notify with channels [], wanted at least one channel");
  if (fallback !== undefined && !byName.has(fallback)) {
    throw new TypeError(
      `cannot notify with fallback ${JSON.stringify(fallback)}, wanted the name of one of the channels`,
    );
  }
  return byName;
}

/** The parts of a notifier, once the app has set it up. */
interface NotifierParts extends ObservingParts {
  readonly tick: (signal: AbortSignal) => Promise<void>;
}

/** Dependencies of {@linkcode createParts}. */
interface PartsOptions {
  readonly options: NotificationsOptions;
  readonly routing: Routing;
  readonly compose: ComposeOptions;
  readonly delivering: Delivering;
}

function createParts(host: PluginHost, { options, routing, compose, delivering }: PartsOptions): NotifierParts {
  const { groupWaitMs = 30_000, groupIntervalMs = 300_000, repeatIntervalMs = 14_400_000, quietHours } = options;
  const { heartbeat, nothingReceivedMs, delayedMs = 600_000, minRefused = 10 } = options;
  const store = createGroupStore(host, groupWaitMs);
  const watch = createWatch(host, { nothingReceivedMs, delayedMs });
  const tally = createTally(host);
  const levelOf = createLevels(host, { watch, plugin: NAME, minRefused });
  const standing = createStanding({ host, store, watch, route: routing.operators });
  const flush = createFlush({
    ...{ host, store, levelOf, route: routing.operators, compose },
    timing: { groupIntervalMs, repeatIntervalMs },
    maxWaitMs: Math.max(groupWaitMs, groupIntervalMs),
    isQuiet: quietHours === undefined ? () => false : createIsQuiet(quietHours),
  });
  const alarm = createStorageAlarm({
    ...{ host, route: routing.operators, compose, send: delivering.send },
    ...{ fallback: options.fallback, waitMs: groupWaitMs, repeatMs: repeatIntervalMs },
  });
  const probe = createStorageProbe(host, routing.operators("storage_failing", {}).length > 0);
  const beat = heartbeat === undefined ? undefined : createHeartbeat(host, heartbeat);
  return {
    ...{ host, store, watch, tally },
    tick: async (signal) => {
      try {
        await tally.store(store);
        await standing();
        await flush(signal);
        await probe();
        await alarm.works();
        // Last: it says that all of this works.
        await beat?.(signal);
      } catch (error) {
        if (error instanceof StorageError && !signal.aborted) await alarm.fails(signal);
        throw error;
      }
    },
  };
}

/** Passes a message on that its channel does not take, and notifies operators of it. */
async function onDead(
  { host, store }: ObservingParts,
  { fallback }: NotificationsOptions,
  { operators }: Routing,
  { channel, message }: OutboxEntry,
  id: string,
): Promise<void> {
  // One about a channel that fails causes no other: two channels that fail would notify of each other for ever.
  if (message.kind === "channel_failing") return;
  try {
    const isForCustomer = id.startsWith("customer.");
    if (fallback !== undefined && fallback !== channel && !isForCustomer) {
      await host.outbox.put({ channel: fallback, message } satisfies OutboxEntry, {
        id: `${id}.fallback`,
        channel: fallback,
      });
    }
    if (operators("channel_failing", { channel }).length === 0) return;
    await store.add({ kind: "channel_failing", labels: { channel } });
  } catch (err) {
    host.log.warn("failed to notify that a channel fails", { event: "notifications.failed", channel, err });
  }
}
