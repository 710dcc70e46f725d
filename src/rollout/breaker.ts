/**
 * The breaker of an upgrade: which portals it is in flight on, and how many have failed. Pure functions of what is stored under
 * `rollout/upgrade/<id>`. A portal is in flight from before its first handler; so no more can fail than have a slot.
 */
import { FormatError } from "../errors.ts";
import type { PauseWhen } from "../plugin/rollout.ts";
import type { Entry } from "../storage/storage.ts";
import { MAX_SLOTS } from "./options.ts";
import type { StoredRolloutReport } from "./report.ts";

/** The right of a portal to run an upgrade. */
export interface Slot {
  /** The process that has taken it last. */
  readonly owner: string;
  /** Time after which another process may look whether the run is over, in milliseconds since 1970. */
  readonly until: number;
  /** Version that the portal is going to. */
  readonly to: string;
  /** Two attempts in a row have failed. */
  readonly isFailing?: true;
}

/** When a breaker trips, and how many portals may be in flight. */
export interface Limits extends Required<PauseWhen> {
  readonly concurrency: number;
}

/** The stored state of a breaker. */
export interface Breaker {
  readonly format: typeof BREAKER_FORMAT;
  readonly upgradeId: string;
  /** By `member_id`. */
  readonly slots: Readonly<Record<string, Slot>>;
  /** Number of portals that have finished since the last resume, the parked ones included. */
  readonly finished: number;
  /** Number of portals that were parked since the last resume. */
  readonly parked: number;
  /** Those of the rollout whose portal has taken a slot last. */
  readonly limits: Limits;
  /** The targets of portals that have asked for a slot since the last resume. */
  readonly targets: readonly string[];
  /** When it has paused the rollout, in milliseconds since 1970. */
  readonly trippedAt?: number;
  /** When it was resumed last, in milliseconds since 1970: earlier failures do not count. */
  readonly resumedAt?: number;
  readonly reports?: readonly StoredRolloutReport[];
}

/** Raised if older code would misread a breaker. */
export const BREAKER_FORMAT = 1;

/** @throws {FormatError} if newer code wrote the breaker */
export function readBreaker(entry: Entry<Breaker> | null): Breaker | undefined {
  if (entry === null) return undefined;
  const { format } = entry.value;
  if (format !== BREAKER_FORMAT) {
    throw new FormatError(`rollout of upgrade ${entry.key.at(-1)}`, format, BREAKER_FORMAT);
  }
  return entry.value;
}

/** Returns the breaker of an upgrade that no portal has begun. */
export function newBreaker(upgradeId: string, limits: Limits): Breaker {
  return { format: BREAKER_FORMAT, upgradeId, slots: {}, finished: 0, parked: 0, limits, targets: [] };
}

/** Returns the number of failed portals at which the breaker trips. */
export function tripsAt({ limits: { failed, percent }, finished }: Pick<Breaker, "limits" | "finished">): number {
  return Math.max(failed, Math.floor(finished * percent / 100));
}

/** Returns the number of portals that have failed: parked, or failed twice in a row and not recovered. */
export function failures({ parked, slots }: Breaker): number {
  return parked + Object.values(slots).filter(({ isFailing }) => isFailing).length;
}

/** Returns the number of portals that may take a slot: no more than may fail before the breaker trips. */
export function room(breaker: Breaker): number {
  return breaker.trippedAt === undefined ? freeSlots(breaker, Object.keys(breaker.slots).length) : 0;
}

function freeSlots(breaker: Omit<Breaker, "slots">, inFlight: number): number {
  const { parked, limits } = breaker;
  return Math.max(0, Math.min(tripsAt(breaker) - parked, limits.concurrency, MAX_SLOTS) - inFlight);
}

/** A request for a slot. */
export interface Take {
  readonly memberId: string;
  readonly slot: Slot;
  readonly limits: Limits;
  /** An operator has said that it passes a pause and the limits. */
  readonly isForced: boolean;
}

/** The answer to a request for a slot. `full`: as many are in flight as may fail; `tripped`: the rollout is paused. */
export type TakeResult = "taken" | "full" | "tripped";

/** A breaker that is being changed: many requests are applied to one, and then written together. */
export interface Draft {
  readonly before: Breaker;
  rest: Omit<Breaker, "slots">;
  readonly slots: Map<string, Slot>;
  /** Number of slots of failing portals. */
  failing: number;
  isChanged: boolean;
}

