/** What is to come, all of it by the seed: events, and what happens to processes, to clocks and to the storage. */
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { chanceFor, seeded, shuffled } from "../support/seeded.ts";
import { type OutageKind, OUTAGES } from "./_outages.ts";
import type { StorageName } from "./_storages.ts";
import { STEPS } from "./_upgrades.ts";

/** How many processes there are at a time. */
export const WORKERS = 3;
/** How long a worker keeps a portal without a sign of life, in milliseconds; times the pace of the machine. */
export const LEASE_MS = 900;
/** How long what a removed portal leaves is kept, in milliseconds; times the pace of the machine. */
export const RETENTION_MS = 1000;
/** By how much the clocks of workers are wrong, in milliseconds; a little more or less. */
const SKEWS_MS = [-180_000, 0, 240_000] as const;

/** How much chaos there is to be. */
export interface ChaosOptions {
  readonly storage: StorageName;
  /** An integer: of what is planned, not of what comes of it. */
  readonly seed: number;
  readonly portals: number;
  /** How long events come, and things go wrong, in milliseconds; times the pace of the machine. */
  readonly stormMs: number;
}

/** Something that a portal tells of, however often it is sent. */
export interface PlannedEvent {
  readonly memberId: string;
  readonly body: string;
  /** Seconds since 1970. */
  readonly ts: number;
  /** Of those that are about the installation. */
  readonly change?: "arrival" | "removal";
  /** Of arrivals. */
  readonly version?: number;
  /** Of others. */
  readonly deal?: string;
}

/** One copy of an event on its way. */
export interface Sending {
  readonly event: PlannedEvent;
  /** Milliseconds after the beginning. */
  readonly at: number;
  readonly worker: number;
  /** How often it is sent again while it is not answered 200. */
  readonly repeats: number;
}

/** What is done to a process. */
export interface Disturbance {
  readonly at: number;
  readonly worker: number;
  readonly kind: "kill" | "pause";
  /** Of a pause, in milliseconds. */
  readonly ms: number;
}

/** The storage is down. */
export interface Outage {
  readonly at: number;
  readonly kind: OutageKind;
  readonly ms: number;
}

/** All of it. */
export interface ChaosPlan {
  readonly sendings: readonly Sending[];
  /** Sent once all has come to rest: removals of installations after which there was another. */
  readonly late: readonly PlannedEvent[];
  readonly disturbances: readonly Disturbance[];
  readonly outages: readonly Outage[];
  /** By how much the clock of a worker is wrong, in milliseconds, by its name. */
  readonly skewOf: (worker: string) => number;
}

/** Plans; `now` in milliseconds since 1970 dates the events. */
export function planChaos(options: ChaosOptions, now: number): ChaosPlan {
  const { seed, storage, stormMs } = options;
  return {
    ...planEvents(options, now),
    disturbances: planDisturbances(seeded(seed + 1), stormMs),
    outages: planOutages(seeded(seed + 2), stormMs, OUTAGES[storage]),
    skewOf: (worker) => {
      const skewMs = SKEWS_MS[Math.floor(chanceFor(`${seed} ${worker}`) * SKEWS_MS.length)]!;
      return skewMs + Math.floor(4000 * chanceFor(`${worker} ${seed}`)) - 2000;
    },
  };
}

