/** Plans events, kills, pauses, clock offsets and outages. The same seed gives the same plan. */
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { seeded, seededBy, shuffled } from "../support/seeded.ts";
import { type OutageKind, OUTAGES } from "./_outages.ts";
import type { StorageName } from "./_storages.ts";
import { STEPS } from "./_upgrades.ts";

/** Number of concurrent workers. */
export const WORKERS = 3;
/** `leaseMs` of the workers, times the pace of the machine. */
export const LEASE_MS = 900;
/** `retentionMs` of the workers, times the pace of the machine. */
export const RETENTION_MS = 1000;
/** Approximate clock offsets of workers in milliseconds. */
const SKEWS_MS = [-180_000, 0, 240_000] as const;

/** Options of a run of the chaos. */
export interface ChaosOptions {
  readonly storage: StorageName;
  /** An integer. It determines the plan, not its execution. */
  readonly seed: number;
  readonly portals: number;
  /** Duration of events and faults in milliseconds, times the pace of the machine. */
  readonly chaosMs: number;
}

/** An event, which may be sent several times. */
export interface PlannedEvent {
  readonly memberId: string;
  readonly body: string;
  /** Seconds since 1970. */
  readonly ts: number;
  /** Absent for events that do not change the installation. */
  readonly change?: "arrival" | "removal";
  /** Version after an installation or update. */
  readonly version?: number;
  /** The deal of other events. */
  readonly deal?: string;
}

/** One copy of an event. */
export interface Sending {
  readonly event: PlannedEvent;
  /** Milliseconds after the start. */
  readonly at: number;
  readonly worker: number;
  /** Maximum number of repeats until it is answered with 200. */
  readonly repeats: number;
}

/** A kill or pause of a worker. */
export interface Disturbance {
  readonly at: number;
  readonly worker: number;
  readonly kind: "kill" | "pause";
  /** Duration of a pause in milliseconds. */
  readonly ms: number;
}

/** An outage of the storage. */
export interface Outage {
  readonly at: number;
  readonly kind: OutageKind;
  readonly ms: number;
}

/** The whole plan. */
export interface ChaosPlan {
  readonly sendings: readonly Sending[];
  /** Removals of earlier installations, sent once all work is done. */
  readonly late: readonly PlannedEvent[];
  readonly disturbances: readonly Disturbance[];
  readonly outages: readonly Outage[];
  /** Returns the clock offset of a worker in milliseconds, by its name. */
  readonly skewOf: (worker: string) => number;
}

/** Returns the plan. `now`, in milliseconds since 1970, determines the times of the events. */
export function planChaos(options: ChaosOptions, now: number): ChaosPlan {
  const { seed, storage, chaosMs } = options;
  return {
    ...planEvents(options, now),
    disturbances: planDisturbances(seeded(seed + 1), chaosMs),
    outages: planOutages(seeded(seed + 2), chaosMs, OUTAGES[storage]),
    skewOf: (worker) => {
      const skewMs = SKEWS_MS[Math.floor(seededBy(`${seed} ${worker}`) * SKEWS_MS.length)]!;
      return skewMs + Math.floor(4000 * seededBy(`${worker} ${seed}`)) - 2000;
    },
  };
}

