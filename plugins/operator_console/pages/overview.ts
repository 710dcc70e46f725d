/** The overview: all portals at a glance. */
import type { CountSnapshot, PortalCount, RolloutStatus, StuckGroup } from "../../../mod.ts";
import { actionLink, byVersion, card, empty, place, shortened } from "../cards.ts";
import { areaChart, type Layer, shareBar } from "../charts.ts";
import { badge, link, portalLink, type State, table } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";
import { rolloutActions, rolloutLabel, rolloutProgress, stageSteps } from "../rollout_parts.ts";

/** The data of the overview. */
interface Overview {
  readonly counts: readonly PortalCount[];
  readonly stuck: readonly StuckGroup[];
  readonly rollout: RolloutStatus | undefined;
  readonly snapshots: readonly CountSnapshot[];
  readonly range: Range;
}

const DAY_MS = 86_400_000;

/** The times that the chart can show. */
const RANGES = {
  day: { ms: DAY_MS, every: "hour" },
  week: { ms: 7 * DAY_MS, every: "hour" },
  quarter: { ms: 90 * DAY_MS, every: "day" },
  years: { ms: 730 * DAY_MS, every: "day" },
} as const;

type Range = keyof typeof RANGES;

function isRange(range: string): range is Range {
  return Object.hasOwn(RANGES, range);
}

/** States in the order of bars and columns. Removed portals are counted apart. */
const STATES: readonly State[] = ["current", "upgrading", "blocked", "parked", "held"];

/** Versions that the chart tells apart; the others are one layer. */
const MAX_LAYERS = 5;

/** Groups of stuck portals that are shown. */
const MAX_GROUPS = 10;

export const OVERVIEW: AnyPage = page<Overview>({
  path: "/",
  nav: "overview.title",
  title: (_, { t }) => t("overview.title"),
  live: "totals",
  load: async (call, { query: { range: chosen = "week", ...rest } }, now) => {
    const range = isRange(chosen) ? chosen : "week";
    const { ms, every } = RANGES[range];
    const [counts, stuck, { rollout }, snapshots] = await Promise.all([
      call("countPortals", { query: rest }),
      call("listStuck", { query: { limit: MAX_GROUPS } }),
      call("getRollout"),
      call("listSnapshots", { query: { every, from: Math.max(now - ms, 0) } }),
    ]);
    return { counts: counts.items, stuck: stuck.items, rollout, snapshots: snapshots.items, range };
  },
  render: (data, ctx) => {
    const { t } = ctx;
    const { counts, rollout } = data;
    if (counts.length === 0) return empty(t("overview.empty"), t("overview.empty.text"));
    return markup`<div id="totals" data-live>${totals(ctx, counts)}</div>
<div class="columns">${stuckCard(ctx, data)}<div class="column">${
      rollout === undefined ? "" : rolloutCard(ctx, rollout)
    }${versions(ctx, counts)}</div></div>${chart(ctx, data)}`;
  },
});

function totals(ctx: PageContext, counts: readonly PortalCount[]): Html {
  const { t, number } = ctx;
  const sums = Object.fromEntries([...STATES, "uninstalled" as const].map((state) => [state, 0])) as Record<
    State,
    number
  >;
  for (const { status, count } of counts) sums[status] += count;
  const all = STATES.reduce((sum, state) => sum + sums[state], 0);
  const label = STATES.map((state) => `${t(`state.${state}`)}: ${number(sums[state])}`).join(", ");
  const stat = (state: State): Html => {
    const text = markup`<span class="stat-value">${number(sums[state])}</span><span class="stat-name">${
      badge(ctx, state)
    }</span>`;
    // Held portals have another state in lists: they are current on an earlier version.
    return state === "held"
      ? markup`<li class="stat">${text}</li>`
      : markup`<li class="stat"><a href="${ctx.href("/portals", { status: state })}">${text}</a></li>`;
  };
  return markup`<section class="totals" aria-label="${t("overview.states")}">
<p class="total"><span class="total-value">${number(all)}</span> <span>${
    t("overview.installed", { count: all })
  }</span></p>
${shareBar(label, STATES.map((state) => ({ name: `fill-${state}`, value: sums[state] })))}
<ul class="stats">${STATES.filter((state) => state !== "held" || sums.held > 0).map(stat)}${
    sums.uninstalled > 0 ? stat("uninstalled") : ""
  }</ul></section>`;
}

function rolloutCard(ctx: PageContext, rollout: RolloutStatus): Html {
  const { t } = ctx;
  return card({
    id: "rollout",
    title: t("rollout.of", { target: rollout.target }),
    tools: markup`<p class="tools">${link(ctx, t("parts.details"), "/rollout", { target: rollout.target })}</p>`,
    isLive: true,
    content: markup`<p class="lead">${rolloutLabel(ctx, rollout)}</p>${rolloutProgress(ctx, rollout)}${
      stageSteps(ctx, rollout)
    }${rolloutActions(ctx, rollout)}`,
  });
}

function stuckCard(ctx: PageContext, { stuck }: Overview): Html {
  const { t } = ctx;
  return card({
    id: "stuck",
    title: t("overview.stuck"),
    isLive: true,
    content: stuck.length === 0
      ? empty(t("overview.stuck.empty"), t("overview.stuck.empty.text"))
      : markup`<ul class="groups">${stuck.map((group) => groupItem(ctx, group))}</ul>`,
  });
}

