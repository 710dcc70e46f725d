/** The row of a portal in lists. */
import type { Portal } from "../../mod.ts";
import { place, shortened } from "./cards.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";

/** Returns the version of a portal, and its target if that is another one. */
export function versionText({ t }: PageContext, { version, target }: Pick<Portal, "version" | "target">): Html {
  const from = version ?? t("parts.unknown");
  if (target === undefined || target === version) return markup`<span class="version">${from}</span>`;
  return markup`<span class="version">${from} <span class="arrow" aria-label="${
    t("portals.to")
  }">→</span> ${target}</span>`;
}

/** Returns why a portal is where it is; nothing if there is nothing to say. */
export function reasonOf(ctx: PageContext, { state, failure, blocked, run }: Portal): Html | undefined {
  const { t, number } = ctx;
  if (state === "blocked" && blocked !== undefined) {
    return markup`<span class="reason-place">${
      t("portals.waitsFor", { what: t(`blocked.${blocked.on}`) })
    }</span> <span class="message">${shortened(blocked.message)}</span>`;
  }
  if (failure !== undefined && state !== "current") {
    return markup`<span class="reason-place">${place(ctx, failure)}</span> <span class="message">${
      shortened(failure.message)
    }</span>`;
  }
  if (run?.current === undefined) return undefined;
  const { progress, current: { upgradeId } } = run;
  const done = progress === undefined
    ? ""
    : progress.total === undefined
    ? number(progress.done)
    : t("portals.progress", { done: progress.done, total: progress.total });
  return markup`<span class="reason-place">${place(ctx, { upgradeId })}</span> ${done}`;
}

/** Returns when a portal goes on by itself; nothing if it does not. */
export function nextOf(ctx: PageContext, { state, failure, blocked, run }: Portal): Html | string | undefined {
  const at = state === "blocked"
    ? blocked?.nextTryAt
    : state === "upgrading"
    ? failure?.retryAt ?? run?.wakeAt
    : undefined;
  if (at === undefined) return undefined;
  return at > ctx.now ? ctx.t("portals.in", { duration: ctx.duration(at - ctx.now) }) : ctx.t("portals.now");
}
