/** The state of a rollout, as the overview and its own page show it. */
import type { RolloutStageStatus, RolloutStatus, RolloutWait } from "../../mod.ts";
import { actionLink, actions, ago, facts } from "./cards.ts";
import { shareBar } from "./charts.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";

const STATES = ["current", "upgrading", "blocked", "parked", "held"] as const;

/** Returns whether somebody has to act before a rollout goes on. */
function isStopped({ waitsFor }: RolloutStatus): boolean {
  return waitsFor?.on === "failures" || waitsFor?.on === "resume";
}

/** Returns the state of a rollout as a label. */
export function rolloutLabel({ t }: PageContext, rollout: RolloutStatus): Html {
  const state = isStopped(rollout) ? "paused" : rollout.state;
  return markup`<span class="badge badge-rollout-${state}">${t(`rollout.state.${state}`)}</span>`;
}

/** Returns what a rollout waits for, and what to do. */
function waitText(ctx: PageContext, wait: RolloutWait): Html {
  const { t } = ctx;
  switch (wait.on) {
    case "resume":
      return markup`${t("rollout.wait.resume", { by: wait.by, reason: wait.reason })} ${ago(ctx, wait.since)}`;
    case "failures":
      return markup`${t("rollout.wait.failures", { upgrades: wait.upgradeIds.join(", ") })} ${ago(ctx, wait.since)}`;
    case "window":
      return markup`${t("rollout.wait.window")} ${ctx.time(wait.until)}`;
    case "time":
      return markup`${t("rollout.wait.time")} ${ctx.time(wait.until)}`;
    default:
      return markup`${t(`rollout.wait.${wait.on}`)}`;
  }
}

/** Returns the progress of a rollout: how many portals are where, how fast it goes, and what it waits for. */
export function rolloutProgress(ctx: PageContext, rollout: RolloutStatus): Html {
  const { t, number } = ctx;
  const { counts, waitsFor, perMinute, remainingMs, state } = rollout;
  const sum = STATES.reduce((sum, state) => sum + counts[state], 0);
  const label = STATES.filter((state) => counts[state] > 0)
    .map((state) => `${t(`state.${state}`)}: ${number(counts[state])}`).join(", ");
  const percent = sum === 0 ? 0 : Math.floor(counts.current / sum * 100);
  const wait = waitsFor === undefined
    ? ""
    : markup`<p class="wait${isStopped(rollout) ? " wait-stopped" : ""}">${waitText(ctx, waitsFor)}</p>`;
  const pace = perMinute >= 10 ? Math.round(perMinute) : Math.round(perMinute * 10) / 10;
  return markup`${wait}<div class="progress"><p class="progress-head"><strong>${
    t("rollout.done", { done: number(counts.current), all: number(sum) })
  }</strong><span class="number">${number(percent)} %</span></p>${
    shareBar(label, STATES.map((state) => ({ name: `fill-${state}`, value: counts[state] })))
  }<ul class="legend">${
    STATES.filter((state) => counts[state] > 0).map((state) =>
      markup`<li><span class="key fill-${state}"></span>${t(`state.${state}`)} <b>${number(counts[state])}</b></li>`
    )
  }</ul></div>${
    state !== "running" ? "" : facts([
      [t("rollout.pace"), perMinute > 0 ? t("rollout.perMinute", { pace: number(pace) }) : t("rollout.noPace")],
      [
        t("rollout.remaining"),
        remainingMs === undefined ? undefined : t("rollout.about", { duration: ctx.duration(remainingMs) }),
      ],
    ])
  }`;
}

/** Returns the stages of a rollout as a line of steps. */
export function stageSteps(ctx: PageContext, { stages, stageSince }: RolloutStatus): Html {
  const { t } = ctx;
  if (stages.length === 0) return markup``;
  return markup`<ol class="stages">${
    stages.map((stage, i) =>
      markup`<li class="stage stage-${stage.state}"${stage.state === "present" ? markup` aria-current="step"` : ""}>
<span class="stage-size">${sizeOf(ctx, stage)}</span>
<span class="stage-state">${t(`rollout.stage.${stage.state}`)}${
        stage.state === "present" ? markup` · ${ago(ctx, stageSince)}` : ""
      }</span>
<span class="stage-next">${
        i === stages.length - 1
          ? ""
          : stage.forMs === undefined
          ? t("rollout.untilPromote")
          : t("rollout.lasts", { duration: ctx.duration(stage.forMs) })
      }</span></li>`
    )
  }</ol>`;
}

function sizeOf({ t, number }: PageContext, { portals, percent }: RolloutStageStatus): string {
  return portals === undefined ? `${number(percent!)} %` : t("parts.portals", { count: portals });
}

/** Returns the actions on a rollout that make sense now. */
export function rolloutActions(ctx: PageContext, rollout: RolloutStatus): Html | "" {
  const { t } = ctx;
  const { target, state, stages } = rollout;
  if (state !== "running" && !isStopped(rollout)) return "";
  const hasNext = stages.some((stage) => stage.state === "later");
  const present = stages.findIndex((stage) => stage.state === "present") + 1;
  return actions(
    isStopped(rollout)
      ? actionLink(ctx, "resumeRollout", { target }, t("rollout.act.resume"))
      : actionLink(ctx, "pauseRollout", { target }, t("rollout.act.pause")),
    state === "running" && hasNext
      ? actionLink(ctx, "promoteRollout", { target, stage: String(present) }, t("rollout.act.promote"))
      : "",
    actionLink(ctx, "abortRollout", { target }, t("rollout.act.abort")),
  );
}