function groupItem(ctx: PageContext, group: StuckGroup): Html {
  const { t } = ctx;
  const { status, count, blockedOn, fingerprint, upgradeId, step, message, example } = group;
  // Without a fingerprint, no filter matches only this group.
  const isExact = fingerprint !== undefined;
  const match = { status, blockedOn, fingerprint };
  const where = blockedOn === undefined
    ? place(ctx, { upgradeId, step })
    : t("overview.waitsFor", { what: t(`blocked.${blockedOn}`) });
  const fields = Object.fromEntries(Object.entries(match).map(([name, value]) => [`match.${name}`, value]));
  // The rollout begins those that wait for it by itself. Those that an operator has rolled back are retried one by one: all
  // other parked portals would be retried with them.
  const isRetried = status === "parked" ? isExact : status === "blocked" && blockedOn !== "rollout";
  const retry = !isRetried ? "" : actionLink(
    ctx,
    "startBatch",
    { action: "retry", ...fields },
    isExact ? t("overview.retryAll", { count }) : t("acting.action.retry"),
  );
  const silence = fingerprint === undefined
    ? ""
    : actionLink(ctx, "addSilence", { upgradeId, fingerprint }, t("silences.link"));
  return markup`<li class="group group-${status}">
<p class="group-head">${badge(ctx, status)}<a class="group-count" href="${ctx.href("/portals", match)}">${
    t("parts.portals", { count })
  }</a>
<span class="group-place">${where}</span></p>
<p class="message">${message === undefined ? t("overview.noMessage") : shortened(message)}</p>
<p class="group-foot">${
    example === undefined ? "" : markup`<span>${t("overview.suchAs")} ${portalLink(ctx, example)}</span>`
  }<span class="group-actions">${retry}${silence}</span></p></li>`;
}

function versions(ctx: PageContext, counts: readonly PortalCount[]): Html {
  const { t, number } = ctx;
  const shown = STATES.filter((state) => counts.some(({ status }) => status === state));
  const names = [...new Set(counts.filter(({ status }) => status !== "uninstalled").map(({ version }) => version))]
    .sort(byVersion);
  const countOf = (version: string | undefined, state: State): number =>
    counts.find((one) => one.version === version && one.status === state)?.count ?? 0;
  return card({
    id: "versions",
    title: t("overview.versions"),
    isLive: true,
    content: table({
      caption: t("overview.counts"),
      columns: [
        {
          head: t("parts.version"),
          cell: (version) => version === undefined ? t("parts.unknown") : link(ctx, version, "/portals", { version }),
        },
        ...shown.map((state) => ({
          head: t(`state.${state}`),
          isNumber: true,
          cell: (version: string | undefined) => {
            const count = countOf(version, state);
            if (count === 0) return markup`<span class="zero">0</span>`;
            if (state === "held" || version === undefined) return number(count);
            return link(ctx, number(count), "/portals", { version, status: state });
          },
        })),
      ],
      rows: names,
    }),
  });
}

function chart(ctx: PageContext, { snapshots, counts, range }: Overview): Html {
  const { t, number, now } = ctx;
  const all: readonly CountSnapshot[] = [...snapshots, { at: now, counts }];
  const tools = markup`<p class="tools" role="group" aria-label="${t("overview.range")}">${
    (Object.keys(RANGES) as Range[]).map((one) =>
      markup`<a href="${ctx.href("/", { range: one })}"${one === range ? markup` aria-current="true"` : ""}>${
        t(`overview.range.${one}`)
      }</a>`
    )
  }</p>`;
  if (all.length < 3) {
    return card({
      id: "chart",
      title: t("overview.chart"),
      tools,
      content: empty(t("overview.chart.empty"), t("overview.chart.empty.text")),
    });
  }
  const layers = layersOf(ctx, all);
  const latest = layers.map(({ label, values }) => `${label}: ${number(values.at(-1)!)}`).join(", ");
  const middle = all[Math.floor(all.length / 2)]!.at;
  return card({
    id: "chart",
    title: t("overview.chart"),
    tools,
    isLive: true,
    content: markup`${
      areaChart({
        ...{ id: "versions-chart", title: t("overview.chart"), times: all.map(({ at }) => at), number, layers },
        description: t("overview.chart.text", { versions: latest }),
      })
    }<p class="axis">${[all[0]!.at, middle, now].map((at) => ctx.time(at, "day"))}</p>
<ul class="legend">${
      layers.toReversed().map(({ name, label, values }) =>
        markup`<li><span class="key ${name}"></span>${label} <b>${number(values.at(-1)!)}</b></li>`
      )
    }</ul>`,
  });
}

/** Returns the layers of the most frequent versions, the highest one lowest, and one of all others. */
function layersOf({ t }: PageContext, snapshots: readonly CountSnapshot[]): (Layer & { readonly label: string })[] {
  const byTime = snapshots.map(({ counts }) => {
    const sums = new Map<string, number>();
    for (const { version = "", status, count } of counts) {
      if (status !== "uninstalled") sums.set(version, (sums.get(version) ?? 0) + count);
    }
    return sums;
  });
  const most = new Map<string, number>();
  for (const sums of byTime) {
    for (const [version, count] of sums) most.set(version, Math.max(most.get(version) ?? 0, count));
  }
  const frequent = [...most].sort(([, a], [, b]) => b - a).slice(0, MAX_LAYERS).map(([version]) => version);
  const shown = frequent.sort((a, b) => byVersion(a === "" ? undefined : a, b === "" ? undefined : b));
  const layers = shown.map((version, i) => ({
    name: `layer-${i + 1}`,
    label: version === "" ? t("parts.unknown") : version,
    values: byTime.map((sums) => sums.get(version) ?? 0),
  }));
  if (most.size <= MAX_LAYERS) return layers;
  const isOther = ([version]: readonly [string, number]): boolean => !shown.includes(version);
  const values = byTime.map((sums) => [...sums].filter(isOther).reduce((sum, [, count]) => sum + count, 0));
  return [...layers, { name: "layer-other", label: t("overview.others"), values }];
}
