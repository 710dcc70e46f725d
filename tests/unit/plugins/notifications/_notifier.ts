/** An app with many portals and a notifier, in virtual time. */
import { type AppOptions, NonRetriableError, type Storage } from "@b24/onappupdate";
import {
  type Channel,
  type NotificationMessage,
  notifications,
  type NotificationsOptions,
} from "@b24/onappupdate/notifications";
import { OPERATOR } from "../../../support/operator.ts";
import { type Crowd, crowd, memberIdOf } from "../../../support/crowd.ts";
import type { VirtualTime } from "../../../support/time.ts";

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** A notification that a channel has sent. */
export interface Sent {
  /** The name of the channel. */
  readonly channel: string;
  readonly id: string;
  readonly message: NotificationMessage;
  /** Milliseconds since the start of the test. */
  readonly at: number;
}

export interface Notifier extends Crowd {
  readonly sent: Sent[];
  /** Returns what was sent since the last call, as `status title`, and the channel if it is not `chat`. */
  readonly news: () => readonly string[];
  /** The work of sending; nothing by default. */
  behavior: (sent: Sent, signal: AbortSignal) => void | Promise<void>;
  /** Parks the portals with the numbers from `from` to below `to`, for this reason. */
  readonly park: (from: number, to: number, reason?: string) => Promise<void>;
  /** Lets parked portals finish their upgrade. */
  readonly retry: (from: number, to: number) => Promise<void>;
}

export interface NotifierOptions {
  readonly options?: Partial<NotificationsOptions>;
  /** Names of channels. */
  readonly channels?: readonly string[];
  readonly app?: Partial<AppOptions>;
  readonly world?: { readonly storage?: Storage; readonly time?: VirtualTime };
}

/** Returns a started app whose upgrade to version 3 parks the portals that a test wants. */
export async function notifier(
  { options = {}, channels = ["chat"], app = {}, world = {} }: NotifierOptions = {},
): Promise<Notifier> {
  const sent: Sent[] = [];
  const base = crowd({ ...app }, world);
  const start = base.time.now();
  const reasons = new Map<string, string>();
  const channelOf = (name: string): Channel => ({
    name,
    send: async (message, { id, signal }) => {
      const one: Sent = { channel: name, id, message, at: base.time.now() - start };
      await made.behavior(one, signal);
      sent.push(one);
    },
  });
  base.app.use(notifications({ channels: channels.map(channelOf), ...options }));
  base.app.upgrade("3", ({ memberId }) => {
    const reason = reasons.get(memberId);
    if (reason !== undefined) throw new NonRetriableError(reason);
  });
  let seen = 0;
  const made: Notifier = {
    ...base,
    sent,
    behavior: () => {},
    news: () => {
      const news = sent.slice(seen).map(({ channel, message: { status, title } }) =>
        `${channel === "chat" ? "" : `${channel}: `}${status} ${title}`
      );
      seen = sent.length;
      return news;
    },
    park: async (from, to, reason = "the field is missing") => {
      for (let number = from; number < to; number++) reasons.set(memberIdOf(number), reason);
      await base.update(from, to);
      await base.time.elapse(1);
    },
    retry: async (from, to) => {
      const retried: Promise<void>[] = [];
      for (let number = from; number < to; number++) {
        reasons.delete(memberIdOf(number));
        retried.push(base.app.admin.retry(memberIdOf(number), OPERATOR));
      }
      // They resolve while time passes.
      await base.time.elapse(SECOND);
      await Promise.all(retried);
    },
  };
  await base.app.start();
  return made;
}
