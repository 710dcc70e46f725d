/** The overview: all portals at a glance. */
import type { PortalCount } from "../../../mod.ts";
import { badge, table } from "../elements.ts";
import { html } from "../html.ts";
import { type AnyPage, page } from "../page.ts";

/** What the overview shows. */
interface Overview {
  readonly counts: readonly PortalCount[];
}

export const OVERVIEW: AnyPage = page<Overview>({
  path: "/",
  nav: "overview.title",
  title: (_, { t }) => t("overview.title"),
  live: "totals",
  load: async (call) => ({ counts: (await call("countPortals")).items }),
  render: ({ counts }, ctx) => {
    const { t } = ctx;
    if (counts.length === 0) return html`<p class="empty">${t("overview.empty")}</p>`;
    return html`<div id="counts" data-live>${
      table({
        caption: t("overview.counts"),
        columns: [
          { head: t("overview.version"), cell: ({ version }) => version ?? "—" },
          { head: t("overview.state"), cell: ({ status }) => badge(ctx, status) },
          { head: t("overview.portals"), isNumber: true, cell: ({ count }) => ctx.number(count) },
        ],
        rows: counts,
      })
    }</div>`;
  },
});
