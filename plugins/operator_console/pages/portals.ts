/** The list of portals: a search by domain, filters, and actions on all that match. */
import type { Portal, PortalCount, PortalMatch, PortalPage, StuckGroup } from "../../../mod.ts";
import { refusalOf } from "../../operator_api/api_error.ts";
import { BLOCKED_REASONS, PORTAL_STATES } from "../../operator_api/parameters.ts";
import type { Call } from "../calls.ts";
import { actionLink, byVersion, empty } from "../cards.ts";
import { badge, link, pager, portalLink, selectField, table, textField } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";
import { nextOf, reasonOf, versionText } from "../portal_list.ts";

/** The data of the list. */
interface Portals {
  readonly list: PortalPage;
  /** The list as a filter of the operator API, for what is done to all of it; absent if it is none. */
  readonly match?: Query;
  /** The suggestions of filters. */
  readonly counts: readonly PortalCount[];
  readonly stuck: readonly StuckGroup[];
}

/** Number of portals on a page: more would make it larger than 100 KB. */
const PAGE_SIZE = 50;

/** The members of a filter in the order of their fields; the last one has none. */
const MATCH: readonly (keyof PortalMatch)[] = [
  ...["domain", "status", "version", "blockedOn", "upgradeId", "fingerprint", "formerDomain"] as const,
];

export const PORTALS: AnyPage = page<Portals>({
  path: "/portals",
  nav: "portals.title",
  title: (_, { t }) => t("portals.title"),
  load: async (call, { query }) => {
    const [found, counts, stuck] = await Promise.all([
      find(call, query),
      call("countPortals"),
      call("listStuck"),
    ]);
    return { ...found, counts: counts.items, stuck: stuck.items };
  },
  render: (data, ctx) => {
    const { t, params: { query } } = ctx;
    const { list: { items, unreadable = [], next }, match } = data;
    const hasFilter = MATCH.some((name) => query[name] !== undefined);
    return markup`${filters(ctx, data)}
${match !== undefined && hasFilter && items.length > 0 ? batchActions(ctx, match) : ""}
${
      unreadable.length === 0
        ? ""
        : markup`<div class="notice notice-warn"><p>${t("portals.unreadable", { count: unreadable.length })}</p></div>`
    }
${items.length === 0 ? noPortal(ctx, hasFilter, next !== undefined) : rows(ctx, items)}
<div class="list-foot">${pager(ctx, "/portals", next === undefined ? undefined : { after: next })}${
      match === undefined ? "" : exports(ctx, match)
    }</div>`;
  },
});

type Query = Readonly<Record<string, string>>;

/** Ends of domains of portals in the cloud, the most frequent first: people search by the name alone. */
const CLOUD = ["ru", "com", "de", "eu", "com.br", "by", "kz", "fr", "es", "it", "pl", "in", "com.tr", "uz", "cn", "mx"];

