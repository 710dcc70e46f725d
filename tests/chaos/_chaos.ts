/** Real processes over one storage, events that come as they like, and somebody who kills and stops the processes. */
import { createApp, type Portal, type Storage } from "@b24/onappupdate";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { setTimeout as sleep } from "node:timers/promises";
import { FORM, trusting } from "../_app.ts";
import { createCrew, type Crew, LEASE_MS, WORKERS } from "./_crew.ts";
import { seeded, shuffled } from "./_seeded.ts";
import { openStorage, type Place, placeFor, type StorageName } from "./_storages.ts";
import { STEPS } from "./_upgrades.ts";
import { judge, type Life, type Recorded, startWitness, type Witness } from "./_witness.ts";

/** How much chaos there is to be. */
export interface ChaosOptions {
  readonly storage: StorageName;
  /** An integer: of what is planned, not of what comes of it. */
  readonly seed: number;
  readonly portals: number;
  /** How long events come, and processes are killed, in milliseconds. */
  readonly stormMs: number;
  /** How long all of it may take to come to rest after that, in milliseconds. */
  readonly restMs: number;
}

/** What happened. */
export interface ChaosReport {
  /** What went wrong, one line each. */
  readonly problems: readonly string[];
  readonly sent: number;
  readonly acknowledged: number;
  readonly kills: number;
  readonly pauses: number;
  readonly effects: number;
  /** Effects of parts that had an effect before. */
  readonly repeated: number;
  readonly restedAfterMs: number;
}

/** Makes chaos, and tells what came of it. */
export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const place = await placeFor(options.storage);
  const witness = await startWitness();
  const crew = createCrew(place, witness);
  try {
    return await storm(options, place, witness, crew);
  } finally {
    await crew.end();
    await witness.close();
    await place.remove();
  }
}

/** An event on its way. */
interface Sending {
  readonly memberId: string;
  readonly body: string;
  /** Of events about versions. */
  readonly version?: number;
  /** Of others. */
  readonly deal?: string;
  /** Milliseconds after the beginning. */
  readonly at: number;
  readonly worker: number;
  isAcknowledged: boolean;
}

const VERSIONS = [1, ...Object.keys(STEPS).map(Number)];

function planSendings({ seed, portals, stormMs }: ChaosOptions): Sending[] {
  const chance = seeded(seed);
  const bitrix24 = fakeBitrix24({ clientId: "app.5f3a2b1c" });
  const ts = Math.floor(Date.now() / 1000) - 10 * 24 * 60 * 60;
  const sendings: Sending[] = [];
  for (let i = 0; i < portals; i++) {
    const memberId = (i * 0x9e3779b1 >>> 0).toString(16).padStart(8, "0").repeat(4);
    const portal = bitrix24.portal({ memberId, ts });
    const events: Pick<Sending, "memberId" | "body" | "version" | "deal">[] = [];
    for (const version of VERSIONS) {
      const body = version === 1 ? portal.install(version) : portal.update(version);
      events.push({ memberId, body, version });
      const deal = `${i}-${version}`;
      if (chance() < 0.4) events.push({ memberId, body: portal.event("ONCRMDEALADD", { ID: deal }), deal });
    }
    const copies = events.flatMap((event) =>
      Array.from({ length: chance() < 0.4 ? 2 + Math.floor(chance() * 3) : 1 }, () => event)
    );
    // Most come in their order, if near one another; some portals have all of it at random.
    const order = chance() < 0.3 ? shuffled(copies, chance) : copies;
    const first = chance() * stormMs * 0.5;
    const span = chance() < 0.2 ? 50 : chance() * (stormMs - first);
    order.forEach((event, n) => {
      const at = first + span * n / order.length + chance() * 200;
      sendings.push({ ...event, at, worker: Math.floor(chance() * WORKERS), isAcknowledged: false });
    });
  }
  return sendings;
}

async function send(sending: Sending, { workers }: Crew): Promise<void> {
  // As a balancer does: to another one, if this one is not there.
  const { url } = [workers[sending.worker]!, ...workers].find(({ url }) => url !== undefined) ?? {};
  if (url === undefined) return;
  try {
    const response = await fetch(`${url}/events`, {
      method: "POST",
      body: sending.body,
      headers: { "content-type": FORM },
      signal: AbortSignal.timeout(5000),
    });
    await response.body?.cancel();
    sending.isAcknowledged = response.status === 200;
  } catch {
    // Bitrix24 sends once: what was not acknowledged may be lost.
  }
}

