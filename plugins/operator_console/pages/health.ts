/** The health of the app in figures. */
import type { AppHealth, Pause, PortalCount } from "../../../mod.ts";
import { actionLink, ago, card, liveActions } from "../cards.ts";
import { link } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";

/** The data of the page. */
interface HealthView {
  readonly health: AppHealth;
  readonly pause: Pause | undefined;
  readonly counts: readonly PortalCount[];
}

/** Lateness (ms) of work that somebody should look at. */
const LATE_MS = 5 * 60_000;
/** Number up to which figures are exact. */
const EXACT = 1000;

export const HEALTH: AnyPage = page<HealthView>({
  path: "/health",
  nav: "health.title",
  title: (_, { t }) => t("health.title"),
  live: "totals",
  load: async (call) => {
    const [health, { pause }, counts] = await Promise.all([
      call("getHealth"),
      call("getPause"),
      call("countPortals"),
    ]);
    return { health, pause, counts: counts.items };
  },
  render: (data, ctx) => {
    const { t } = ctx;
    const toggle = data.pause === undefined ? actionLink(ctx, "pause") : actionLink(ctx, "resume");
    return markup`${liveActions(toggle, actionLink(ctx, "recount"))}${
      card({
        id: "figures",
        title: t("health.figures"),
        tools: markup`<p class="tools">${link(ctx, t("upgrades.title"), "/upgrades")}</p>`,
        isLive: true,
        content: figures(ctx, data),
      })
    }`;
  },
});

/** A figure, and whether somebody should look at it. */
type Figure = readonly [name: string, value: Html | string, verdict: Verdict];

type Verdict = "ok" | "note" | "look";

function figures(ctx: PageContext, { health, pause, counts }: HealthView): Html {
  const { t, number } = ctx;
  const { isRunning, tickedAt, due, unverified, outbox } = health;
  const sum = (isCounted: (count: PortalCount) => boolean): number =>
    counts.filter(isCounted).reduce((sum, { count }) => sum + count, 0);
  const parked = sum(({ status }) => status === "parked");
  const blocked = sum(({ status }) => status === "blocked");
  const unknown = sum(({ version, status }) => version === undefined && status !== "uninstalled");
  const size = (count: number): string => count >= EXACT ? t("health.atLeast", { count }) : number(count);
  const good = (isGood: boolean): Verdict => isGood ? "ok" : "look";
  const note = (count: number): Verdict => count === 0 ? "ok" : "note";
  const list: readonly Figure[] = [
    [
      t("health.work"),
      pause === undefined ? t("health.work.runs") : t("health.work.paused", { by: pause.by, reason: pause.reason }),
      good(pause === undefined),
    ],
    [
      t("health.process"),
      markup`${t(isRunning ? "health.process.started" : "health.process.setUp")}${
        tickedAt === undefined ? "" : markup`, ${t("health.process.ticked")} ${ago(ctx, tickedAt)}`
      }`,
      isRunning ? "ok" : "note",
    ],
    [
      t("health.due"),
      due.lagMs < 1000
        ? size(due.entries)
        : t("health.due.late", { entries: size(due.entries), lag: ctx.duration(due.lagMs) }),
      good(due.lagMs < LATE_MS || pause !== undefined),
    ],
    [t("health.parked"), link(ctx, number(parked), "/portals", { status: "parked" }), good(parked === 0)],
    [t("health.blocked"), link(ctx, number(blocked), "/portals", { status: "blocked" }), note(blocked)],
    [t("health.unknown"), link(ctx, number(unknown), "/portals", { blockedOn: "version" }), good(unknown === 0)],
    [
      t("health.unverified"),
      markup`${link(ctx, size(unverified.events), "/unverified")}${
        unverified.events === 0 ? "" : `, ${t("health.unverified.oldest", { age: ctx.duration(unverified.oldestMs) })}`
      }`,
      note(unverified.events),
    ],
    [t("health.waiting"), link(ctx, size(outbox.waiting), "/outbox"), note(outbox.waiting)],
    [t("health.dead"), link(ctx, size(outbox.dead), "/outbox", { state: "dead" }), good(outbox.dead === 0)],
  ];
  return markup`<ul class="figures">${
    list.map(([name, value, verdict]) =>
      markup`<li class="figure"><span class="badge badge-figure-${verdict}">${
        t(`health.${verdict}`)
      }</span><span class="figure-name">${name}</span><span class="figure-value">${value}</span></li>`
    )
  }</ul><p class="soft">${t("health.doctor")}</p>`;
}
