/** A portal: its state, what is next, and what has happened to it. */
import type { Plan, PortalFailure, PortalHistory, StoredPortal } from "../../../mod.ts";
import { actionLink, actions, ago, card, empty, type Fact, facts, liveActions, place } from "../cards.ts";
import { shareBar } from "../charts.ts";
import { badge, link, table } from "../elements.ts";
import { type Html, markup } from "../html.ts";
import { type AnyPage, page, type PageContext } from "../page.ts";
import { versionText } from "../portal_list.ts";
import { timeline } from "../timeline.ts";

/** The data of the page. */
interface PortalView {
  readonly portal: StoredPortal;
  readonly history: PortalHistory;
  readonly plan: Plan;
}

export const PORTAL: AnyPage = page<PortalView>({
  path: "/portals/{portal}",
  title: ({ portal: { domain, memberId } }) => domain === "" ? memberId : domain,
  live: "portal",
  load: async (call, { path }) => {
    const stored = await call("getPortal", { portal: path.portal! });
    const portal = stored.memberId;
    const [history, plan] = await Promise.all([call("getHistory", { portal }), call("planPortal", { portal })]);
    return { portal: stored, history, plan };
  },
  render: (data, ctx) => {
    const { t } = ctx;
    const { portal, history } = data;
    const isEmpty = history.deliveries.length + history.runs.length + history.attempts.length === 0;
    return markup`<div id="state" data-live><p class="lead">${badge(ctx, portal.state)} ${
      versionText(ctx, portal)
    }</p></div>
${portalActions(ctx, portal)}
<div class="columns columns-main">
<div class="column">${
      card({
        id: "timeline",
        title: t("portal.timeline"),
        isLive: true,
        content: isEmpty
          ? empty(t("portal.timeline.empty"), t("portal.timeline.empty.text"))
          : timeline(ctx, portal.memberId, history),
      })
    }</div>
<div class="column"><div id="problems" data-live>${problem(ctx, portal)}${run(ctx, portal)}${plan(ctx, data)}${
      claims(ctx, portal)
    }</div>${
      card({ id: "facts", title: t("portal.facts"), isLive: true, content: portalFacts(ctx, portal) })
    }${markup`<div id="recent" data-live>${calls(ctx, history)}</div>`}</div>
</div>`;
  },
});

function portalActions(ctx: PageContext, { memberId: portal, state, version, failure, run }: StoredPortal): Html {
  const upgradeId = failure?.upgradeId ?? run?.current?.upgradeId;
  if (state === "uninstalled") return liveActions(actionLink(ctx, "forgetPortal", { portal }));
  const isStuck = state !== "current";
  return liveActions(
    isStuck ? actionLink(ctx, "retryPortal", { portal }) : "",
    isStuck && upgradeId !== undefined ? actionLink(ctx, "skipUpgrade", { portal, upgradeId }) : "",
    actionLink(ctx, "rehearsePortal", { portal }),
    actionLink(ctx, "checkPortal", { portal }),
    actionLink(ctx, version === undefined ? "setInitialVersion" : "setTarget", { portal }),
    actionLink(ctx, "rollBackPortal", { portal }),
    actionLink(ctx, "forgetPortal", { portal }),
  );
}

function problem(ctx: PageContext, { blocked, failure, state }: StoredPortal): Html {
  const { t } = ctx;
  if (blocked !== undefined && state === "blocked") {
    return card({
      id: "blocked",
      title: t("portals.waitsFor", { what: t(`blocked.${blocked.on}`) }),
      content: markup`<p class="message message-blocked">${blocked.message}</p>${
        facts([
          [t("portal.since"), markup`${ctx.time(blocked.since)} (${ago(ctx, blocked.since)})`],
          [
            t("portal.nextTry"),
            blocked.nextTryAt === undefined ? t("portal.nextTry.none") : ctx.time(blocked.nextTryAt),
          ],
        ])
      }`,
    });
  }
  if (failure === undefined || state === "current") return markup``;
  return card({
    id: "failure",
    title: t("portal.failure"),
    content: markup`<p class="message message-parked">${failure.message}</p>${facts(failureFacts(ctx, failure))}${
      silenceLink(ctx, failure)
    }`,
  });
}

/** Returns the link to silence notifications of a failure. */
function silenceLink(ctx: PageContext, { upgradeId, fingerprint }: PortalFailure): Html | "" {
  if (fingerprint === undefined) return "";
  return actions(actionLink(ctx, "addSilence", { upgradeId, fingerprint }, ctx.t("silences.link")));
}

function failureFacts(ctx: PageContext, failure: PortalFailure): readonly Fact[] {
  const { t, number } = ctx;
  const { error, attempts, at, retryAt, fingerprint } = failure;
  const codes = [error?.name, error?.b24Code ?? error?.code].filter((text) => text !== undefined).join(" · ");
  return [
    [t("portal.where"), place(ctx, failure)],
    [t("portal.code"), codes === "" ? undefined : markup`<code>${codes}</code>`],
    [t("parts.time"), markup`${ctx.time(at)} (${ago(ctx, at)})`],
    [t("parts.attempts"), attempts === 0 ? undefined : number(attempts)],
    [t("portal.nextTry"), retryAt === undefined ? t("portal.nextTry.none") : ctx.time(retryAt)],
    [
      t("portal.cause"),
      fingerprint === undefined
        ? undefined
        : markup`${link(ctx, t("portal.cause.link"), "/portals", { fingerprint })} <code>${fingerprint}</code>`,
    ],
  ];
}

