/**
 * The upgrades of the code, and for how many portals each is due. Apart from the other pages: its cost depends on the number of
 * portals that are not on their target.
 */
import type { RegisteredUpgrade } from "../../../mod.ts";
import { empty } from "../cards.ts";
import { link, table } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";

/** The data of the page. */
interface Upgrades {
  readonly items: readonly RegisteredUpgrade[];
}

export const UPGRADES: AnyPage = page<Upgrades>({
  path: "/upgrades",
  title: (_, { t }) => t("upgrades.title"),
  load: (call) => call("listUpgrades"),
  render: ({ items }, ctx) =>
    markup`<p class="soft">${ctx.t("upgrades.text")}</p>${
      items.length === 0 ? empty(ctx.t("upgrades.empty")) : rows(ctx, items)
    }`,
});

function rows(ctx: PageContext, upgrades: readonly RegisteredUpgrade[]): Html {
  const { t, number } = ctx;
  return table({
    caption: t("upgrades.title"),
    columns: [
      { head: t("rollout.upgrade"), cell: ({ id }) => id },
      { head: t("upgrades.range"), cell: ({ range }) => range ?? t("upgrades.gone") },
      { head: t("upgrades.due"), isNumber: true, cell: ({ due }) => number(due) },
      { head: t("upgrades.running"), isNumber: true, cell: ({ running }) => number(running) },
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
