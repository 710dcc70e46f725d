/** A rollout: stages, breakers, failures and options. */
import type { RolloutStatus } from "../../../mod.ts";
import { ago, card, empty, facts, place, shortened } from "../cards.ts";
import { link, table, textField } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";
import { rolloutActions, rolloutLabel, rolloutProgress, stageSteps } from "../rollout_parts.ts";

/** The data of the page. */
interface RolloutView {
  readonly rollout: RolloutStatus | undefined;
}

export const ROLLOUT: AnyPage = page<RolloutView>({
  path: "/rollout",
  nav: "rollout.title",
  title: ({ rollout }, { t }) =>
    rollout === undefined ? t("rollout.title") : t("rollout.of", { target: rollout.target }),
  live: "totals",
  load: async (call, { query }) => ({ rollout: (await call("getRollout", { query })).rollout }),
  render: ({ rollout }, ctx) => {
    const { t } = ctx;
    if (rollout === undefined) {
      return markup`${empty(t("rollout.empty"), t("rollout.empty.text"))}${chooser(ctx)}`;
    }
    return markup`<section class="card" aria-label="${
      t("batches.progress")
    }"><div id="state" data-live><p class="lead">${rolloutLabel(ctx, rollout)} <span class="soft">${
      t("rollout.began")
    } ${ago(ctx, rollout.startedAt)}</span></p>${rolloutProgress(ctx, rollout)}</div><div id="actions" data-live>${
      rolloutActions(ctx, rollout)
    }</div></section>
<div class="columns columns-main"><div class="column">${
      rollout.stages.length === 0
        ? ""
        : card({ id: "stages", title: t("rollout.stages"), isLive: true, content: stageSteps(ctx, rollout) })
    }${card({ id: "failures", title: t("rollout.failures"), isLive: true, content: failures(ctx, rollout) })}${
      card({ id: "breakers", title: t("rollout.breakers"), isLive: true, content: breakers(ctx, rollout) })
    }</div>
<div class="column">${
      card({ id: "options", title: t("rollout.options"), isLive: true, content: options(ctx, rollout) })
    }${chooser(ctx)}</div></div>`;
  },
});

/** Maximum number of causes that are shown. */
const MAX_FAILURES = 30;

function failures(ctx: PageContext, { failures }: RolloutStatus): Html {
  const { t } = ctx;
  if (failures.length === 0) return empty(t("rollout.failures.empty"));
  return markup`<ul class="groups">${
    failures.slice(0, MAX_FAILURES).map(({ count, message, fingerprint, upgradeId, memberIds: [first] }) =>
      markup`<li class="group group-parked"><p class="group-head"><a class="group-count" href="${
        ctx.href("/portals", { fingerprint })
      }">${t("parts.portals", { count })}</a> <span class="group-place">${place(ctx, { upgradeId })}</span></p>
<p class="message">${shortened(message)}</p><p class="group-foot">${
        first === undefined ? "" : markup`<span>${t("overview.suchAs")} ${link(ctx, first, `/portals/${first}`)}</span>`
      }</p></li>`
    )
  }</ul>`;
}

function breakers(ctx: PageContext, { breakers }: RolloutStatus): Html {
  const { t, number } = ctx;
  if (breakers.length === 0) return empty(t("rollout.breakers.empty"));
  return table({
    caption: t("rollout.breakers"),
    columns: [
      {
        head: t("rollout.upgrade"),
        cell: ({ upgradeId, trippedAt }) =>
          markup`${upgradeId}${
            trippedAt === undefined ? "" : markup` <span class="badge badge-blocked">${t("rollout.tripped")}</span>`
          }`,
      },
      { head: t("rollout.inFlight"), isNumber: true, cell: ({ inFlight }) => number(inFlight) },
      { head: t("rollout.finished"), isNumber: true, cell: ({ finished }) => number(finished) },
      { head: t("rollout.failed"), isNumber: true, cell: ({ failed }) => number(failed) },
      { head: t("rollout.pausesAt"), isNumber: true, cell: ({ pausesAt }) => number(pausesAt) },
    ],
    rows: breakers,
  });
}

function options(ctx: PageContext, { options, startedAt }: RolloutStatus): Html {
  const { t, number } = ctx;
  const { pauseWhen: { failed = 3, percent = 0 }, concurrency, window, first, hold } = options;
  return facts([
    [t("rollout.began"), ctx.time(startedAt)],
    [
      t("rollout.pauseWhen"),
      percent === 0 ? t("parts.portals", { count: failed }) : t("rollout.pauseWhen.value", { failed, percent }),
    ],
    [t("rollout.concurrency"), number(concurrency)],
    [
      t("rollout.window"),
      window === undefined ? t("rollout.window.always") : `${window.from}–${window.to}, ${window.timeZone}`,
    ],
    [t("rollout.first"), first.length === 0 ? undefined : t("parts.portals", { count: first.length })],
    [t("rollout.hold"), hold.length === 0 ? undefined : t("parts.portals", { count: hold.length })],
  ]);
}

function chooser(ctx: PageContext): Html {
  const { t, params: { query } } = ctx;
  return markup`<form class="filters inline-form" method="get" action="${ctx.href("/rollout")}">${
    textField({ name: "target", label: t("rollout.target"), value: query.target ?? "", hint: t("rollout.target.hint") })
  }<button>${t("parts.show")}</button></form>`;
}