function planEvents({ seed, portals, chaosMs }: ChaosOptions, now: number): Pick<ChaosPlan, "sendings" | "late"> {
  const random = seeded(seed);
  const bitrix24 = fakeBitrix24({ clientId: "app.5f3a2b1c" });
  const ts = Math.floor(now / 1000) - 10 * 24 * 60 * 60;
  const sendings: Sending[] = [];
  const late: PlannedEvent[] = [];
  for (let i = 0; i < portals; i++) {
    const memberId = (i * 0x9e3779b1 >>> 0).toString(16).padStart(8, "0").repeat(4);
    const events = eventsOf(bitrix24.portal({ memberId, ts }), String(i), random);
    const isRemoved = events.some(({ change }) => change === "removal");
    for (const event of events.slice(0, -1)) {
      if (event.change !== "removal") continue;
      // CLEAN differs, so that it is not a duplicate of the original.
      late.push({ ...event, body: event.body.replace("CLEAN%5D=1", "CLEAN%5D=0") });
    }
    const copies = events.flatMap((event) =>
      Array.from({ length: random() < 0.3 ? 2 + Math.floor(random() * 2) : 1 }, () => event)
    );
    // The events of most portals are nearly in order, those of some in random order.
    const order = random() < 0.3 ? shuffled(copies, random) : copies;
    const first = random() * chaosMs * 0.5;
    const span = random() < 0.2 ? 50 : random() * (chaosMs - first);
    order.forEach((event, n) => {
      const at = Math.min(chaosMs, first + span * n / order.length + random() * 200);
      const repeats = random() < 0.5 ? 0 : 1 + Math.floor(random() * 5);
      // After a removal, the right result is known only if all events arrive.
      sendings.push({ event, at, worker: Math.floor(random() * WORKERS), repeats: isRemoved ? Infinity : repeats });
    });
  }
  return { sendings, late };
}

/** Returns the events of a portal, in order. */
function eventsOf(portal: FakePortal, name: string, random: () => number): PlannedEvent[] {
  const events: PlannedEvent[] = [];
  const { memberId } = portal;
  const add = (body: string, more: Partial<PlannedEvent>): void => {
    events.push({ memberId, body, ts: Number(new URLSearchParams(body).get("ts")), ...more });
  };
  const arrive = (version: number, isNew: boolean): void => {
    add(isNew ? portal.install(version) : portal.update(version), { change: "arrival", version });
    const deal = `${name}-${events.length}`;
    if (random() < 0.4) add(portal.event("ONCRMDEALADD", { ID: deal }), { deal });
  };
  const [first, ...others] = [1, ...Object.keys(STEPS).map(Number)] as [number, ...number[]];
  const fate = random();
  const isRemovedAtEnd = fate < 0.1;
  const isReinstalled = !isRemovedAtEnd && fate < 0.35;
  const removedAfter = Math.floor(random() * others.length);
  arrive(first, true);
  for (const [i, version] of others.entries()) {
    if (isReinstalled && i === removedAfter) {
      add(portal.uninstall(), { change: "removal" });
      arrive(random() < 0.5 ? version - 1 : first, true);
      for (let missed = portal.state().version! + 1; missed < version; missed++) arrive(missed, false);
    }
    arrive(version, false);
  }
  if (isRemovedAtEnd) add(portal.uninstall(), { change: "removal" });
  return events;
}

function planDisturbances(random: () => number, chaosMs: number): Disturbance[] {
  const disturbances: Disturbance[] = [];
  let worker = 0;
  // One of the first three, and every fifth after it.
  const firstPause = Math.floor(random() * 3);
  for (let at = 300; at < chaosMs; at += 250 + random() * 350) {
    // Not the same worker again: it has hardly started.
    worker = (worker + 1 + Math.floor(random() * (WORKERS - 1))) % WORKERS;
    const kind = disturbances.length % 5 === firstPause ? "pause" : "kill";
    disturbances.push({ at, worker, kind, ms: LEASE_MS * (1.2 + 0.6 * random()) });
  }
  return disturbances;
}

/** Plans each kind of outage in turn. */
function planOutages(random: () => number, chaosMs: number, kinds: readonly OutageKind[]): Outage[] {
  const count = Math.max(kinds.length, Math.floor(chaosMs / 4000));
  const room = chaosMs / count;
  return Array.from({ length: count }, (_, i) => {
    const ms = Math.min(room * 0.4, 400 + random() * 1200);
    return { at: room * i + (room - ms) * (0.3 + 0.6 * random()), kind: kinds[i % kinds.length]!, ms };
  });
}
