/** Messages of the outbox by plugin and channel, so that a channel that fails is seen. */
import type { OutboxMessage } from "../../mod.ts";
import { actionLink, card, shortened } from "./cards.ts";
import type { Call } from "./calls.ts";
import { table } from "./elements.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";

/** The messages of a plugin with one channel, or with none. */
export interface OutboxChannel {
  readonly plugin: string;
  readonly channel?: string;
  /** Number of messages that wait. */
  readonly waiting: number;
  /** Number of dead letters. */
  readonly dead: number;
  /** The last error of one of them. */
  readonly error?: string;
}

/** Messages by plugin and channel. */
export interface OutboxChannels {
  /** The ones with the most dead letters first. */
  readonly items: readonly OutboxChannel[];
  /** More messages wait than were read. */
  readonly isMore: boolean;
}

/** Maximum number of messages and of dead letters that are counted: the outbox keeps as many dead letters. */
const MAX_COUNTED = 1000;

/** Maximum number of channels that are shown. */
const MAX_SHOWN = 50;

/** Counts the messages by plugin and channel. */
export async function readChannels(call: Call): Promise<OutboxChannels> {
  const [waiting, dead] = await Promise.all([
    call("listOutbox", { query: { state: "waiting", limit: MAX_COUNTED } }),
    call("listOutbox", { query: { state: "dead", limit: MAX_COUNTED } }),
  ]);
  return { items: channelsOf([...waiting.items, ...dead.items]), isMore: waiting.next !== undefined };
}

function channelsOf(messages: readonly OutboxMessage[]): readonly OutboxChannel[] {
  const channels = new Map<string, OutboxChannel>();
  for (const { plugin, channel, deadAt, error: latest } of messages) {
    const key = JSON.stringify([plugin, channel]);
    const { waiting, dead, error = latest } = channels.get(key) ?? { waiting: 0, dead: 0 };
    const counts = deadAt === undefined ? { waiting: waiting + 1, dead } : { waiting, dead: dead + 1 };
    channels.set(key, {
      ...{ plugin, ...counts },
      ...(channel !== undefined && { channel }),
      ...(error !== undefined && { error }),
    });
  }
  const failing = ({ error }: OutboxChannel): number => Number(error !== undefined);
  return [...channels.values()].sort((a, b) => b.dead - a.dead || failing(b) - failing(a) || b.waiting - a.waiting);
}

/** Returns a plugin, and its channel if it has one. */
export function channelText({ plugin, channel }: Pick<OutboxChannel, "plugin" | "channel">): string {
  return channel === undefined ? plugin : `${plugin} · ${channel}`;
}

/** Returns the messages by plugin and channel; nothing if there are none. */
export function channelsCard(ctx: PageContext, { items, isMore }: OutboxChannels): Html {
  const { t, number } = ctx;
  if (items.length === 0) return markup``;
  const verdict = ({ dead, error }: OutboxChannel): Html => {
    const state = dead > 0 ? "look" : error !== undefined ? "note" : "ok";
    return markup`<span class="badge badge-figure-${state}">${t(`outbox.channel.${state}`)}</span>`;
  };
  return card({
    id: "channels",
    title: t("outbox.channels"),
    content: markup`${
      table({
        caption: t("outbox.channels"),
        isCards: true,
        columns: [
          { head: t("outbox.channel"), cell: channelText },
          { head: t("parts.state"), cell: verdict },
          { head: t("outbox.waiting"), isNumber: true, cell: ({ waiting }) => number(waiting) },
          { head: t("outbox.channels.dead"), isNumber: true, cell: ({ dead }) => number(dead) },
          {
            head: t("parts.error"),
            cell: ({ error }) =>
              error === undefined ? undefined : markup`<span class="message">${shortened(error)}</span>`,
          },
          ...(ctx.canOperate
            ? [{ head: t("audit.action"), cell: (one: OutboxChannel) => retryLink(ctx, one, items) }]
            : []),
        ],
        rows: items.slice(0, MAX_SHOWN),
      })
    }${isMore ? markup`<p class="soft">${t("outbox.channels.more", { count: MAX_COUNTED })}</p>` : ""}`,
  });
}

/** Returns the link that retries the dead letters of a channel. Those without a channel are retried with the whole plugin only. */
function retryLink(
  ctx: PageContext,
  { plugin, channel, dead }: OutboxChannel,
  items: readonly OutboxChannel[],
): Html | "" {
  const isWhole = channel === undefined;
  if (dead === 0 || (isWhole && items.filter((other) => other.plugin === plugin).length > 1)) return "";
  return actionLink(ctx, "retryOutbox", { plugin, channel });
}