function run(ctx: PageContext, { run }: StoredPortal): Html {
  const { t, number } = ctx;
  if (run === undefined) return markup``;
  const { current, progress, wakeAt, startedAt } = run;
  const bar = progress?.total === undefined ? "" : shareBar(
    t("portals.progress", { done: progress.done, total: progress.total }),
    [{ name: "fill-upgrading", value: Math.min(progress.done, progress.total) }],
    progress.total,
  );
  return card({
    id: "run",
    title: t("portal.run"),
    content: markup`${bar}${
      facts([
        [t("rollout.upgrade"), current?.upgradeId],
        [t("portal.run.attempt"), current === undefined ? undefined : number(current.attempt)],
        [
          t("portal.run.progress"),
          progress === undefined
            ? undefined
            : progress.total === undefined
            ? number(progress.done)
            : t("portals.progress", { done: progress.done, total: progress.total }),
        ],
        [t("portal.run.note"), progress?.note],
        [t("rollout.began"), markup`${ctx.time(startedAt)} (${ago(ctx, startedAt)})`],
        [t("portal.run.sleeps"), wakeAt === undefined ? undefined : ctx.time(wakeAt)],
      ])
    }`,
  });
}

function plan(ctx: PageContext, { plan: { direction, upgrades, skipped, held } }: PortalView): Html {
  const { t } = ctx;
  if (direction === "none" && upgrades.length === 0 && held === undefined) return markup``;
  const range = (id: string, range: string): string => range === id ? "" : t("portal.plan.range", { range });
  const content = direction === "down"
    ? markup`<p>${t("portal.plan.down")}</p>`
    : upgrades.length === 0
    ? markup`<p>${t("portal.plan.empty")}</p>`
    : markup`<p>${t("portal.plan.text", { count: upgrades.length })}</p><ol class="plan">${
      upgrades.map((one) => markup`<li><b>${one.id}</b> <span class="soft">${range(one.id, one.range)}</span></li>`)
    }</ol>`;
  const done = skipped.length === 0
    ? ""
    : markup`<ul class="plan">${
      skipped.map(({ id }) => markup`<li><b>${id}</b> <span class="soft">${t("portal.plan.skipped")}</span></li>`)
    }</ul>`;
  return card({
    id: "plan",
    title: t("portal.plan"),
    content: markup`${held === undefined ? "" : markup`<p class="wait">${held}</p>`}${content}${done}`,
  });
}

function claims(ctx: PageContext, { claims = [] }: StoredPortal): Html {
  const { t } = ctx;
  if (claims.length === 0) return markup``;
  return card({
    id: "claims",
    title: t("portal.claims"),
    content: markup`<p class="soft">${t("portal.claims.text")}</p>${
      facts(claims.map(({ kind, version, since, state }) => [
        t(`portal.claim.${kind}`, { version: version ?? t("parts.unknown") }),
        markup`${t(`portal.claim.${state}`)} · ${ago(ctx, since)}`,
      ]))
    }`,
  });
}

function portalFacts(ctx: PageContext, portal: StoredPortal): Html {
  const { t, number } = ctx;
  const { memberId, version, target, initialVersion, generation, clientEndpoint, scope, unverifiedEvents } = portal;
  return markup`${
    facts([
      [t("portal.memberId"), markup`<code>${memberId}</code>`],
      [t("portal.version"), version ?? t("parts.unknown")],
      [t("portal.target"), target ?? t("parts.unknown")],
      [t("portal.initialVersion"), initialVersion],
      [t("portal.generation"), number(generation)],
      [t("portal.endpoint"), clientEndpoint === undefined ? undefined : markup`<code>${clientEndpoint}</code>`],
      [t("portal.scope"), scope?.join(", ")],
      [
        t("portal.unverified"),
        unverifiedEvents === undefined ? undefined : t("parts.events", { count: unverifiedEvents }),
      ],
    ])
  }<p>${link(ctx, t("portal.audit"), "/audit", { memberId })}</p>`;
}

function calls(ctx: PageContext, { runs: [last] }: PortalHistory): Html {
  const { t, number } = ctx;
  const rows = Object.entries(last?.calls ?? {}).sort(([, a], [, b]) => b - a);
  if (rows.length === 0) return markup``;
  return card({
    id: "calls",
    title: t("portal.calls"),
    content: table({
      caption: t("portal.calls"),
      columns: [
        { head: t("portal.calls.method"), cell: ([name]) => markup`<code>${name}</code>` },
        { head: t("portal.calls.count"), isNumber: true, cell: ([, count]) => number(count) },
      ],
      rows,
    }),
  });
}
