/** What is to be true in the end of what was sent, and what is not. */
import type { App, Portal, Storage } from "@b24/onappupdate";
import { type Circumstances, judge, type Recorded } from "./_judge.ts";
import type { PlannedEvent } from "./_plan.ts";
import { STEPS } from "./_upgrades.ts";
import type { Effect, Witness } from "./_witness.ts";

/** What became of the events of one portal. */
export interface Sent {
  readonly memberId: string;
  readonly events: readonly PlannedEvent[];
  /** When they were first answered 200, in milliseconds since 1970. */
  readonly acknowledgedAt: ReadonlyMap<PlannedEvent, number>;
}

/** What is looked at of a portal's record. */
interface StoredPortal {
  readonly domain: string;
  readonly version?: string;
  readonly target?: string;
  readonly due?: number;
  readonly run?: object;
  readonly failure?: object;
}

/** What is not at rest, one line each. */
export async function unfinished(storage: Storage, sent: readonly Sent[]): Promise<string[]> {
  const waiting: string[] = [];
  const promised = new Set<string>();
  for (const { memberId, acknowledgedAt } of sent) {
    for (const { ts } of acknowledgedAt.keys()) promised.add(`${memberId} ${ts}`);
    const entry = await storage.get<StoredPortal>(["portal", memberId]);
    if (entry === null) continue;
    const { domain, version, target, run, due, failure } = entry.value;
    // What was purged is looked at again and again, as long as the schedule has something that a crash has left there.
    if (domain === "" || (version === target && run === undefined && due === undefined)) continue;
    waiting.push(`${memberId} is not at rest: ${JSON.stringify({ version, target, due, failure })}`);
  }
  for await (const { key } of storage.list(["inbox"])) {
    const [, memberId, id] = key as [string, string, string];
    // Others are left by who was killed before the answer, or before taking a copy of what is done out again.
    const isPromised = promised.has(`${memberId} ${id.split(":").at(-1)}`);
    if (isPromised && await storage.get(["receipt", memberId, id]) === null) {
      waiting.push(`in the inbox: ${memberId} ${id}`);
    }
  }
  return waiting;
}

/** What is wrong with one portal, one line each. */
export async function verdict(
  sent: Sent,
  { app, storage, witness, circumstances }: {
    readonly app: App;
    readonly storage: Storage;
    readonly witness: Witness;
    readonly circumstances: Circumstances;
  },
): Promise<string[]> {
  const { memberId } = sent;
  const portal = await app.portal(memberId);
  const effects = witness.effects.filter((effect) => effect.memberId === memberId);
  const problems = [...state(sent, portal), ...unhandled(sent, witness), ...afterRemoval(sent, portal, effects)];
  if (portal === undefined) return problems;
  const { direction } = await app.plan({ memberId });
  if (direction !== "none") problems.push(`${memberId} has still something to do`);
  return [...problems, ...judge(effects, await recordedOf(storage, portal), circumstances)];
}

/** Where the portal is, and where it is to be. */
function state({ memberId, events, acknowledgedAt }: Sent, portal: Portal | undefined): string[] {
  const changes = events.filter(({ change }) => change !== undefined).toSorted((a, b) => a.ts - b.ts);
  const versions = (of: readonly PlannedEvent[]): number[] => of.flatMap(({ version }) => version ?? []);
  const removals = changes.filter(({ change }) => change === "removal").length;
  const lost = events.filter((event) => !acknowledgedAt.has(event));
  if (removals > 0 && lost.length > 0) return [`${memberId}: ${lost.length} events were never answered 200`];
  const { status, generation = 0, version, initialVersion } = portal ?? {};
  if (changes.at(-1)?.change === "removal") {
    const isRight = status === "uninstalled" && generation <= removals && version === undefined;
    return isRight ? [] : [`${memberId} was removed, and is ${status}, generation ${generation}, on ${version}`];
  }
  const least = Math.max(0, ...versions(changes.filter((event) => acknowledgedAt.has(event))));
  const most = Math.max(0, ...versions(changes));
  const on = Number.parseInt(version ?? "0");
  const problems: string[] = [];
  if (on < least || on > most) problems.push(`${memberId} is on ${on}, acknowledged was ${least}, sent was ${most}`);
  if (portal === undefined) return problems;
  if (status !== "installed" || generation < 1 || generation > removals + 1) {
    problems.push(`${memberId} is ${status}, generation ${generation}, after ${removals} removals`);
  }
  const begun = Number.parseInt(initialVersion ?? "0");
  const wanted = Object.keys(STEPS).filter((id) => Number(id) > begun && Number(id) <= on);
  const applied = portal.applied.map(({ id }) => id);
  if (String(applied) !== String(wanted)) problems.push(`${memberId} has had ${applied}, wanted ${wanted}`);
  return problems;
}

function unhandled({ memberId, acknowledgedAt }: Sent, { handled }: Witness): string[] {
  return [...acknowledgedAt.keys()].flatMap(({ deal }) =>
    deal === undefined || handled.has(`${memberId} ${deal}`) ? [] : [`${memberId}: deal ${deal} was not handled`]
  );
}

/** Once the app was removed for good, a holder ends at most what he was about to do. */
function afterRemoval(
  { events, acknowledgedAt }: Sent,
  portal: Portal | undefined,
  effects: readonly Effect[],
): string[] {
  const removal = events.find(({ change }) => change === "removal");
  const at = removal === undefined ? undefined : acknowledgedAt.get(removal);
  if (at === undefined || portal?.status !== "uninstalled") return [];
  const after = effects.filter((effect) => effect.at > at);
  const fences = new Set(after.map(({ fence }) => fence));
  return after.length === fences.size ? [] : [`${portal.memberId}: ${after.length} effects after the app was removed`];
}

/** What is kept of the runs of a portal. */
async function recordedOf(storage: Storage, { memberId, status, generation, applied }: Portal): Promise<Recorded> {
  const results = new Map<string, string[]>();
  interface Kept {
    readonly journal: readonly {
      readonly upgradeId: string;
      readonly steps: Readonly<Record<string, { readonly result?: { id: string }; readonly stored?: string }>>;
    }[];
  }
  for await (const { value } of storage.list<Kept>(["run", memberId])) {
    for (const { upgradeId, steps } of value.journal) {
      for (const [step, { result, stored }] of Object.entries(steps)) {
        const large = stored === undefined ? null : await storage.get<{ id: string }>(["result", memberId, stored]);
        const id = (result ?? large?.value)?.id;
        const name = `${upgradeId} ${step}`;
        if (id !== undefined) results.set(name, [...results.get(name) ?? [], id]);
      }
    }
  }
  return { memberId, isInstalled: status === "installed", generation, applied: applied.map(({ id }) => id), results };
}
