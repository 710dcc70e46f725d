/**
 * Begins portals: takes their slots, and then raises their targets or ends their wait. So a portal that has to wait is not
 * written, and nothing polls it.
 */
import { withoutRolloutBlock } from "../portal/block.ts";
import { withConfirmedTarget } from "../portal/event_claims.ts";
import type { PortalRecord } from "../portal/record.ts";
import { schedulePortal } from "../portal/schedule.ts";
import { limitsOf } from "./breakers.ts";
import { type Candidate, isRaisable, raisable, type Survey, waitingPortals } from "./candidates.ts";
import type { GateParts } from "./gate.ts";
import { slotOutcome } from "./slot_outcome.ts";
import { isRunning, type TargetState, withNobodyBelow } from "./target.ts";
import { isOpen } from "./window.ts";

/** Options of {@linkcode createPump}. */
export interface PumpOptions extends GateParts {
  /** Maximum number of portals that have a slot in this process and are not done. */
  readonly maxPermits: number;
  /** Resolves to the rollout that raises targets of portals; `undefined` if code of another version does so. */
  readonly leading: () => Promise<TargetState | undefined>;
}

/** Begins portals. */
export interface Pump {
  /** Begins at most `limit` portals. `isTick`: also looks for portals that have begun to wait. Resolves to those that have begun. */
  readonly begin: (limit: number, isTick: boolean) => Promise<readonly string[]>;
  /** Makes the next tick look for portals that wait. */
  readonly noteWaiting: () => void;
}

/** Maximum number of slots that are asked for together. */
const TOGETHER = 64;

/** Maximum number of portals that are remembered because their upgrade has no free slot. */
const MAX_FULL = 256;

/** Milliseconds after which portals that wait are looked for although nothing has changed. */
const LOOK_AGAIN_MS = 5 * 60 * 1000;

/** Portals that could begin, in the order in which they are listed. */
interface Source {
  portals: AsyncGenerator<Candidate>;
  isRead: boolean;
  /** A call of the storage has failed: the list has to begin anew, for it looks as if it were at its end. */
  isBroken?: true;
  /** Those whose upgrade had no free slot. */
  full: Candidate[];
  /** Upgrades whose breakers had tripped: their portals were passed over. */
  readonly tripped: Set<string>;
}

/** Returns the pump of a process. */
export function createPump(options: PumpOptions): Pump {
  const { runtime, breakers, targets, leading, permits } = options;
  const { clock, time } = runtime;
  let raising: { readonly key: string; readonly source: Source; readonly survey: Survey } | undefined;
  let waiting: { readonly key: string; readonly at: number; readonly source: Source } | undefined;
  let hasWaiting = true;
  /** A tick has asked for portals that have begun to wait: those that were listed before come first. */
  let isAsked = false;

  /** Begins portals of a source. Resolves to those that have begun. */
  async function drain(
    source: Source,
    limit: number,
    change: (candidate: Candidate) => (record: PortalRecord) => PortalRecord | undefined,
    isOn: () => Promise<boolean>,
  ): Promise<string[]> {
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

  /** Returns whether a breaker that had tripped was reset: portals of the source were passed over. */
  async function isReset(source: Source): Promise<boolean> {
    for (const upgradeId of source.tripped) {
      if ((await breakers.read(upgradeId))?.trippedAt === undefined) return true;
    }
    return false;
  }

  async function raiseAll(limit: number): Promise<readonly string[]> {
    const state = await leading();
    if (state === undefined || state.isPassed || !mayBegin(state, clock())) return [];
    const aborted = new Set(
      (await targets.all()).filter(({ state }) => state === "aborted").map(({ target }) => target),
    );
    const isAborted = (target: string): boolean => aborted.has(target);
    const keyOf = (state: TargetState | undefined): string =>
      state === undefined
        ? ""
        : JSON.stringify([state.target, state.stage, state.stageSince, state.options, state.lowest]);
    const key = keyOf(state);
    const isPassedOver = raising !== undefined && isEmpty(raising.source) && raising.source.tripped.size > 0;
    if (isPassedOver && raising?.key === key && !await isReset(raising.source)) return [];
    if (raising?.key !== key || isPassedOver || raising.source.isBroken) {
      const survey = { isAnyBelow: true };
      raising = { key, survey, source: newSource(raisable(options, state, isAborted, survey)) };
    }
    const { source, survey } = raising;
    const begun = await drain(
      source,
      limit,
      ({ state: { target } }) => (record) =>
        isRaisable(record, target, isAborted)
          // It may have waited for the rollout of another target.
          ? { ...withConfirmedTarget(withoutRolloutBlock(record)), target }
          : undefined,
      async () => {
        const now = await leading();
        return keyOf(now) === key && mayBegin(now!, clock());
      },
    );
    if (isEmpty(source) && source.tripped.size === 0) {
      const { target, stage, stageSince } = state;
      await targets.change(target, (current) => {
        const isSame = current?.stage === stage && current.stageSince === stageSince && keyOf(current) === key;
        if (!isSame) return undefined;
        return survey.isAnyBelow ? { ...current, isPassed: true } : withNobodyBelow(current, clock());
      });
      raising = undefined;
    }
    return begun;
  }

  async function wakeAll(limit: number, isTick: boolean): Promise<readonly string[]> {
    const states = await targets.all();
    // With deployed(), portals may be on their way to versions that had no rollout.
    if (states.length > 0 && !states.some(isRunning)) {
      waiting = undefined;
      return [];
    }
    const key = JSON.stringify(
      states.map((state) => [state.target, state.stage, state.options, isRunning(state), mayBegin(state, clock())]),
    );
    const isSame = waiting !== undefined && waiting.key === key && !waiting.source.isBroken &&
      time.monotonic() - waiting.at < LOOK_AGAIN_MS;
    const isRead = isSame && isEmpty(waiting!.source);
    isAsked ||= isTick && hasWaiting;
    const isStale = !isSame || (isRead && (isAsked || await isReset(waiting!.source)));
    if (isStale) {
      hasWaiting = isAsked = false;
      waiting = { key, at: time.monotonic(), source: newSource(waitingPortals(options)) };
    }
    const { source } = waiting!;
    return await drain(source, limit, () => withoutBlockIfWaiting, () => Promise.resolve(true));
  }

  return {
    begin: async (limit, isTick) => {
      const woken = await wakeAll(limit, isTick);
      return [...woken, ...await raiseAll(limit - woken.length)];
    },
    noteWaiting: () => void (hasWaiting = true),
  };
}

/** Returns whether portals of a rollout may begin now. */
function mayBegin(state: TargetState, now: number): boolean {
  const { window } = state.options;
  return isRunning(state) && (window === undefined || isOpen(window, now));
}

function withoutBlockIfWaiting(record: PortalRecord): PortalRecord | undefined {
  return record.blocked?.on === "rollout" ? withoutRolloutBlock(record) : undefined;
}

function newSource(portals: AsyncGenerator<Candidate>): Source {
  return { portals, isRead: false, full: [], tripped: new Set() };
}

/** Returns whether a source has no further candidates. */
function isEmpty({ isRead, full }: Source): boolean {
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
  { breakers, permits }: PumpOptions,
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
  { runtime, breakers, permits }: PumpOptions,
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
