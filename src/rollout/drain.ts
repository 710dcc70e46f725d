/**
 * Begins the portals of a list: takes their slots, and then changes their records. So a portal that has to wait is not
 * written, and nothing polls it.
 */
import type { PortalRecord } from "../portal/record.ts";
import { schedulePortal } from "../portal/schedule.ts";
import { limitsOf } from "./breakers.ts";
import type { Candidate } from "./candidates.ts";
import type { GateParts } from "./gate.ts";
import { slotOutcome } from "./slot_outcome.ts";

/** The parts of a rollout that begin portals. */
export interface DrainOptions extends GateParts {
  /** Maximum number of portals that have a slot in this process and are not done. */
  readonly maxPermits: number;
}

/** The change that begins the portals of a source. */
interface Draining {
  /** Returns the change of a portal's record; `undefined` if it no longer has to begin. */
  readonly change: (candidate: Candidate) => (record: PortalRecord) => PortalRecord | undefined;
  /** Resolves to whether portals of the source may still begin. */
  readonly isOn: () => Promise<boolean>;
}

/** Maximum number of slots that are asked for together. */
const TOGETHER = 64;

/** Maximum number of portals that are remembered because their upgrade has no free slot. */
const MAX_FULL = 256;

/** Portals that could begin, in the order in which they are listed. */
export interface Source {
  portals: AsyncGenerator<Candidate>;
  isRead: boolean;
  /** A call of the storage has failed: the list is read again, because it looks as if it were at its end. */
  isBroken?: true;
  /** Those whose upgrade had no free slot. */
  full: Candidate[];
  /** Upgrades whose breakers had tripped: their portals were passed over. */
  readonly tripped: Set<string>;
}

/** Begins at most `limit` portals of a source. Resolves to those that have begun. */
export async function drain(
  options: DrainOptions,
  source: Source,
  limit: number,
  { change, isOn }: Draining,
): Promise<string[]> {
  const { permits } = options;
  const begun: string[] = [];
  try {
    /** Upgrades without a free slot. */
    const full = new Set<string>();
    const again = source.full;
    source.full = [];
    while (begun.length < limit && permits.size() < options.maxPermits && await isOn()) {
      const max = Math.min(TOGETHER, limit - begun.length, options.maxPermits - permits.size());
      let batch = again.splice(0, max);
      if (batch.length === 0) {
        if (source.full.length >= MAX_FULL) break;
        batch = await read(source, max);
        if (batch.length === 0) break;
      }
      const asked = batch.filter(({ upgradeId }) => !full.has(upgradeId));
      source.full.push(...batch.filter(({ upgradeId }) => full.has(upgradeId)));
      const taken = asked.length === 0 ? [] : await take(options, source, asked, full);
      const results = await Promise.all(taken.map((candidate) => beginOne(options, candidate, change(candidate))));
      begun.push(...taken.filter((_, i) => results[i] === "begun").map(({ memberId }) => memberId));
      // It has its slot, perhaps, and is begun by a later call.
      source.full.push(...taken.filter((_, i) => results[i] === "failed"));
    }
    source.full.unshift(...again);
  } catch (error) {
    source.isBroken = true;
    throw error;
  }
  return begun;
}

/** Returns a source that nothing was read from. */
export function newSource(portals: AsyncGenerator<Candidate>): Source {
  return { portals, isRead: false, full: [], tripped: new Set() };
}

/** Returns whether a source has no further candidates. */
export function isEmpty({ isRead, full }: Source): boolean {
  return isRead && full.length === 0;
}

/** Reads the next candidates of a source, at most `max`. */
async function read(source: Source, max: number): Promise<Candidate[]> {
  const batch: Candidate[] = [];
  while (batch.length < max && !source.isRead) {
    const next = await source.portals.next();
    if (next.done) source.isRead = true;
    else batch.push(next.value);
  }
  return batch;
}

/** Asks for slots. Resolves to the candidates that have got one; the source keeps the others. */
async function take(
  { breakers, permits }: DrainOptions,
  source: Source,
  candidates: readonly Candidate[],
  full: Set<string>,
): Promise<Candidate[]> {
  const taken: Candidate[] = [];
  const byUpgrade = Map.groupBy(candidates, ({ upgradeId }) => upgradeId);
  await Promise.all(Array.from(byUpgrade, async ([upgradeId, ofUpgrade]) => {
    const requests = ofUpgrade.map(({ memberId, state }) => ({
      ...{ memberId, slot: permits.newSlot(state.target), limits: limitsOf(state.options), isForced: false },
    }));
    const answers = await breakers.take(upgradeId, requests);
    for (const [i, candidate] of ofUpgrade.entries()) {
      if (answers[i] === "taken") taken.push(candidate);
      else if (answers[i] === "full") {
        full.add(upgradeId);
        source.full.push(candidate);
      } else source.tripped.add(upgradeId);
    }
  }));
  return taken;
}

/** Begins a portal that has a slot. `other`: it has begun already, or no longer has to. `failed`: it is not known. */
async function beginOne(
  { runtime, breakers, permits }: DrainOptions,
  { memberId, upgradeId, state: { target } }: Candidate,
  change: (record: PortalRecord) => PortalRecord | undefined,
): Promise<"begun" | "other" | "failed"> {
  const { clock, log } = runtime;
  const isNew = permits.add(memberId, upgradeId, target);
  let seen: PortalRecord | undefined;
  let isChanged = false;
  try {
    await schedulePortal(runtime, memberId, {
      at: clock(),
      change: (record) => {
        const next = change(record);
        seen = record;
        isChanged = next !== undefined;
        return next;
      },
    });
    if (isChanged) return "begun";
    // Another process may have begun it, with the same slot.
    const outcome = slotOutcome(seen, { upgradeId, to: target, now: clock() });
    if (outcome !== "running" && outcome !== "failing") breakers.end(upgradeId, memberId, outcome);
    if (isNew) permits.remove(memberId);
    return "other";
  } catch (err) {
    // If the change was stored nevertheless, the portal has its slot.
    log.warn("failed to begin a portal", { event: "rollout.begin_failed", memberId, err });
    if (isNew) permits.remove(memberId);
    return "failed";
  }
}
