/** The outbox of an app: keeps messages of plugins until they are delivered. */
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import type {
  DeadLetters,
  OutboxAdmin,
  OutboxFilter,
  OutboxMessage,
  OutboxOptions,
  OutboxPage,
  OutboxResult,
  PluginOutbox,
} from "../plugin/outbox.ts";
import type { ForgottenPortal } from "../plugin/forgotten_portal.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { DEAD_LETTERS, deadLetterKey, OUTBOX_MESSAGES } from "../portal/keys.ts";
import { listReadable } from "../portal/list_readable.ts";
import { entryTime } from "../portal/schedule.ts";
import type { Entry, Key } from "../storage/storage.ts";
import { encodeValue } from "../storage/value.ts";
import { createDelivery } from "./delivery.ts";
import { forgetMessages } from "./forget.ts";
import { createDroppedMessages, createKeptCount, createMessageCounts, inDropOrder, MAX_DEAD_LETTERS } from "./kept.ts";
import { nameOf, putMessage, readMessage, type StoredMessage } from "./messages.ts";

/** The outbox of an app. */
export interface Outbox {
  /** Returns the outbox of a plugin. */
  readonly of: (plugin: string) => PluginOutbox;
  readonly admin: {
    readonly list: OutboxAdmin["list"];
    readonly retry: (letters: DeadLetters) => Promise<number>;
  };
  /** Deletes what names a portal, or has its plugin erase the name. */
  readonly forget: (portal: ForgottenPortal) => Promise<void>;
  /** Begins to deliver what is due, and reports what was dropped. Resolves once what is due is known. */
  readonly tick: () => Promise<void>;
  /** Resolves when this process delivers nothing. */
  readonly idle: () => Promise<void>;
  /** Ends the delivery of messages that have not begun. */
  readonly stop: () => void;
}

/** Maximum length of a message, in characters of its JSON, of an id, and of the name of a channel. */
const MAX_LENGTH = 32_768;
const MAX_ID_LENGTH = 200;
const MAX_CHANNEL_LENGTH = 100;

const OPTION_RULES: OptionRules<OutboxOptions> = {
  id: option.value(
    `a string of 1 to ${MAX_ID_LENGTH} characters`,
    (id) => typeof id === "string" && id !== "" && id.length <= MAX_ID_LENGTH,
  ),
  notBefore: option.number({ min: 0 }),
  channel: option.value(
    `a string of 1 to ${MAX_CHANNEL_LENGTH} characters`,
    (name) => typeof name === "string" && name !== "" && name.length <= MAX_CHANNEL_LENGTH,
  ),
};

const NAME = option.value("a string", (name) => typeof name === "string");

const FILTER_RULES: OptionRules<OutboxFilter> = {
  state: option.required(option.oneOf("waiting", "dead")),
  plugin: NAME,
  after: option.object<NonNullable<OutboxFilter["after"]>>({
    plugin: option.required(NAME),
    id: option.required(NAME),
  }),
  limit: option.number({ min: 0, max: Infinity, isWhole: true }),
};

const RETRY_RULES: OptionRules<DeadLetters> = { plugin: option.required(NAME), id: NAME, channel: NAME };