async function storm(options: ChaosOptions, place: Place, witness: Witness, crew: Crew): Promise<ChaosReport> {
  const { seed, stormMs, restMs } = options;
  const sendings = planSendings(options);
  const chance = seeded(seed + 1);
  while (crew.workers.some(({ url }) => url === undefined)) {
    const dead = crew.workers.find(({ life }) => life.killedAt !== undefined);
    if (dead !== undefined) throw new Error(`a worker did not start:\n${dead.errors}`);
    await sleep(20);
  }
  const begun = Date.now();
  let kills = 0;
  let pauses = 0;
  const disturb = async (): Promise<void> => {
    const under: Promise<void>[] = [];
    for (let at = 300; at < stormMs; at += 150 + chance() * 500) {
      const index = Math.floor(chance() * WORKERS);
      const isKill = chance() < 0.65;
      const ms = LEASE_MS * (1.2 + chance());
      await sleep(Math.max(0, begun + at - Date.now()));
      if (isKill) kills++;
      else pauses++;
      under.push(isKill ? crew.kill(index) : crew.pause(index, ms));
    }
    await Promise.all(under);
  };
  const deliver = async (sending: Sending): Promise<void> => {
    await sleep(Math.max(0, begun + sending.at - Date.now()));
    await send(sending, crew);
  };
  await Promise.all([disturb(), ...sendings.map(deliver)]);

  const calm = Date.now();
  const storage = await openStorage(place.name, place.at);
  const app = createApp({ storage, tickEveryMs: false }).use(trusting);
  try {
    const problems: string[] = [];
    while (true) {
      const waiting = await unfinished(storage, sendings);
      if (waiting.length === 0) break;
      if (Date.now() - calm > restMs) {
        problems.push(...waiting);
        break;
      }
      await sleep(100);
    }
    const restedAfterMs = Date.now() - calm;
    await crew.end();
    const lives = new Map<string, Life>(crew.all.map(({ name, life }) => [name, life]));
    for (const { name, errors } of crew.all) {
      if (errors !== "") problems.push(`${name} said: ${errors.slice(0, 2000)}`);
    }
    for (const memberId of new Set(sendings.map(({ memberId }) => memberId))) {
      const own = sendings.filter((sending) => sending.memberId === memberId);
      const portal = await app.portal(memberId);
      problems.push(...missing(memberId, own, portal, witness));
      if (portal === undefined) continue;
      const recorded = await recordedOf(storage, portal);
      const plan = await app.plan({ memberId });
      if (plan.direction !== "none") problems.push(`${memberId} has still something to do`);
      problems.push(...judge(
        witness.effects.filter((effect) => effect.memberId === memberId),
        recorded,
        lives,
        LEASE_MS / 2,
      ));
    }
    const parts = new Set(witness.effects.map(({ idempotencyKey }) => idempotencyKey));
    return {
      problems,
      sent: sendings.length,
      acknowledged: sendings.filter(({ isAcknowledged }) => isAcknowledged).length,
      kills,
      pauses,
      effects: witness.effects.length,
      repeated: witness.effects.length - parts.size,
      restedAfterMs,
    };
  } finally {
    await app.close();
  }
}

/** What is looked at of a portal's record. */
interface StoredPortal {
  readonly version?: string;
  readonly target?: string;
  readonly lease?: { readonly until: number };
  readonly due?: number;
  readonly run?: object;
  readonly failure?: object;
}

/** What is not at rest, one line each. */
async function unfinished(storage: Storage, sendings: readonly Sending[]): Promise<string[]> {
  const waiting: string[] = [];
  for (const memberId of new Set(sendings.map((sending) => sending.memberId))) {
    const entry = await storage.get<StoredPortal>(["portal", memberId]);
    if (entry === null) continue;
    const { version, target, lease, run, due, failure } = entry.value;
    // Of whoever looked at a portal that was at rest, and was killed.
    const isHeld = lease !== undefined && lease.until > Date.now();
    if (version === target && !isHeld && run === undefined && due === undefined) continue;
    waiting.push(`${memberId} is not at rest: ${JSON.stringify({ version, target, lease, due, failure })}`);
  }
  for await (const { key } of storage.list(["inbox"])) {
    const [, memberId, id] = key as [string, string, string];
    const ts = `&ts=${id.split(":").at(-1)}&`;
    // Others are left by who was killed before the answer, or before taking a copy of what is done out again.
    const isPromised = sendings.some((one) => one.isAcknowledged && one.memberId === memberId && one.body.includes(ts));
    if (isPromised && await storage.get(["receipt", memberId, id]) === null) {
      waiting.push(`in the inbox: ${memberId} ${id}`);
    }
  }
  return waiting;
}

/** What was acknowledged and is not there. */
function missing(
  memberId: string,
  sendings: readonly Sending[],
  portal: Portal | undefined,
  { handled }: Witness,
): string[] {
  const problems: string[] = [];
  const versions = (of: readonly Sending[]): number[] => of.flatMap(({ version }) => version ?? []);
  const acknowledged = sendings.filter(({ isAcknowledged }) => isAcknowledged);
  const least = Math.max(0, ...versions(acknowledged));
  const most = Math.max(0, ...versions(sendings));
  const version = Number.parseInt(portal?.version ?? "0");
  if (version < least || version > most) {
    problems.push(`${memberId} is on ${version}, acknowledged was ${least}, sent was ${most}`);
  }
  if (portal !== undefined) {
    const wanted = Object.keys(STEPS).filter((id) =>
      Number(id) > Number.parseInt(portal.baseline ?? "0") && Number(id) <= version
    );
    const applied = portal.applied.map(({ id }) => id);
    if (String(applied) !== String(wanted)) problems.push(`${memberId} has had ${applied}, wanted ${wanted}`);
  }
  for (const { deal } of acknowledged) {
    if (deal !== undefined && !handled.has(`${memberId} ${deal}`)) problems.push(`deal ${deal} was not handled`);
  }
  return problems;
}

/** What is kept of the runs of a portal. */
async function recordedOf(storage: Storage, { memberId, applied }: Portal): Promise<Recorded> {
  const results = new Map<string, string>();
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
        if (id === undefined) continue;
        const name = `${upgradeId} ${step}`;
        results.set(name, results.has(name) ? `${results.get(name)} and ${id}` : id);
      }
    }
  }
  return { memberId, applied: applied.map(({ id }) => id), results };
}
