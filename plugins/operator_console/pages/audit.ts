/** The audit log. */
import type { AuditEntry, AuditPage } from "../../../mod.ts";
import { AUDITED_ACTIONS } from "../../operator_api/parameters.ts";
import { empty, shortened } from "../cards.ts";
import { link, pager, selectField, table, textField } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";

export const AUDIT: AnyPage = page<AuditPage>({
  path: "/audit",
  nav: "audit.title",
  title: (_, { t }) => t("audit.title"),
  load: (call, { query }) => call("listAudit", { query: { limit: 25, ...query } }),
  render: ({ items, next }, ctx) => {
    const { t, params: { query } } = ctx;
    const { after: _, ...match } = query;
    return markup`${filters(ctx)}
${items.length === 0 ? empty(t("audit.empty"), t("audit.empty.text")) : rows(ctx, items)}
<div class="list-foot">${pager(ctx, "/audit", next === undefined ? undefined : { after: next })}
<p class="exports">${t("parts.export")}: ${link(ctx, "CSV", "/export/audit", { ...match, format: "csv" })}, ${
      link(ctx, "JSON Lines", "/export/audit", { ...match, format: "jsonl" })
    }</p></div>`;
  },
});

function filters(ctx: PageContext): Html {
  const { t, params: { query } } = ctx;
  const isFiltered = ["by", "action", "memberId", "batchId"].some((name) => query[name] !== undefined);
  const actions = AUDITED_ACTIONS.map((action) => [action, t(`audit.action.${action}`)] as const);
  return markup`<search><form class="filters" method="get" action="${ctx.href("/audit")}"><details${
    isFiltered ? markup` open` : ""
  }><summary>${t("parts.filter")}</summary><div class="filter-fields">${
    textField({ name: "by", label: t("parts.by"), value: query.by ?? "", maxLength: 100 })
  }${
    selectField({ name: "action", label: t("audit.action"), value: query.action ?? "" }, [
      ["", t("parts.any")],
      ...actions,
    ])
  }${textField({ name: "memberId", label: t("audit.memberId"), value: query.memberId ?? "", maxLength: 32 })}${
    textField({ name: "batchId", label: t("audit.batchId"), value: query.batchId ?? "", maxLength: 200 })
  }
<p class="actions"><button class="primary">${t("parts.show")}</button> ${
    link(ctx, t("parts.clear"), "/audit")
  }</p></div></details></form></search>`;
}

function rows(ctx: PageContext, items: readonly AuditEntry[]): Html {
  const { t } = ctx;
  return table({
    caption: t("audit.title"),
    isCards: true,
    columns: [
      { head: t("parts.time"), cell: ({ at }) => ctx.time(at) },
      { head: t("audit.action"), cell: (entry) => actionText(ctx, entry) },
      {
        head: t("audit.on"),
        cell: ({ memberId }) =>
          memberId === undefined
            ? t("audit.app")
            : link(ctx, markup`<code title="${memberId}">${memberId.slice(0, 8)}…</code>`, `/portals/${memberId}`),
      },
      { head: t("parts.by"), cell: ({ by }) => by },
      { head: t("parts.reason"), cell: ({ reason }) => markup`<span class="words">${reason}</span>` },
      {
        head: t("audit.outcome"),
        cell: ({ outcome, error }) =>
          markup`<span class="badge badge-outcome-${outcome}">${t(`audit.outcome.${outcome}`)}</span>${
            error === undefined ? "" : markup` <span class="message">${shortened(error.message)}</span>`
          }`,
      },
    ],
    rows: items,
  });
}

/** Arguments that say the most about an action. */
const SHOWN = ["upgradeId", "version", "target", "action", "plugin", "list"] as const;

function actionText({ t }: PageContext, { action, details = {} }: AuditEntry): Html {
  const values = SHOWN.map((name) => details[name]).filter((value) => typeof value === "string");
  return markup`${t(`audit.action.${action}`)} <span class="soft">${values.join(" ")}</span>`;
}