/** Returns the outbox of an app. `isRunning`: returns whether the app is started, so that it delivers messages. */
export function createOutbox(runtime: AppRuntime, isRunning: () => boolean): Outbox {
  const { storage, clock, random, plugins, log } = runtime;
  const messages = createMessageCounts(runtime);
  const deadLetters = createKeptCount(runtime, DEAD_LETTERS, MAX_DEAD_LETTERS);
  const dropped = createDroppedMessages(runtime);
  const delivery = createDelivery({ runtime, messages, dropped, makeRoom });

  /** Dead letters when there were too many, in the order in which they give way: one list serves many. */
  let droppable: readonly Pick<Entry<unknown>, "key" | "version">[] = [];

  /** Makes room for a dead letter: drops another one, if there are too many. */
  async function makeRoom(): Promise<void> {
    const count = await deadLetters.get();
    deadLetters.add(1);
    if (count < MAX_DEAD_LETTERS) return;
    if (droppable.length === 0) {
      const letters = await Array.fromAsync(listReadable(
        runtime,
        DEAD_LETTERS,
        ({ key, version, value: { deadAt = 0 } }: Entry<StoredMessage>) => (
          { key, version, deadAt, plugin: nameOf(key).plugin }
        ),
      ));
      droppable = inDropOrder(letters);
    }
    const [first, ...others] = droppable;
    droppable = others;
    if (first === undefined || !(await storage.delete(first.key, { ifVersion: first.version })).ok) return;
    dropped.add(nameOf(first.key).plugin, "dead");
    deadLetters.add(-1);
  }

  let isLooking = false;
  let isToLook = false;

  /** Delivers what is due, if the app is started. */
  function deliverNow(): void {
    if (!isRunning()) return;
    isToLook = true;
    if (!isLooking) void look();
  }

  /**
   * Looks for what is due, and again for what was put meanwhile: it lists all messages that wait for their turn, so not for each
   * one. Failures are logged: a tick tries again.
   */
  async function look(): Promise<void> {
    isLooking = true;
    try {
      while (isToLook) {
        isToLook = false;
        await delivery.passDue();
      }
    } catch (err) {
      log.warn("failed to look for messages", { event: "outbox.tick_failed", err });
    } finally {
      isLooking = false;
    }
  }

  async function put(plugin: string, message: unknown, options: OutboxOptions = {}): Promise<OutboxResult> {
    const action = `cannot put a message of plugin "${plugin}" into the outbox`;
    checkOptions(action, options, OPTION_RULES);
    if (!plugins.some(({ name, outbox }) => name === plugin && outbox !== undefined)) {
      throw new TypeError(`${action}: the plugin has no outbox, wanted one with deliver()`);
    }
    const { length } = encodeValue(OUTBOX_MESSAGES, message);
    if (length > MAX_LENGTH) {
      throw new TypeError(`${action} with ${length} characters of JSON, wanted at most ${MAX_LENGTH}`);
    }
    if (await messages.of(plugin).get() >= messages.share()) {
      dropped.add(plugin, "full");
      return "dropped";
    }
    const now = clock();
    const { id = random(), notBefore = now, channel } = options;
    if (!await putMessage(runtime, { plugin, id }, { message, ...defined({ channel }) }, notBefore)) return "duplicate";
    messages.of(plugin).add(1);
    if (notBefore <= now) deliverNow();
    return "stored";
  }

  async function retry({ plugin, id, channel: wanted }: DeadLetters): Promise<number> {
    const prefix: Key = id === undefined ? [...DEAD_LETTERS, plugin] : deadLetterKey(plugin, id);
    let count = 0;
    const letterOf = (entry: Entry<StoredMessage>) => ({ key: entry.key, channel: readMessage(entry).channel });
    for await (const { key, channel } of listReadable(runtime, prefix, letterOf)) {
      if (wanted !== undefined && channel !== wanted) continue;
      // Another operator may have retried it since, or erased a portal from it.
      const { message } = (await storage.get<StoredMessage>(key))?.value ?? {};
      if (message === undefined) continue;
      // If one with its id waits, that is delivered instead.
      if (!await putMessage(runtime, nameOf(key), { message, ...defined({ channel }) }, clock())) continue;
      count++;
      messages.of(plugin).add(1);
      deadLetters.add(-1);
    }
    deliverNow();
    return count;
  }

  return {
    of: (plugin) => ({ put: (message, options) => put(plugin, message, options) }),
    admin: {
      list: async (filter) => {
        checkOptions("cannot list the outbox", filter, FILTER_RULES);
        return await listMessages(runtime, filter);
      },
      retry: async (letters) => {
        checkOptions("cannot retry dead letters", letters, RETRY_RULES);
        return await retry(letters);
      },
    },
    forget: (portal) =>
      forgetMessages(runtime, portal, (prefix, plugin) => {
        (prefix === DEAD_LETTERS ? deadLetters : messages.of(plugin)).add(-1);
      }),
    tick: async () => {
      if (plugins.some(({ outbox }) => outbox !== undefined)) await delivery.passDue();
      dropped.report();
    },
    idle: delivery.idle,
    stop: () => {
      delivery.stop();
      dropped.report();
    },
  };
}

async function listMessages(runtime: AppRuntime, filter: OutboxFilter): Promise<OutboxPage> {
  const { state, plugin, after, limit = 100 } = filter;
  const all = state === "dead" ? DEAD_LETTERS : OUTBOX_MESSAGES;
  const options = defined({ after: after && [...all, after.plugin, after.id] as const });
  const prefix: Key = plugin === undefined ? all : [...all, plugin];
  const items: OutboxMessage[] = [];
  if (limit === 0) return { items };
  for await (const message of listReadable(runtime, prefix, messageOf, options)) {
    items.push(message);
    if (items.length === limit) return { items, next: { plugin: message.plugin, id: message.id } };
  }
  return { items };
}

/** @throws {FormatError} if newer code wrote the message */
function messageOf(entry: Entry<StoredMessage>): OutboxMessage {
  const { format: _f, expiresAt: _e, due, ...message } = readMessage(entry);
  const nextTryAt = due === undefined ? undefined : entryTime(due);
  return { ...nameOf(entry.key), ...message, ...defined({ nextTryAt }) };
}
