/** The rollout of one target: a state machine. Pure functions of what is stored under `rollout/target/<version>`. */
import { FormatError, OnAppUpdateError } from "../errors.ts";
import type { RolloutState } from "../plugin/rollout.ts";
import type { Entry } from "../storage/storage.ts";
import { isMember, maxPortals, type StagePlan } from "./membership.ts";
import type { StoredOptions } from "./options.ts";
import type { StoredRolloutReport } from "./report.ts";

/** The stored state of a rollout. Times in milliseconds since 1970, by the clock of the process that wrote them. */
export interface TargetState {
  readonly format: typeof TARGET_FORMAT;
  readonly target: string;
  /**
   * `"deployed"`: the rollout raises targets of portals. `"staged"`: customers raise them, and the stages hold portals.
   * `"breaker"`: customers raise them, and only failures pause the rollout.
   */
  readonly kind: "deployed" | "staged" | "breaker";
  readonly options: StoredOptions;
  /** The options of the code that has stored the rollout. */
  readonly given: StoredOptions;
  readonly state: RolloutState;
  readonly startedAt: number;
  /** The present stage, counted from 0. */
  readonly stage: number;
  readonly stageSince: number;
  /** The portals with the lowest hashes; absent until they are found. */
  readonly lowest?: readonly string[];
  /** All portals of the present stage have been passed to workers. */
  readonly isPassed?: true;
  /** Since when the portals of the present stage are done. */
  readonly doneSince?: number;
  readonly paused?: { readonly by: string; readonly reason: string; readonly since: number };
  /** An aborted rollout: the portals that have not begun have their former targets again. */
  readonly isUndone?: true;
  /** Number of portals that have reached the target, by minute since 1970: the last ten. */
  readonly minutes?: Readonly<Record<string, number>>;
  readonly reports?: readonly StoredRolloutReport[];
}

/** Raised if older code would misread a rollout. */
export const TARGET_FORMAT = 1;

/** @throws {FormatError} if newer code wrote the rollout */
export function readTarget(entry: Entry<TargetState> | null): TargetState | undefined {
  if (entry === null) return undefined;
  const { format } = entry.value;
  if (format !== TARGET_FORMAT) throw new FormatError(`rollout of ${entry.key.at(-1)}`, format, TARGET_FORMAT);
  return entry.value;
}

/** Returns a rollout that begins now. */
export function newTarget(
  target: string,
  kind: TargetState["kind"],
  options: StoredOptions,
  now: number,
): TargetState {
  const given = options;
  return {
    ...{ format: TARGET_FORMAT, target, kind, options, given },
    ...stageAt(0, now),
    state: "running",
    startedAt: now,
  };
}

function stageAt(stage: number, now: number): Pick<TargetState, "stage" | "stageSince"> {
  return { stage, stageSince: now };
}

/** Returns what decides about membership. */
export function planOf({ target, options, lowest }: TargetState): StagePlan {
  const { stages, first, hold } = options;
  return { target, stages, first, hold, ...(lowest !== undefined && { lowest }) };
}

/** Returns whether the rollout has come to a portal. `"breaker"`: it has to all. */
export function isReached(state: TargetState, memberId: string): boolean {
  return state.kind === "breaker" || isMember(planOf(state), state.stage, memberId);
}

/** Returns whether the portals with the lowest hashes have to be found first. */
export function needsLowest({ options, lowest, kind }: TargetState): boolean {
  return kind !== "breaker" && lowest === undefined && maxPortals(options.stages) > 0;
}

/** Returns whether portals go on to the target. */
export function isRunning({ state, paused }: TargetState): boolean {
  return (state === "running" || state === "finished") && paused === undefined;
}

/** Returns the rollout at its next stage; finished after one that has all portals; `undefined` if there is no further one. */
export function withNextStage(state: TargetState, now: number): TargetState | undefined {
  const { isPassed: _p, doneSince: _d, ...rest } = state;
  if (state.stage + 1 < state.options.stages.length) return { ...rest, ...stageAt(state.stage + 1, now) };
  return hasAll(state) ? { ...state, state: "finished" } : undefined;
}

/** Returns the rollout at its last stage, with nothing left to pass to workers: no portal is below the target. */
export function withNobodyBelow(state: TargetState, now: number): TargetState {
  const last = state.options.stages.length - 1;
  const { doneSince: _, ...rest } = state;
  return { ...rest, ...(state.stage < last && stageAt(last, now)), isPassed: true };
}

/** Returns whether the present stage is the last one, and has all portals. */
export function hasAll({ options: { stages }, stage }: TargetState): boolean {
  const last = stages.at(-1)!;
  return stage + 1 === stages.length && "percent" in last && last.percent === 100;
}

/**
 * Returns when the next stage begins, in milliseconds since 1970: `Infinity` if it waits for an operator. `undefined` if the
 * portals of the present one are not done.
 */
export function nextStageAt(state: TargetState): number | undefined {
  const { doneSince, options: { stages }, stage } = state;
  if (doneSince === undefined) return undefined;
  if (hasAll(state)) return doneSince;
  return doneSince + (stage + 1 < stages.length ? stages[stage]!.forMs ?? Infinity : Infinity);
}

/** Number of minutes whose numbers of portals are kept. */
const MINUTES = 10;

/** Returns the rollout with portals counted that have reached the target. */
export function withReached(state: TargetState, byMinute: ReadonlyMap<number, number>): TargetState {
  const minutes = new Map(Object.entries(state.minutes ?? {}).map(([minute, count]) => [Number(minute), count]));
  for (const [minute, count] of byMinute) minutes.set(minute, (minutes.get(minute) ?? 0) + count);
  const latest = Math.max(...minutes.keys());
  const kept = [...minutes].filter(([minute]) => minute > latest - MINUTES).sort(([a], [b]) => a - b);
  return { ...state, minutes: Object.fromEntries(kept) };
}

/** Returns the number of portals that reached the target in a minute, on average, in the last ten minutes at most. */
export function perMinute({ minutes = {}, startedAt }: TargetState, now: number): number {
  const minute = Math.floor(now / 60_000);
  const counted = Object.entries(minutes).filter(([at]) => Number(at) > minute - MINUTES && Number(at) <= minute);
  const sum = counted.reduce((sum, [, count]) => sum + count, 0);
  const first = Math.min(...counted.map(([at]) => Number(at)), minute);
  // From the first minute with a portal on: a rollout that has just begun, or waited, has no ten of them.
  const since = Math.max(first * 60_000, startedAt);
  return counted.length === 0 ? 0 : sum / Math.max(1, (now - since) / 60_000);
}

/** @throws {OnAppUpdateError} with code `unknown_rollout` or `rollout_over`, if an operator cannot change the rollout */
export function assertChangeable(state: TargetState | undefined, action: string, target: string): asserts state {
  const refused = (code: "unknown_rollout" | "rollout_over", why: string): OnAppUpdateError =>
    new OnAppUpdateError(code, `cannot ${action} the rollout of ${target}: ${why}`);
  if (state === undefined) throw refused("unknown_rollout", "there is none");
  if (state.state !== "running" && !(state.state === "finished" && action !== "promote")) {
    throw refused("rollout_over", `it is ${state.state}`);
  }
}
