/** Delivers the messages of the outbox: those that are due, a limited number at a time. Retries or drops those that fail. */
import { withTimeout } from "../async/with_timeout.ts";
import { defined } from "../defined.ts";
import { NonRetriableError } from "../errors.ts";
import type { OutboxHandler } from "../plugin/outbox.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { redactError } from "../redact.ts";
import { countsAsAttempt, maxAttemptsOf, nextRetryDelay, unitHash } from "../retry.ts";
import { entryTime } from "../portal/schedule.ts";
import type { DroppedMessages, MessageCounts } from "./kept.ts";
import {
  buryMessage,
  deleteMessage,
  type DueMessage,
  KEPT_MS,
  listDueMessages,
  moveMessage,
  takeMessage,
  type TakenMessage,
} from "./messages.ts";

/** Maximum number of messages of one plugin that are delivered at a time, and of one channel of it. */
const MAX_AT_A_TIME = 8;
const MAX_OF_CHANNEL = 6;

/** Milliseconds that an attempt may take by default. */
const TIMEOUT_MS = 60_000;

/** Milliseconds after the end of an attempt's time until another process may take the message over. */
const MARGIN_MS = 30_000;

/** Maximum length of the message of a stored error. */
const MAX_ERROR_LENGTH = 500;

/** The parts of an app that deliver messages. */
export interface DeliveryParts {
  readonly runtime: AppRuntime;
  readonly messages: Pick<MessageCounts, "of">;
  readonly dropped: DroppedMessages;
  /** Makes room for a dead letter. */
  readonly makeRoom: () => Promise<void>;
}

/** Delivers messages in this process. */
export interface MessageDelivery {
  /** Begins to deliver all messages that are due. Resolves when they are known; they may wait for their turn. */
  readonly passDue: () => Promise<void>;
  /** Resolves when no message is being delivered, or waits for its turn here. */
  readonly idle: () => Promise<void>;
  /** Lets no further message begin: those stay in the schedule. */
  readonly stop: () => void;
}

/** The messages of one plugin that this process knows to be due. */
interface Line {
  /** `undefined`: those without a channel. */
  readonly channels: Map<string | undefined, ChannelLine>;
  running: number;
}

/** The messages of one channel. */
interface ChannelLine {
  readonly waiting: DueMessage[];
  running: number;
}

/** Returns the channel whose turn it is: one that hangs, or has many messages, must not hold up the others. */
function nextChannel({ channels }: Line): ChannelLine | undefined {
  let next: ChannelLine | undefined;
  for (const [name, channel] of channels) {
    const isFull = name !== undefined && channel.running >= MAX_OF_CHANNEL;
    if (channel.waiting.length === 0 || isFull) continue;
    if (next === undefined || channel.running < next.running) next = channel;
    if (next.running === 0) break;
  }
  return next;
}

export function createDelivery(parts: DeliveryParts): MessageDelivery {
  const { runtime: { storage, clock, plugins, log } } = parts;
  const lines = new Map<string, Line>();
  /** Messages that wait or are being delivered, by their places in the schedule. */
  const known = new Set<string>();
  const running = new Set<Promise<void>>();
  let isStopped = false;

  function enqueue(message: DueMessage): void {
    if (known.has(message.due)) return;
    known.add(message.due);
    const line = lines.get(message.plugin) ?? { channels: new Map(), running: 0 };
    lines.set(message.plugin, line);
    const channel = line.channels.get(message.channel) ?? { waiting: [], running: 0 };
    line.channels.set(message.channel, channel);
    channel.waiting.push(message);
    startNext(line);
  }

  function startNext(line: Line): void {
    const channel = line.running < MAX_AT_A_TIME ? nextChannel(line) : undefined;
    const message = channel?.waiting.shift();
    if (channel === undefined || message === undefined) return;
    line.running++;
    channel.running++;
    const { plugin, id, due } = message;
    const work: Promise<void> = attempt(parts, message, handlerOf(plugin), () => isStopped).catch((err) => {
      // It stays in the schedule.
      log.error("failed to update a message of the outbox", { event: "outbox.failed", plugin, id, err });
    }).finally(() => {
      known.delete(due);
      running.delete(work);
      line.running--;
      channel.running--;
      if (channel.running === 0 && channel.waiting.length === 0) line.channels.delete(message.channel);
      startNext(line);
    });
    running.add(work);
  }

  const handlerOf = (name: string): OutboxHandler | undefined => plugins.find((plugin) => plugin.name === name)?.outbox;

  return {
    passDue: async () => {
      const now = clock();
      for await (const message of listDueMessages(storage, now)) {
        if (isStopped) return;
        // Other code may have the plugin, until the message has expired.
        const isOurs = handlerOf(message.plugin) !== undefined || entryTime(message.due) <= now - KEPT_MS;
        if (isOurs) enqueue(message);
      }
    },
    idle: async () => {
      while (running.size > 0) await Promise.all(running);
    },
    stop: () => {
      isStopped = true;
      for (const { channels } of lines.values()) channels.clear();
    },
  };
}

