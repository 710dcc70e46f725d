/** Checks portals at the end: their state, handled events and effects. */
import type { App, Portal, Storage } from "@b24/onappupdate";
import { readJournals } from "../../src/portal/journal.ts";
import { appliedUpgrades } from "../support/app.ts";
import { checkEffects, type Circumstances, type Recorded } from "./_check_effects.ts";
import type { PlannedEvent } from "./_plan.ts";
import { STEPS } from "./_upgrades.ts";
import type { Effect, EffectsLog } from "./_effects_log.ts";
import { waitingDeliveries } from "../support/waiting.ts";

/** The events of one portal, and their acknowledgments. */
export interface Sent {
  readonly memberId: string;
  readonly events: readonly PlannedEvent[];
  /** When events were first sent, in milliseconds since 1970. */
  readonly sentAt: ReadonlyMap<PlannedEvent, number>;
  /** When events were first answered with 200, in milliseconds since 1970. */
  readonly acknowledgedAt: ReadonlyMap<PlannedEvent, number>;
}

/** The fields of a record that are checked. */
interface StoredPortal {
  readonly domain: string;
  readonly version?: string;
  readonly target?: string;
  readonly due?: number;
  readonly run?: object;
  readonly failure?: object;
}

type Applied = Awaited<ReturnType<typeof appliedUpgrades>>;

/** Returns work that is not done, one line each. */
export async function unfinishedWork(storage: Storage, sent: readonly Sent[]): Promise<string[]> {
  const unfinished: string[] = [];
  const acknowledged = new Set<string>();
  for (const { memberId, acknowledgedAt } of sent) {
    for (const { ts } of acknowledgedAt.keys()) acknowledged.add(`${memberId} ${ts}`);
    const entry = await storage.get<StoredPortal>(["portal", memberId]);
    if (entry === null) continue;
    const { domain, version, target, run, due, failure } = entry.value;
    // A purged portal may be due again and again because of an orphaned schedule entry.
    if (domain === "" || (version === target && run === undefined && due === undefined)) continue;
    unfinished.push(`${memberId} is not idle: ${JSON.stringify({ version, target, due, failure })}`);
  }
  for (const { memberId } of sent) {
    for (const { id } of await waitingDeliveries(storage, memberId)) {
      // Others are left by processes that were killed before the answer.
      const isAcknowledged = acknowledged.has(`${memberId} ${id.split(":").at(-1)!.split("~")[0]}`);
      if (isAcknowledged) unfinished.push(`in the inbox: ${memberId} ${id}`);
    }
  }
  return unfinished;
}

/** Returns the problems of one portal, one line each. */
export async function checkPortal(
  sent: Sent,
  { app, storage, log, circumstances }: {
    readonly app: App;
    readonly storage: Storage;
    readonly log: EffectsLog;
    readonly circumstances: Circumstances;
  },
): Promise<string[]> {
  const { memberId } = sent;
  const portal = await app.portal(memberId);
  const applied = await appliedUpgrades(app, memberId);
  const effects = log.effects.filter((effect) => effect.memberId === memberId);
  const problems = [
    ...checkState(sent, portal, applied),
    ...checkHandled(sent, log),
    ...checkRemoval(sent, portal, effects),
    ...checkHandledAfterRemovals(sent, log),
  ];
  if (portal === undefined) return problems;
  const { direction } = await app.plan({ memberId });
  if (direction !== "none") problems.push(`${memberId} still has work to do`);
  return [...problems, ...checkEffects(effects, await recordedOf(storage, portal, applied), circumstances)];
}

/** Compares the portal's status, generation, version and upgrades with its events. */
function checkState(
  { memberId, events, acknowledgedAt }: Sent,
  portal: Portal | undefined,
  upgrades: Applied,
): string[] {
  const changes = events.filter(({ change }) => change !== undefined).toSorted((a, b) => a.ts - b.ts);
  const versions = (planned: readonly PlannedEvent[]): number[] => planned.flatMap(({ version }) => version ?? []);
  const removals = changes.filter(({ change }) => change === "removal").length;
  const lost = events.filter((event) => !acknowledgedAt.has(event));
  if (removals > 0 && lost.length > 0) return [`${memberId}: ${lost.length} events were never answered with 200`];
  const { status, generation = 0, version, initialVersion } = portal ?? {};
  if (changes.at(-1)?.change === "removal") {
    const isRemoved = status === "uninstalled" && generation <= removals && version === undefined;
    return isRemoved ? [] : [`${memberId} was removed, and is ${status}, generation ${generation}, on ${version}`];
  }
  const min = Math.max(0, ...versions(changes.filter((event) => acknowledgedAt.has(event))));
  const max = Math.max(0, ...versions(changes));
  const current = Number.parseInt(version ?? "0");
  const problems: string[] = [];
  if (current < min || current > max) {
    problems.push(`${memberId} is on ${current}, acknowledged was ${min}, sent was ${max}`);
  }
  if (portal === undefined) return problems;
  if (status !== "installed" || generation < 1 || generation > removals + 1) {
    problems.push(`${memberId} is ${status}, generation ${generation}, after ${removals} removals`);
  }
  const initial = Number.parseInt(initialVersion ?? "0");
  const wanted = Object.keys(STEPS).filter((id) => Number(id) > initial && Number(id) <= current);
  const applied = upgrades.map(({ id }) => id);
  if (String(applied) !== String(wanted)) problems.push(`${memberId} has applied ${applied}, wanted ${wanted}`);
  return problems;
}

