/** Silences of notifications. */
import type { Silence } from "../../../mod.ts";
import { actionLink, actions, ago, empty, shortened } from "../cards.ts";
import { link, table } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";
import { silenceText } from "../silences.ts";

/** The data of the page. */
interface SilencesView {
  readonly items: readonly Silence[];
}

/** Number of silences that are shown: those that end last. */
const MAX_SHOWN = 100;

export const SILENCES: AnyPage = page<SilencesView>({
  path: "/silences",
  nav: "silences.title",
  title: (_, { t }) => t("silences.title"),
  load: async (call) => {
    const { items } = await call("listSilences");
    return { items: items.toSorted((a, b) => b.until - a.until).slice(0, MAX_SHOWN) };
  },
  render: ({ items }, ctx) => {
    const { t } = ctx;
    return markup`<p class="soft">${t("silences.text")}</p>
${actions(actionLink(ctx, "addSilence"))}
${items.length === 0 ? empty(t("silences.empty"), t("silences.empty.text")) : rows(ctx, items)}`;
  },
});

function rows(ctx: PageContext, items: readonly Silence[]): Html {
  const { t, now } = ctx;
  return table({
    caption: t("silences.list", { count: items.length }),
    isCards: true,
    columns: [
      {
        head: t("silences.what"),
        cell: (silence) =>
          silenceText(ctx, silence, (text) => link(ctx, text, "/portals", { fingerprint: silence.fingerprint })),
      },
      {
        head: t("silences.until"),
        cell: ({ until }) =>
          markup`${ctx.time(until)}<br><span class="soft">${
            t("silences.in", { duration: ctx.duration(Math.max(until - now, 0)) })
          }</span>`,
      },
      {
        head: t("parts.by"),
        cell: ({ by, reason }) => markup`<b>${by}</b><br><span class="soft words">${shortened(reason)}</span>`,
      },
      {
        head: t("silences.since"),
        cell: ({ since }) => markup`${ctx.time(since)}<br><span class="soft">${ago(ctx, since)}</span>`,
      },
      ...(ctx.canOperate
        ? [{ head: t("audit.action"), cell: ({ id }: Silence) => actionLink(ctx, "removeSilence", { id }) }]
        : []),
    ],
    rows: items,
  });
}