/** Delivers a message, unless another process has it. */
async function attempt(
  parts: DeliveryParts,
  due: DueMessage,
  handler: OutboxHandler | undefined,
  isStopped: () => boolean,
): Promise<void> {
  if (isStopped()) return;
  const { runtime, messages } = parts;
  const { clock, time, signal, log } = runtime;
  const { timeoutMs = TIMEOUT_MS } = handler ?? {};
  const taken = await takeMessage(runtime, due, clock() + timeoutMs + MARGIN_MS);
  if (taken === undefined) return;
  const { plugin, id, entry: { value: { message, attempts, expiresAt } } } = taken;
  if (expiresAt <= clock() || handler === undefined) return await drop(parts, taken);
  try {
    // Its process has ended each time.
    if (attempts > maxAttemptsOf(handler.retry ?? runtime.retry)) {
      throw new NonRetriableError("the process ended during the last attempt");
    }
    await withTimeout(
      time,
      signal,
      timeoutMs,
      async (signal) => await handler.deliver(message, { id, attempt: attempts, signal }),
    );
  } catch (error) {
    return await afterFailure(parts, taken, handler, error);
  }
  if (await deleteMessage(runtime.storage, taken)) messages.of(plugin).add(-1);
  log.debug("message delivered", { event: "outbox.delivered", plugin, id, attempt: attempts });
}

/** Drops a message that was not delivered in time. */
async function drop({ runtime, messages, dropped }: DeliveryParts, taken: TakenMessage): Promise<void> {
  if (!await deleteMessage(runtime.storage, taken)) return;
  messages.of(taken.plugin).add(-1);
  dropped.add(taken.plugin, "expired");
}

/** Schedules the next attempt at a message, or makes it a dead letter. */
async function afterFailure(
  parts: DeliveryParts,
  taken: TakenMessage,
  handler: OutboxHandler,
  thrown: unknown,
): Promise<void> {
  const { runtime, messages, makeRoom } = parts;
  const { storage, clock, random, signal, log } = runtime;
  const { plugin, id, entry: { value: { attempts: attempt, expiresAt } } } = taken;
  const now = clock();
  if (signal.aborted) return void await moveMessage(runtime, taken, now, { attempts: attempt - 1 });
  const err = redactError(thrown, []);
  const error = err.message.slice(0, MAX_ERROR_LENGTH);
  const delay = nextRetryDelay(thrown, attempt, handler.retry ?? runtime.retry, unitHash(random()));
  const retryAt = delay === undefined ? undefined : Math.min(now + delay, expiresAt);
  const fields = { plugin, id, attempt, ...defined({ retryAt }), err };
  if (retryAt !== undefined) {
    log.warn("message not delivered", { event: "outbox.retry", ...fields });
    const attempts = countsAsAttempt(thrown) ? attempt : attempt - 1;
    await moveMessage(runtime, taken, retryAt, { attempts, error });
    return;
  }
  await makeRoom();
  if (!await buryMessage(storage, taken, { error, deadAt: now })) return;
  messages.of(plugin).add(-1);
  log.error("message is a dead letter", { event: "outbox.dead", ...fields });
}