/** Returns a draft that has no change yet. */
export function draftOf(breaker: Breaker): Draft {
  const { slots, ...rest } = breaker;
  const failing = failures(breaker) - breaker.parked;
  return { before: breaker, rest, slots: new Map(Object.entries(slots)), failing, isChanged: false };
}

/** Returns the breaker of a draft; the one that it was made of if nothing has changed. */
export function breakerOf({ before, rest, slots, isChanged }: Draft): Breaker {
  return isChanged ? { ...rest, slots: Object.fromEntries(slots) } : before;
}

/** Replaces what a draft has. */
export function replace(draft: Draft, breaker: Breaker): void {
  if (breaker === breakerOf(draft) && !draft.isChanged) return;
  const { slots, ...rest } = breaker;
  draft.rest = rest;
  draft.slots.clear();
  for (const [memberId, slot] of Object.entries(slots)) draft.slots.set(memberId, slot);
  draft.failing = failures(breaker) - breaker.parked;
  draft.isChanged = true;
}

/** Takes a slot for a portal, if that is possible, and returns the answer. A portal that has a slot keeps it. */
export function takeSlot(draft: Draft, { memberId, slot, limits, isForced }: Take): TakeResult {
  if (!isSameLimits(draft.rest.limits, limits)) change(draft, { limits });
  // Also of a rollout that has to wait: its resume resets the breaker.
  if (!draft.rest.targets.includes(slot.to)) change(draft, { targets: [...draft.rest.targets, slot.to] });
  const known = draft.slots.get(memberId);
  if (!isForced && draft.rest.trippedAt !== undefined) return "tripped";
  if (!isForced && known === undefined && freeSlots(draft.rest, draft.slots.size) === 0) return "full";
  draft.slots.set(memberId, known?.isFailing ? { ...slot, isFailing: true } : slot);
  draft.isChanged = true;
  return "taken";
}

function change(draft: Draft, changed: Partial<Omit<Breaker, "slots">>): void {
  draft.rest = { ...draft.rest, ...changed };
  draft.isChanged = true;
}

function isSameLimits(a: Limits, b: Limits): boolean {
  return a.failed === b.failed && a.percent === b.percent && a.concurrency === b.concurrency;
}

/**
 * The outcome of a portal that has a slot. `succeeded`, `parked`: it has finished. `freed`: it waits for something else, such
 * as the end of a `sleep`, or is gone. `failing`: two attempts in a row have failed; `running`: fewer.
 */
export type SlotOutcome = "succeeded" | "parked" | "freed" | "failing" | "running";

/** Records the outcome of a portal; nothing if the portal has no slot. */
export function endSlot(draft: Draft, memberId: string, outcome: SlotOutcome, now: number): void {
  const slot = draft.slots.get(memberId);
  if (slot === undefined) return;
  const { isFailing = false, ...running } = slot;
  if (outcome === "running" || outcome === "failing") {
    if ((outcome === "failing") === isFailing) return;
    draft.slots.set(memberId, outcome === "failing" ? { ...running, isFailing: true } : running);
    draft.failing += outcome === "failing" ? 1 : -1;
    draft.isChanged = true;
  } else {
    draft.slots.delete(memberId);
    draft.failing -= Number(isFailing);
    const { finished, parked } = draft.rest;
    const counts = { finished: finished + 1, parked: parked + Number(outcome === "parked") };
    change(draft, outcome === "freed" ? {} : counts);
  }
  const { trippedAt, parked } = draft.rest;
  if (trippedAt === undefined && parked + draft.failing >= tripsAt(draft.rest)) change(draft, { trippedAt: now });
}

/** Returns the breaker with later times at which others may look after slots. */
export function withRenewed(breaker: Breaker, memberIds: readonly string[], until: number): Breaker {
  const renewed = memberIds.flatMap((memberId) => {
    const slot = breaker.slots[memberId];
    return slot === undefined ? [] : [[memberId, { ...slot, until }] as const];
  });
  return renewed.length === 0 ? breaker : { ...breaker, slots: { ...breaker.slots, ...Object.fromEntries(renewed) } };
}

/** Returns the breaker after a resume: failures are counted from zero, and what is in flight stays so. */
export function resumed({ trippedAt: _, ...breaker }: Breaker, now: number): Breaker {
  const slots = Object.entries(breaker.slots).map(([memberId, { isFailing: _, ...slot }]) => [memberId, slot] as const);
  const targets = [...new Set(slots.map(([, { to }]) => to))];
  return { ...breaker, slots: Object.fromEntries(slots), finished: 0, parked: 0, targets, resumedAt: now };
}
