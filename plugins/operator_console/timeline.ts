/** The history of a portal as one list. */
import type { FailedAttempt, PortalDelivery, PortalHistory, RecordedRun } from "../../mod.ts";
import { place, shortened } from "./cards.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";

/** An event of the timeline. */
interface Entry {
  /** In milliseconds since 1970. */
  readonly at: number;
  readonly kind: "event" | "run" | "upgrade" | "step" | "failure";
  /** Whether it went well: a color and a shape, besides the words. */
  readonly mood?: "good" | "bad" | "warn";
  readonly title: string;
  readonly text?: Html | string | undefined;
}

/** Number of entries that are shown: a page stays below 100 KB. */
const MAX_ENTRIES = 80;

/** Returns the timeline of a portal, the latest first, and a link to what was before. */
export function timeline(ctx: PageContext, memberId: string, { deliveries, runs, attempts }: PortalHistory): Html {
  const before = Number(ctx.params.query.before ?? Infinity);
  const all = [
    ...deliveries.map((delivery) => eventEntry(ctx, delivery)),
    ...runs.flatMap((run) => runEntries(ctx, run)),
    ...attempts.map((attempt) => failureEntry(ctx, attempt)),
  ].reverse().sort((a, b) => b.at - a.at);
  const left = all.filter(({ at }) => at < before);
  // Those of one time stay together.
  const end = left[MAX_ENTRIES]?.at ?? -Infinity;
  const shown = left.filter(({ at }, i) => i < MAX_ENTRIES && at > end);
  const rest = left.length - shown.length;
  return markup`<ol class="timeline">${
    shown.map(({ at, kind, mood, title, text }) =>
      markup`<li class="entry entry-${kind}${
        mood === undefined ? "" : ` entry-${mood}`
      }"><p class="entry-head"><span class="entry-kind">${ctx.t(`timeline.${kind}`)}</span> <span class="entry-title">${
        shortened(title, 200)
      }</span> ${ctx.time(at)}</p>${
        text === undefined || text === "" ? "" : markup`<p class="entry-text">${text}</p>`
      }</li>\n`
    )
  }</ol>${
    rest === 0 || shown.length === 0
      ? ""
      : markup`<p><a class="button" href="${ctx.href(`/portals/${memberId}`, { before: shown.at(-1)!.at })}">${
        ctx.t("timeline.more", { count: rest })
      }</a></p>`
  }`;
}

function eventEntry(
  ctx: PageContext,
  { name, receivedAt, state, doneAt, attempts, error, retryAt }: PortalDelivery,
): Entry {
  const { t } = ctx;
  const parts = [t(`timeline.delivery.${state}`)];
  if (doneAt !== undefined) parts.push(t("timeline.after", { duration: ctx.duration(doneAt - receivedAt) }));
  if (error !== undefined) parts.push(t("timeline.attemptFailed", { count: attempts ?? 1, error: shortened(error) }));
  if (retryAt !== undefined) parts.push(retryText(ctx, retryAt));
  const mood = state === "parked" ? "bad" : state === "unconfirmed" || state === "retrying" ? "warn" : undefined;
  return { at: receivedAt, kind: "event", title: name, text: parts.join(" · "), ...(mood !== undefined && { mood }) };
}

function runEntries(
  ctx: PageContext,
  { from, to, startedAt, finishedAt, rolledBackAt, applied, upgrades }: RecordedRun,
): Entry[] {
  const { t } = ctx;
  const way = t("timeline.way", { from, to });
  const entries: Entry[] = [{ at: startedAt, kind: "run", title: way, text: t("timeline.began") }];
  for (const { upgradeId, steps } of upgrades) {
    for (const { name, kind, startedAt, finishedAt, pages, attempts = 1, undoneAt } of steps) {
      const failed = Math.max(attempts - (pages ?? 1), 0);
      const parts = [
        t("parts.upgrade", { id: upgradeId }),
        finishedAt === undefined
          ? t("timeline.underWay")
          : t("timeline.took", { duration: ctx.duration(finishedAt - startedAt) }),
        ...(pages === undefined ? [] : [t("timeline.pages", { count: pages })]),
        ...(failed === 0 ? [] : [t("timeline.failedAttempts", { count: failed })]),
      ];
      const title = kind === "sleep" ? t("timeline.sleep", { name }) : name;
      entries.push({ at: finishedAt ?? startedAt, kind: "step", title, text: parts.join(" · ") });
      if (undoneAt !== undefined) {
        entries.push({
          at: undoneAt,
          kind: "step",
          title,
          text: `${parts[0]} · ${t("timeline.undone")}`,
          mood: "warn",
        });
      }
    }
  }
  for (const { id, at, skipped } of applied) {
    const text = t(skipped === true ? "timeline.skipped" : "timeline.applied");
    entries.push({ at, kind: "upgrade", title: id, text, mood: skipped === true ? "warn" : "good" });
  }
  if (finishedAt !== undefined) {
    const text = t("timeline.finished", { duration: ctx.duration(finishedAt - startedAt) });
    entries.push({ at: finishedAt, kind: "run", title: way, text, mood: "good" });
  }
  if (rolledBackAt !== undefined) {
    entries.push({ at: rolledBackAt, kind: "run", title: way, text: t("timeline.rolledBack"), mood: "warn" });
  }
  return entries;
}

function failureEntry(
  ctx: PageContext,
  { failedAt, attempt, message, blockedOn, retryAt, event, ...where }: FailedAttempt,
): Entry {
  const { t } = ctx;
  const next = retryAt !== undefined
    ? retryText(ctx, retryAt)
    : blockedOn !== undefined
    ? t("portals.waitsFor", { what: t(`blocked.${blockedOn}`) })
    : t("timeline.parked");
  return {
    ...{ at: failedAt, kind: "failure", mood: "bad" },
    title: event === undefined ? place(ctx, where) : t("timeline.handlers", { event }),
    text: markup`<span class="message">${shortened(message)}</span> ${
      t("timeline.attempt", { count: attempt })
    } · ${next}`,
  };
}

function retryText(ctx: PageContext, at: number): string {
  const { t, now, duration } = ctx;
  return at > now ? t("timeline.again", { duration: duration(at - now) }) : t("timeline.retried");
}
