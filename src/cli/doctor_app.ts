/** Findings of `onappupdate doctor` by the operator API: portals, schedule, verification, messages, operators. */
import type { Pause, RegisteredUpgrade } from "../plugin/admin_reports.ts";
import type { AuditEntry, UnverifiedEvents } from "../plugin/admin_pages.ts";
import type { Finding } from "../plugin/diagnosis.ts";
import type { OutboxMessage } from "../plugin/outbox.ts";
import type { RolloutStatus } from "../plugin/rollout.ts";
import type { Portal, PortalState } from "../portal/portal.ts";
import type { PortalCount } from "../portal/totals.ts";
import type { CheckReport } from "../worker/portal_check.ts";
import { type OperatorClient, portalPath, take } from "./operator_client.ts";
import { isStopped, rolloutLine } from "./rollout_text.ts";
import { counted, duration, time } from "./text.ts";

/** Portals, events and messages that are looked at of each list. */
const MAX_ITEMS = 1000;

/** Lateness (ms) that means that no process does the work: ticks are at most a minute apart. */
const LATE_MS = 5 * 60_000;

interface List<Item> {
  readonly items: readonly Item[];
}

/** Looks at the app. */
export async function appFindings(client: OperatorClient, now: number): Promise<readonly Finding[]> {
  const { items: counts } = await client.get<List<PortalCount>>("/counts");
  const { pause } = await client.get<{ readonly pause?: Pause }>("/pause");
  const { rollout } = await client.get<{ readonly rollout?: RolloutStatus }>("/rollout");
  const [unverified, upgrades, dead, waiting, audit] = await Promise.all([
    take<UnverifiedEvents>(client, "/unverified", {}, MAX_ITEMS),
    client.get<List<RegisteredUpgrade>>("/upgrades"),
    client.get<List<OutboxMessage>>("/outbox", { state: "dead", limit: MAX_ITEMS }),
    client.get<List<OutboxMessage>>("/outbox", { state: "waiting", limit: MAX_ITEMS }),
    take<AuditEntry>(client, "/audit", {}, 100),
  ]);
  const [upgrading, blocked] = await Promise.all(
    (["upgrading", "blocked"] as const).map(async (status) =>
      (await take<Portal>(client, "/portals", { status }, MAX_ITEMS)).items
    ),
  );
  const due = [
    ...[...upgrading!, ...blocked!].map(({ blocked, failure, run }) =>
      blocked?.nextTryAt ?? run?.wakeAt ?? failure?.retryAt
    ),
    ...unverified.items.flatMap(({ events }) => events.map(({ nextTryAt }) => nextTryAt)),
    ...waiting.items.map(({ nextTryAt }) => nextTryAt),
  ];
  return [
    ...countFindings(counts),
    ...blockedFindings(blocked!),
    ...rolloutFindings(rollout, now),
    scheduleFinding(due, pause, now),
    ...unverifiedFindings(unverified.items),
    ...upgradeFindings(upgrades.items),
    ...deadLetterFindings(dead.items),
    ...auditFindings(audit.items, now),
  ];
}

function countFindings(counts: readonly PortalCount[]): Finding[] {
  const of = (state: PortalState): number =>
    counts.filter(({ status }) => status === state).reduce((sum, { count }) => sum + count, 0);
  const known = counts.reduce((sum, { count }) => sum + count, 0);
  const has: Finding = { level: "ok", about: "portals", message: `the storage has ${counted(known, "portal")}` };
  if (known === 0) {
    const todo =
      "Is the address of the event handler in Bitrix24 that of app.fetch, and is it public? Apps with an install " +
      "wizard get no event before the page calls BX24.installFinish(): use app.open(). To try it without a portal: " +
      "onappupdate simulate, onappupdate dev";
    return [has, { level: "warning", about: "events", message: "no installation has been received yet", todo }];
  }
  const parked = of("parked");
  if (parked === 0) return [has];
  const todo = "onappupdate status shows the reasons; then retry, skip or rollback";
  return [has, {
    level: "problem",
    about: "portals",
    message: `${counted(parked, "portal")} ${parked === 1 ? "is" : "are"} parked`,
    todo,
  }];
}

/** Remedies of blocks and other problems of a portal, by their code. */
const REMEDIES: Readonly<Record<string, string>> = {
  parked: "correct the cause; then onappupdate retry, skip or rollback",
  scope: "the customer grants the scope, by updating the app",
  payment: "the customer pays for the app or the portal",
  confirmation: "an administrator of the portal confirms the method that the app calls",
  administrator: "an administrator of the portal opens the app",
  authorization: "an administrator of the portal opens the app: no stored token works",
  installation:
    "the installation is finished, or its handlers succeed: onappupdate portal shows which; then retry or skip",
  configuration: "correct clientId, clientSecret or extraPortalHosts of createApp()",
  version: "onappupdate set-initial-version, or initialVersion of createApp()",
  rollout: "onappupdate rollout status shows what it waits for",
};

