/** The outbox: messages of plugins, such as notifications, that wait or could not be delivered. */
import type { OutboxMessage, OutboxPage } from "../../../mod.ts";
import { actionLink, actions, empty, shortened } from "../cards.ts";
import { pager, table } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { channelsCard, channelText, type OutboxChannels, readChannels } from "../outbox_channels.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";

/** The data of the page. */
interface OutboxView {
  readonly messages: OutboxPage;
  readonly channels: OutboxChannels;
}

export const OUTBOX: AnyPage = page<OutboxView>({
  path: "/outbox",
  nav: "outbox.title",
  title: (_, { t }) => t("outbox.title"),
  load: async (call, { query }) => {
    const [messages, channels] = await Promise.all([
      call("listOutbox", { query: { state: "waiting", limit: 25, ...query } }),
      readChannels(call),
    ]);
    return { messages, channels };
  },
  render: ({ messages: { items, next }, channels }, ctx) => {
    const { t, params: { query } } = ctx;
    const state = query.state === "dead" ? "dead" : "waiting";
    const tab = (name: "waiting" | "dead"): Html =>
      markup`<a href="${ctx.href("/outbox", { state: name })}"${name === state ? markup` aria-current="true"` : ""}>${
        t(`outbox.${name}`)
      }</a>`;
    const plugins = [...new Set(items.map(({ plugin }) => plugin))];
    return markup`${channelsCard(ctx, channels)}
<p class="tabs" role="group" aria-label="${t("parts.state")}">${tab("waiting")}${tab("dead")}</p>
${
      state === "dead"
        ? actions(
          ...plugins.map((plugin) => actionLink(ctx, "retryOutbox", { plugin }, t("outbox.retryAll", { plugin }))),
        )
        : ""
    }
${items.length === 0 ? empty(t(`outbox.empty.${state}`), t("outbox.empty.text")) : rows(ctx, items)}
${pager(ctx, "/outbox", next === undefined ? undefined : { afterPlugin: next.plugin, afterId: next.id })}`;
  },
});

function rows(ctx: PageContext, items: readonly OutboxMessage[]): Html {
  const { t, number } = ctx;
  const isDead = items.some(({ deadAt }) => deadAt !== undefined);
  return table({
    caption: t("outbox.list", { count: items.length }),
    isCards: true,
    columns: [
      { head: t("outbox.message"), cell: ({ id }) => markup`<code class="member">${id}</code>` },
      { head: t("outbox.channel"), cell: channelText },
      { head: t("outbox.put"), cell: ({ putAt }) => ctx.time(putAt) },
      { head: t("parts.attempts"), isNumber: true, cell: ({ attempts }) => number(attempts) },
      {
        head: t("parts.error"),
        cell: ({ error }) => error === undefined ? undefined : markup`<span class="message">${shortened(error)}</span>`,
      },
      isDead ? { head: t("outbox.died"), cell: ({ deadAt }) => deadAt === undefined ? undefined : ctx.time(deadAt) } : {
        head: t("outbox.next"),
        cell: ({ nextTryAt }) => nextTryAt === undefined ? undefined : ctx.time(nextTryAt),
      },
    ],
    rows: items,
  });
}