/** Finds portals. The domain may be an address of the portal, as people copy it, its first part, or a member_id. */
async function find(call: Call, { domain, ...query }: Query): Promise<Pick<Portals, "list" | "match">> {
  const named = domain?.trim().toLowerCase().replace(/^https?:\/\//, "").split("/", 1)[0];
  if (named !== undefined && /^[0-9a-f]{32}$/.test(named)) {
    const portal = await call("getPortal", { portal: named }).catch(unlessUnknown);
    return { list: { items: portal === undefined ? [] : [portal] } };
  }
  const listed = (domain: string | undefined): Promise<PortalPage> =>
    call("listPortals", { query: { limit: PAGE_SIZE, ...query, domain } });
  const list = await listed(named);
  if (named === undefined || !/^[a-z0-9-]+$/.test(named) || list.items.length > 0) {
    const all: Query = { ...(named !== undefined && { domain: named }), ...query };
    return { list, match: Object.fromEntries(Object.entries(all).filter(([name]) => isMatch(name))) };
  }
  const pages = await Promise.all(CLOUD.map((zone) => listed(`${named}.bitrix24.${zone}`)));
  const unreadable = pages.flatMap(({ unreadable = [] }) => unreadable);
  return {
    list: {
      items: pages.flatMap(({ items }) => items).slice(0, PAGE_SIZE),
      ...(unreadable.length > 0 && { unreadable }),
    },
  };
}

const isMatch = (name: string): boolean => MATCH.some((one) => one === name);

/** @throws what is no sign of an unknown portal, such as that the storage does not answer */
function unlessUnknown(error: unknown): undefined {
  if (refusalOf(error)?.status === 404) return undefined;
  throw error;
}

function filters(ctx: PageContext, { counts, stuck }: Portals): Html {
  const { t, params: { query } } = ctx;
  const versions = [...new Set(counts.flatMap(({ version }) => version ?? []))].sort(byVersion).slice(0, 100);
  const more = MATCH.slice(1).some((name) => query[name] !== undefined);
  return markup`<search><form class="filters" method="get" action="${ctx.href("/portals")}">
<div class="search">${
    textField({
      ...{ name: "domain", label: t("portals.search"), type: "search", hint: t("portals.search.hint") },
      ...{ value: query.domain ?? "", maxLength: 253 },
    })
  }<button class="primary">${t("portals.find")}</button></div>
<details${more ? markup` open` : ""}><summary>${t("parts.filter")}</summary><div class="filter-fields">
${
    selectField({ name: "status", label: t("parts.state"), value: query.status ?? "" }, [
      ["", t("parts.any")],
      ...PORTAL_STATES.map((state) => [state, t(`state.${state}`)] as const),
    ])
  }${textField({ name: "version", label: t("parts.version"), value: query.version ?? "", suggestions: versions })}${
    selectField({ name: "blockedOn", label: t("portals.blockedOn"), value: query.blockedOn ?? "" }, [
      ["", t("parts.any")],
      ...BLOCKED_REASONS.map((reason) => [reason, t(`blocked.${reason}`)] as const),
    ])
  }${
    textField({
      ...{ name: "upgradeId", label: t("portals.upgradeId"), value: query.upgradeId ?? "" },
      suggestions: [...new Set(stuck.flatMap(({ upgradeId }) => upgradeId ?? []))],
    })
  }${
    textField({
      ...{ name: "fingerprint", label: t("portals.fingerprint"), value: query.fingerprint ?? "" },
      suggestions: [...new Set(stuck.flatMap(({ fingerprint }) => fingerprint ?? []))],
    })
  }
<p class="actions"><button>${t("parts.show")}</button> ${link(ctx, t("parts.clear"), "/portals")}</p></div></details>
</form></search>`;
}

function batchActions(ctx: PageContext, match: Query): Html | "" {
  if (!ctx.canOperate) return "";
  const { t } = ctx;
  const fields = Object.fromEntries(Object.entries(match).map(([name, value]) => [`match.${name}`, value]));
  const names = ["retry", "skip", "rollback", "setTarget", "setInitialVersion"] as const;
  return markup`<div class="batch" role="group" aria-label="${t("portals.batch")}"><span>${t("portals.batch")}</span>${
    names.map((action) => actionLink(ctx, "startBatch", { action, ...fields }, t(`acting.action.${action}`)))
  }</div>`;
}

function noPortal({ t }: PageContext, hasFilter: boolean, hasNext: boolean): Html {
  if (hasNext) return empty(t("portals.emptyPage"), t("portals.emptyPage.text"));
  return hasFilter
    ? empty(t("portals.noMatch"), t("portals.noMatch.text"))
    : empty(t("overview.empty"), t("overview.empty.text"));
}

function rows(ctx: PageContext, items: readonly Portal[]): Html {
  const { t } = ctx;
  return table({
    caption: t("portals.list", { count: items.length }),
    isCards: true,
    columns: [
      {
        head: t("parts.portal"),
        cell: (portal) =>
          markup`${portalLink(ctx, portal)}${
            portal.domain === "" ? "" : markup`<code class="member">${portal.memberId}</code>`
          }`,
      },
      { head: t("parts.state"), cell: ({ state }) => badge(ctx, state) },
      { head: t("parts.version"), cell: (portal) => versionText(ctx, portal) },
      { head: t("portals.reason"), cell: (portal) => reasonOf(ctx, portal) },
      ...(items.some((portal) => nextOf(ctx, portal) !== undefined)
        ? [{ head: t("portals.next"), cell: (portal: Portal) => nextOf(ctx, portal) }]
        : []),
    ],
    rows: items,
  });
}

function exports(ctx: PageContext, match: Query): Html {
  const { t } = ctx;
  return markup`<p class="exports">${t("parts.export")}: ${
    link(ctx, "CSV", "/export/portals", { ...match, format: "csv" })
  }, ${link(ctx, "JSON Lines", "/export/portals", { ...match, format: "jsonl" })}</p>`;
}