/** Blocks that the vendor ends. */
const OURS: ReadonlySet<string> = new Set(["configuration", "version"]);

function blockedFindings(portals: readonly Portal[]): Finding[] {
  const groups = Map.groupBy(portals, ({ blocked }) => blocked?.on ?? "unknown");
  return [...groups].map(([on, { length, 0: example }]) => ({
    level: OURS.has(on) ? "problem" : "warning",
    about: "portals",
    message: `${counted(length, "portal")} blocked on ${on}, such as ${example?.domain}: ${
      example?.blocked?.message ?? ""
    }`,
    ...REMEDIES[on] !== undefined && { todo: REMEDIES[on] },
  }));
}

function rolloutFindings(rollout: RolloutStatus | undefined, now: number): Finding[] {
  if (rollout === undefined || !isStopped(rollout)) return [];
  const level = rollout.waitsFor?.on === "failures" ? "problem" : "warning";
  const todo = "onappupdate rollout status shows the failures; then rollout resume or rollout abort";
  return [{ level, about: "rollout", message: rolloutLine(rollout, now), todo }];
}

function scheduleFinding(due: readonly (number | undefined)[], pause: Pause | undefined, now: number): Finding {
  const about = "schedule and ticks";
  if (pause !== undefined) {
    const message = `all work is paused since ${time(pause.since)} by ${pause.by}: ${pause.reason}`;
    return { level: "warning", about, message, todo: "onappupdate resume" };
  }
  const late = due.filter((at) => at !== undefined).filter((at) => now - at > LATE_MS);
  if (late.length === 0) return { level: "ok", about, message: "nothing is overdue" };
  const message = `${counted(late.length, "piece")} of work overdue, the oldest for ${
    duration(now - Math.min(...late))
  }`;
  const todo =
    "Is the app running? On hosts that stop a program between requests, call app.tick() every minute, from " +
    "Deno.cron or a timer of the host";
  return { level: "problem", about, message, todo };
}

function unverifiedFindings(portals: readonly UnverifiedEvents[]): Finding[] {
  const events = portals.flatMap(({ events }) => events);
  if (events.length === 0) return [];
  const error = events.find(({ error }) => error !== undefined)?.error;
  const message =
    `${counted(events.length, "event")} of ${counted(portals.length, "portal")} wait for Bitrix24's answer` +
    (error === undefined ? "" : `: ${error}`);
  const todo =
    "They are asked about for 24 hours. Many of unknown portals may be forged; of known ones, look at hosts and " +
    "clientId";
  return [{ level: "warning", about: "verification", message, todo }];
}

function upgradeFindings(upgrades: readonly RegisteredUpgrade[]): Finding[] {
  return upgrades.filter(({ range }) => range === undefined).map(({ id, due }) => ({
    level: "problem",
    about: "upgrades",
    message: `${counted(due, "portal")} began upgrade ${id}, which the code no longer has`,
    todo: "register it again under this id, or skip it: onappupdate skip",
  }));
}

function deadLetterFindings(messages: readonly OutboxMessage[]): Finding[] {
  return [...Map.groupBy(messages, ({ plugin }) => plugin)].map(([plugin, { length, 0: example }]) => ({
    level: "warning",
    about: `messages of ${plugin}`,
    message: `${counted(length, "message")} could not be delivered: ${example?.error ?? ""}`,
    todo: `onappupdate outbox --plugin ${plugin}; then onappupdate outbox retry`,
  }));
}

function auditFindings(entries: readonly AuditEntry[], now: number): Finding[] {
  const pending = entries.filter(({ outcome, at }) => outcome === "pending" && now - at > LATE_MS);
  return pending.map(({ action, by, at }) => ({
    level: "warning",
    about: "operators",
    message: `${action} by ${by} at ${time(at)} has not ended: its process may have crashed`,
    todo: "see whether it was done, and repeat it if not",
  }));
}

/** Asks Bitrix24 and the plugins about a portal. */
export async function portalFindings(client: OperatorClient, portal: string): Promise<readonly Finding[]> {
  const { problems } = await client.post<CheckReport>(portalPath(portal, "/check"), { reason: "onappupdate doctor" });
  const about = `registrations and events of ${portal}`;
  if (problems.length === 0) return [{ level: "ok", about, message: "Bitrix24 and the plugins report no problem" }];
  return problems.map(({ code, message }) => ({
    level: "problem",
    about,
    message: `${code}: ${message}`,
    ...REMEDIES[code] !== undefined && { todo: REMEDIES[code] },
  }));
}
