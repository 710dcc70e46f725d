/** Begins portals, of two lists: those whose targets a rollout raises, and those that wait for a slot. See `drain.ts`. */
import { withoutRolloutBlock } from "../portal/block.ts";
import { withConfirmedTarget } from "../portal/event_claims.ts";
import type { PortalRecord } from "../portal/record.ts";
import { isRaisable, raisable, type Survey, waitingPortals } from "./candidates.ts";
import { drain, type DrainOptions, isEmpty, newSource, type Source } from "./drain.ts";
import { isRunning, type TargetState, withNobodyBelow } from "./target.ts";
import { isOpen } from "./window.ts";

/** Options of {@linkcode createPump}. */
export interface PumpOptions extends DrainOptions {
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

/** Milliseconds after which portals that wait are looked for although nothing has changed. */
const LOOK_AGAIN_MS = 5 * 60 * 1000;

/** Returns the pump of a process. */
export function createPump(options: PumpOptions): Pump {
  const { runtime, breakers, targets, leading } = options;
  const { clock, time } = runtime;
  let raising: { readonly key: string; readonly source: Source; readonly survey: Survey } | undefined;
  let waiting: { readonly key: string; readonly at: number; readonly source: Source } | undefined;
  let hasWaiting = true;
  /** A tick has asked for portals that have begun to wait: those that were listed before come first. */
  let isAsked = false;

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
    const begun = await drain(options, source, limit, {
      change: ({ state: { target } }) => (record) =>
        isRaisable(record, target, isAborted)
          // It may have waited for the rollout of another target.
          ? { ...withConfirmedTarget(withoutRolloutBlock(record)), target }
          : undefined,
      isOn: async () => {
        const now = await leading();
        return keyOf(now) === key && mayBegin(now!, clock());
      },
    });
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
    return await drain(options, source, limit, {
      change: () => withoutBlockIfWaiting,
      isOn: () => Promise.resolve(true),
    });
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