/** Every deal is handled, but for those that the removal of their installation, or of the one before, may have ended. */
function checkHandled(sent: Sent, { handled }: EffectsLog): string[] {
  const { memberId, acknowledgedAt } = sent;
  return [...acknowledgedAt.keys()].flatMap((event) => {
    const { deal } = event;
    const isOwed = deal !== undefined && !handled.has(`${memberId} ${deal}`) && !mayBeOver(sent, event);
    return isOwed ? [`${memberId}: deal ${deal} was not handled: ${describeLife(sent)}`] : [];
  });
}

/**
 * Returns whether the portal may have been removed when the deal's turn came: it was removed after the deal, or before it
 * and nothing of a newer installation had surely arrived when the deal was sent.
 */
function mayBeOver({ events, sentAt, acknowledgedAt }: Sent, deal: PlannedEvent): boolean {
  const removal = events.find(({ change }) => change === "removal");
  if (removal === undefined) return false;
  if (removal.ts > deal.ts) return true;
  return !events.some((event) =>
    event.change === "arrival" && event.ts > removal.ts && acknowledgedAt.get(event)! < sentAt.get(deal)!
  );
}

/**
 * After a removal was answered with 200, each process finishes at most one deal of that installation. A removal that a newer
 * installation may have overtaken is late, and changes nothing.
 */
function checkHandledAfterRemovals(sent: Sent, { handled }: EffectsLog): string[] {
  const { memberId, events, sentAt, acknowledgedAt } = sent;
  const removal = events.find(({ change }) => change === "removal");
  const at = removal === undefined ? undefined : acknowledgedAt.get(removal);
  if (at === undefined) return [];
  const mayBeLate = events.some((event) =>
    event.change === "arrival" && event.ts > removal!.ts && sentAt.get(event)! < at
  );
  if (mayBeLate) return [];
  const late = events.flatMap(({ deal, ts }) => {
    const reports = deal === undefined || ts > removal!.ts ? [] : handled.get(`${memberId} ${deal}`) ?? [];
    return reports.filter((report) => report.at > at);
  });
  const isOver = late.length > new Set(late.map(({ process }) => process)).size;
  return isOver ? [`${memberId}: ${late.length} deals handled after the removal: ${describeLife(sent)}`] : [];
}

/** Returns the events of a portal in order, with their first and last moment in milliseconds of the run. */
function describeLife({ events, sentAt, acknowledgedAt }: Sent): string {
  const start = Math.min(...events.map((event) => sentAt.get(event) ?? Infinity));
  return events.toSorted((a, b) => a.ts - b.ts).map((event) => {
    const [from, to] = [sentAt, acknowledgedAt].map((times) => (times.get(event) ?? NaN) - start);
    return `${event.deal ?? event.change} ${event.version ?? ""} (${from} to ${to})`;
  }).join(", ");
}

/** After the final removal, each holder finishes at most one effect. */
function checkRemoval(
  { events, acknowledgedAt }: Sent,
  portal: Portal | undefined,
  effects: readonly Effect[],
): string[] {
  const removal = events.find(({ change }) => change === "removal");
  const at = removal === undefined ? undefined : acknowledgedAt.get(removal);
  if (at === undefined || portal?.status !== "uninstalled") return [];
  const after = effects.filter((effect) => effect.at > at);
  const fences = new Set(after.map(({ fencingToken }) => fencingToken));
  return after.length === fences.size ? [] : [`${portal.memberId}: ${after.length} effects after the app was removed`];
}

/** Returns the stored state of a portal. */
async function recordedOf(
  storage: Storage,
  { memberId, status, generation }: Portal,
  applied: Applied,
): Promise<Recorded> {
  const results = new Map<string, string[]>();
  const keys = await Array.fromAsync(storage.list(["run", memberId]), ({ key }) => key.at(-1)!);
  for (const runId of new Set(keys.map((name) => name.split("-")[0]!))) {
    for (const [upgradeId, entries] of await readJournals(storage, memberId, runId)) {
      for (const entry of entries) {
        const value = entry[2] === "large"
          ? (await storage.get(["result", memberId, runId, entry[3]]))?.value
          : entry[2] === "step"
          ? entry[3]
          : undefined;
        const { id } = (value ?? {}) as { readonly id?: string };
        const name = `${upgradeId} ${entry[0]}`;
        if (id !== undefined) results.set(name, [...results.get(name) ?? [], id]);
      }
    }
  }
  return {
    memberId,
    isInstalled: status === "installed",
    generation,
    applied: applied.map(({ id }) => id),
    results,
  };
}
