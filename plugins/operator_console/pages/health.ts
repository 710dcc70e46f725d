/** The health of the app in figures, and the upgrades of its code. */
import type { Pause, PortalCount, RegisteredUpgrade } from "../../../mod.ts";
import { actionLink, actions, ago, card, empty } from "../cards.ts";
import { link, table } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";

/** What the page shows. */
interface Health {
  readonly pause: Pause | undefined;
  readonly counts: readonly PortalCount[];
  readonly upgrades: readonly RegisteredUpgrade[];
  /** When the last hourly counts were stored; absent if there are none of the last week. */
  readonly countedAt: number | undefined;
  readonly unverified: Size;
  readonly waiting: Size;
  readonly dead: Size;
}

/** The number of the items of a list, of which only the first page was read. */
interface Size {
  readonly count: number;
  readonly hasMore: boolean;
}

/** Number of items of each list that are counted. */
const COUNTED = 100;
const LATE_MS = 2 * 60 * 60 * 1000;

function sizeOf({ items, next }: { readonly items: readonly unknown[]; readonly next?: unknown }): Size {
  return { count: items.length, hasMore: next !== undefined };
}

export const HEALTH: AnyPage = page<Health>({
  path: "/health",
  nav: "health.title",
  title: (_, { t }) => t("health.title"),
  live: "totals",
  load: async (call) => {
    const limit = COUNTED;
    const [{ pause }, counts, upgrades, snapshots, unverified, waiting, dead] = await Promise.all([
      call("getPause"),
      call("countPortals"),
      call("listUpgrades"),
      call("listSnapshots", {}),
      call("listUnverified", { query: { limit } }),
      call("listOutbox", { query: { state: "waiting", limit } }),
      call("listOutbox", { query: { state: "dead", limit } }),
    ]);
    return {
      ...{ pause, counts: counts.items, upgrades: upgrades.items, countedAt: snapshots.items.at(-1)?.at },
      ...{ unverified: sizeOf(unverified), waiting: sizeOf(waiting), dead: sizeOf(dead) },
    };
  },
  render: (data, ctx) => {
    const { t } = ctx;
    return markup`${
      actions(
        data.pause === undefined ? actionLink(ctx, "pause") : actionLink(ctx, "resume"),
        actionLink(ctx, "recount"),
      )
    }<div class="columns columns-even"><div class="column">${
      card({ id: "figures", title: t("health.figures"), isLive: true, content: figures(ctx, data) })
    }</div><div class="column">${
      card({ id: "upgrades", title: t("health.upgrades"), isLive: true, content: upgradeTable(ctx, data.upgrades) })
    }</div></div>`;
  },
});

/** A figure, and whether somebody should look at it. */
type Figure = readonly [name: string, value: Html | string, verdict: Verdict];

type Verdict = "ok" | "note" | "look";

function figures(ctx: PageContext, data: Health): Html {
  const { t, number, now } = ctx;
  const { pause, counts, countedAt, unverified, waiting, dead } = data;
  const sum = (state: PortalCount["status"]): number =>
    counts.filter(({ status }) => status === state).reduce((sum, { count }) => sum + count, 0);
  const unknown = counts.filter(({ version, status }) => version === undefined && status !== "uninstalled")
    .reduce((sum, { count }) => sum + count, 0);
  const size = ({ count, hasMore }: Size): string => hasMore ? t("health.atLeast", { count }) : number(count);
  const isLate = countedAt === undefined || now - countedAt > LATE_MS;
  const good = (isGood: boolean): Verdict => isGood ? "ok" : "look";
  const list: readonly Figure[] = [
    [
      t("health.work"),
      pause === undefined ? t("health.work.runs") : t("health.work.paused", { ...pause, since: "" }),
      pause === undefined ? "ok" : "look",
    ],
    [
      t("health.ticks"),
      countedAt === undefined
        ? counts.length === 0 ? t("parts.none") : t("health.ticks.none")
        : markup`${ago(ctx, countedAt)}${isLate ? markup`<br>${t("health.ticks.late")}` : ""}`,
      !isLate || counts.length === 0 ? "ok" : "look",
    ],
    [t("health.parked"), link(ctx, number(sum("parked")), "/portals", { status: "parked" }), good(sum("parked") === 0)],
    [
      t("health.blocked"),
      link(ctx, number(sum("blocked")), "/portals", { status: "blocked" }),
      sum("blocked") === 0 ? "ok" : "note",
    ],
    [t("health.unreadable"), link(ctx, number(unknown), "/portals", { blockedOn: "version" }), good(unknown === 0)],
    [t("health.unverified"), link(ctx, size(unverified), "/unverified"), good(!unverified.hasMore)],
    [t("health.waiting"), link(ctx, size(waiting), "/outbox"), good(!waiting.hasMore)],
    [t("health.dead"), link(ctx, size(dead), "/outbox", { state: "dead" }), good(dead.count === 0)],
  ];
  return markup`<ul class="figures">${
    list.map(([name, value, verdict]) =>
      markup`<li class="figure"><span class="badge badge-figure-${verdict}">${
        t(`health.${verdict}`)
      }</span><span class="figure-name">${name}</span><span class="figure-value">${value}</span></li>`
    )
  }</ul><p class="soft">${t("health.doctor")}</p>`;
}

function upgradeTable(ctx: PageContext, upgrades: readonly RegisteredUpgrade[]): Html {
  const { t, number } = ctx;
  if (upgrades.length === 0) return empty(t("health.upgrades.empty"));
  return table({
    caption: t("health.upgrades"),
    columns: [
      { head: t("rollout.upgrade"), cell: ({ id }) => id },
      { head: t("health.upgrades.range"), cell: ({ range }) => range ?? t("health.upgrades.gone") },
      { head: t("health.upgrades.due"), isNumber: true, cell: ({ due }) => number(due) },
      { head: t("health.upgrades.running"), isNumber: true, cell: ({ running }) => number(running) },
      { head: t("state.blocked"), isNumber: true, cell: ({ blocked }) => number(blocked) },
      {
        head: t("state.parked"),
        isNumber: true,
        cell: ({ id, parked }) =>
          parked === 0 ? number(parked) : link(ctx, number(parked), "/portals", { status: "parked", upgradeId: id }),
      },
    ],
    rows: upgrades,
  });
}