function planEvents({ seed, portals, stormMs }: ChaosOptions, now: number): Pick<ChaosPlan, "sendings" | "late"> {
  const chance = seeded(seed);
  const bitrix24 = fakeBitrix24({ clientId: "app.5f3a2b1c" });
  const ts = Math.floor(now / 1000) - 10 * 24 * 60 * 60;
  const sendings: Sending[] = [];
  const late: PlannedEvent[] = [];
  for (let i = 0; i < portals; i++) {
    const memberId = (i * 0x9e3779b1 >>> 0).toString(16).padStart(8, "0").repeat(4);
    const events = storyOf(bitrix24.portal({ memberId, ts }), String(i), chance);
    const isRemoved = events.some(({ change }) => change === "removal");
    for (const event of events.slice(0, -1)) {
      if (event.change !== "removal") continue;
      // Another delivery than the one that came: what it says of the data differs.
      late.push({ ...event, body: event.body.replace("CLEAN%5D=1", "CLEAN%5D=0") });
    }
    const copies = events.flatMap((event) =>
      Array.from({ length: chance() < 0.3 ? 2 + Math.floor(chance() * 2) : 1 }, () => event)
    );
    // Most come in their order, if near one another; some portals have all of it at random.
    const order = chance() < 0.3 ? shuffled(copies, chance) : copies;
    const first = chance() * stormMs * 0.5;
    const span = chance() < 0.2 ? 50 : chance() * (stormMs - first);
    order.forEach((event, n) => {
      const at = Math.min(stormMs, first + span * n / order.length + chance() * 200);
      const repeats = chance() < 0.5 ? 0 : 1 + Math.floor(chance() * 5);
      // Where the app was removed, what is right in the end is known only if all of it arrives.
      sendings.push({ event, at, worker: Math.floor(chance() * WORKERS), repeats: isRemoved ? Infinity : repeats });
    });
  }
  return { sendings, late };
}

/** What happens at a portal, in this order. */
function storyOf(portal: FakePortal, name: string, chance: () => number): PlannedEvent[] {
  const events: PlannedEvent[] = [];
  const { memberId } = portal;
  const add = (body: string, more: Partial<PlannedEvent>): void => {
    events.push({ memberId, body, ts: Number(new URLSearchParams(body).get("ts")), ...more });
  };
  const arrive = (version: number, isNew: boolean): void => {
    add(isNew ? portal.install(version) : portal.update(version), { change: "arrival", version });
    const deal = `${name}-${events.length}`;
    if (chance() < 0.4) add(portal.event("ONCRMDEALADD", { ID: deal }), { deal });
  };
  const [first, ...others] = [1, ...Object.keys(STEPS).map(Number)] as [number, ...number[]];
  const luck = chance();
  const isLeaving = luck < 0.1;
  const isComingBack = !isLeaving && luck < 0.35;
  const removedAfter = Math.floor(chance() * others.length);
  arrive(first, true);
  for (const [i, version] of others.entries()) {
    if (isComingBack && i === removedAfter) {
      add(portal.uninstall(), { change: "removal" });
      arrive(chance() < 0.5 ? version - 1 : first, true);
      for (let missed = portal.state().version! + 1; missed < version; missed++) arrive(missed, false);
    }
    arrive(version, false);
  }
  if (isLeaving) add(portal.uninstall(), { change: "removal" });
  return events;
}

function planDisturbances(chance: () => number, stormMs: number): Disturbance[] {
  const disturbances: Disturbance[] = [];
  let worker = 0;
  // One of the first three, whatever the seed, and every fifth after it.
  const firstPause = Math.floor(chance() * 3);
  for (let at = 300; at < stormMs; at += 250 + chance() * 350) {
    // Not the last one again: it has hardly begun.
    worker = (worker + 1 + Math.floor(chance() * (WORKERS - 1))) % WORKERS;
    const kind = disturbances.length % 5 === firstPause ? "pause" : "kill";
    disturbances.push({ at, worker, kind, ms: LEASE_MS * (1.2 + 0.6 * chance()) });
  }
  return disturbances;
}

/** Every way in which this storage goes down comes in its turn. */
function planOutages(chance: () => number, stormMs: number, kinds: readonly OutageKind[]): Outage[] {
  const count = Math.max(kinds.length, Math.floor(stormMs / 4000));
  const room = stormMs / count;
  return Array.from({ length: count }, (_, i) => {
    const ms = Math.min(room * 0.4, 400 + chance() * 1200);
    return { at: room * i + (room - ms) * (0.3 + 0.6 * chance()), kind: kinds[i % kinds.length]!, ms };
  });
}
