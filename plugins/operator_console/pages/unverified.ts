/** Events that wait for their verification, in numbers: nobody vouches for what they say yet. */
import type { UnverifiedEvents, UnverifiedPage } from "../../../mod.ts";
import { ago, card, empty, facts, shortened } from "../cards.ts";
import { link, pager, table } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";

/** Number of portals that a page counts. */
const PAGE_SIZE = 100;

export const UNVERIFIED: AnyPage = page<UnverifiedPage>({
  path: "/unverified",
  nav: "unverified.title",
  title: (_, { t }) => t("unverified.title"),
  load: (call, { query }) => call("listUnverified", { query: { limit: PAGE_SIZE, ...query } }),
  render: ({ items, next }, ctx) => {
    const { t } = ctx;
    if (items.length === 0) return empty(t("unverified.empty"), t("unverified.empty.text"));
    const events = items.flatMap(({ events }) => events);
    return markup`<div class="columns columns-even"><div class="column">${
      card({ id: "numbers", title: t("unverified.numbers"), content: numbers(ctx, items, next !== undefined) })
    }${
      card({
        id: "names",
        title: t("unverified.byName"),
        content: countTable(ctx, t("unverified.event"), events.map(({ name }) => name)),
      })
    }</div><div class="column">${
      card({
        id: "errors",
        title: t("unverified.byError"),
        content: countTable(ctx, t("parts.error"), events.map(({ error }) => error ?? t("unverified.byError.none"))),
      })
    }</div></div>${card({ id: "portals", title: t("unverified.list"), content: rows(ctx, items) })}${
      pager(ctx, "/unverified", next === undefined ? undefined : { after: next })
    }`;
  },
});

function numbers(ctx: PageContext, items: readonly UnverifiedEvents[], hasMore: boolean): Html {
  const { t, number } = ctx;
  const events = items.flatMap(({ events }) => events);
  const unknown = items.filter(({ isKnown }) => !isKnown).flatMap(({ events }) => events);
  return markup`${hasMore ? markup`<p class="soft">${t("unverified.more", { count: items.length })}</p>` : ""}${
    facts([
      [t("unverified.waiting"), number(events.length)],
      [t("unverified.portals"), number(items.length)],
      [t("unverified.unknown"), number(unknown.length)],
      [t("unverified.trusted"), number(events.filter(({ isTrusted }) => isTrusted).length)],
      [t("unverified.oldest"), ago(ctx, Math.min(...events.map(({ receivedAt }) => receivedAt)))],
      [t("unverified.size"), `${number(Math.ceil(events.reduce((sum, { size }) => sum + size, 0) / 1024))} KiB`],
    ])
  }`;
}

/** Returns the most frequent values with their numbers. */
function countTable({ t, number }: PageContext, head: string, values: readonly string[]): Html {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return table({
    caption: head,
    columns: [
      { head, cell: ([value]) => markup`<span class="message">${shortened(value)}</span>` },
      { head: t("unverified.count"), isNumber: true, cell: ([, count]) => number(count) },
    ],
    rows: [...counts].sort(([, a], [, b]) => b - a).slice(0, 10),
  });
}

function rows(ctx: PageContext, items: readonly UnverifiedEvents[]): Html {
  const { t, number } = ctx;
  const first = (times: readonly number[]): number => Math.min(...times);
  return table({
    caption: t("unverified.list"),
    isCards: true,
    columns: [
      {
        head: t("parts.portal"),
        cell: ({ memberId, isKnown }) => {
          const id = markup`<code class="member">${memberId}</code>`;
          return isKnown ? link(ctx, id, `/portals/${memberId}`) : id;
        },
      },
      { head: t("parts.state"), cell: ({ isKnown }) => t(isKnown ? "unverified.known" : "unverified.new") },
      { head: t("unverified.count"), isNumber: true, cell: ({ events }) => number(events.length) },
      {
        head: t("unverified.oldest"),
        cell: ({ events }) => ago(ctx, first(events.map(({ receivedAt }) => receivedAt))),
      },
      { head: t("unverified.next"), cell: ({ events }) => ctx.time(first(events.map(({ nextTryAt }) => nextTryAt))) },
    ],
    rows: items,
  });
}
