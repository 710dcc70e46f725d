/** Batch operations. */
import type { Batch, PortalMatch } from "../../../mod.ts";
import { actionLink, ago, empty } from "../cards.ts";
import { shareBar } from "../charts.ts";
import { link, table } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";
import { isTextKey } from "../texts.ts";

/** The data of the page. */
interface BatchesView {
  readonly items: readonly Batch[];
}

export const BATCHES: AnyPage = page<BatchesView>({
  path: "/batches",
  nav: "batches.title",
  title: (_, { t }) => t("batches.title"),
  live: "totals",
  load: async (call) => ({ items: (await call("listBatches", { query: { limit: 25 } })).items }),
  render: ({ items }, ctx) => {
    const { t } = ctx;
    return markup`<div id="batches" data-live>${
      items.length === 0 ? empty(t("batches.empty"), t("batches.empty.text")) : rows(ctx, items)
    }</div>`;
  },
});

function rows(ctx: PageContext, items: readonly Batch[]): Html {
  const { t } = ctx;
  return table({
    caption: t("batches.title"),
    isCards: true,
    columns: [
      {
        head: t("batches.action"),
        cell: (batch) =>
          markup`<b>${t(`acting.action.${batch.action}`)}</b> ${batch.upgradeId ?? batch.version ?? ""}<br><small>${
            link(ctx, matchText(ctx, batch.match), "/portals", { ...batch.match })
          }</small>`,
      },
      { head: t("batches.progress"), cell: (batch) => progress(ctx, batch) },
      {
        head: t("parts.by"),
        cell: ({ by, reason }) => markup`<b>${by}</b><br><span class="soft words">${reason}</span>`,
      },
      {
        head: t("batches.started"),
        cell: ({ startedAt }) => markup`${ctx.time(startedAt)}<br><span class="soft">${ago(ctx, startedAt)}</span>`,
      },
      {
        head: t("batches.state"),
        cell: ({ id, state }) =>
          markup`<span class="badge badge-batch-${state}">${t(`batches.state.${state}`)}</span> ${
            state === "running" ? actionLink(ctx, "stopBatch", { id }) : ""
          }<br>${link(ctx, t("batches.audit"), "/audit", { batchId: id })}`,
      },
    ],
    rows: items,
  });
}

function progress(ctx: PageContext, { matched, done, refused, changed, busy = 0 }: Batch): Html {
  const { t } = ctx;
  const counts = { done, refused, changed, busy };
  const texts = Object.entries(counts).filter(([name, count]) => count > 0 || name === "done")
    .map(([name, count]) => t(`batches.${name as keyof typeof counts}`, { count }));
  const label = texts.join(", ");
  return markup`${
    shareBar(label, [
      { name: "fill-current", value: done },
      { name: "fill-parked", value: refused },
      { name: "fill-uninstalled", value: changed },
      { name: "fill-blocked", value: busy },
    ], Math.max(matched, 1))
  }<span class="soft">${label} ${t("batches.of", { count: matched })}</span>`;
}

function matchText({ t }: PageContext, match: PortalMatch): string {
  const parts = Object.entries(match).map(([name, value]) => {
    const key = `${name === "status" ? "state" : name === "blockedOn" ? "blocked" : ""}.${value}`;
    return `${t(`acting.field.match.${name as keyof PortalMatch}`)}: ${isTextKey(key) ? t(key) : value}`;
  });
  return parts.join(", ");
}
