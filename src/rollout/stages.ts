/** Moves rollouts to their next stages, and ends them. */
import type { AppRuntime } from "../plugin/runtime.ts";
import { schedulePortal } from "../portal/schedule.ts";
import type { PortalRecord } from "../portal/record.ts";
import { compareVersions } from "../version.ts";
import type { Breakers } from "./breakers.ts";
import { indexedRecords, isBelow, recordsIn } from "./candidates.ts";
import { lowered } from "./gate.ts";
import { createLowest, maxPortals } from "./membership.ts";
import { withRolloutReport } from "./report.ts";
import { isFailing } from "./slot_outcome.ts";
import { isReached, needsLowest, nextStageAt, type TargetState, withNextStage, withNobodyBelow } from "./target.ts";
import type { Targets } from "./targets.ts";

/** The parts of a rollout that its stages use. */
export interface StageParts {
  readonly runtime: AppRuntime;
  readonly targets: Targets;
  readonly breakers: Breakers;
  /** Whether a plugin is notified of the end of rollouts. */
  readonly isObserved: () => boolean;
}

/** Number of portals beyond those of the largest stage that are found: some may be held later, or stages may grow. */
const SPARE = 100;

/** Finds the portals with the lowest hashes, unless they are found. They are those that the rollout is for. */
export async function findLowest(
  { runtime: { storage, clock }, targets }: StageParts,
  state: TargetState,
): Promise<void> {
  if (!needsLowest(state)) return;
  const { target, options: { stages, first, hold } } = state;
  const lowest = createLowest(target, Math.max(maxPortals(stages), SPARE) + first.length + hold.length);
  for await (const record of recordsIn(storage)) {
    const isInstalled = record.status === "installed";
    if (isInstalled && (state.kind === "staged" || isBelow(record, target))) lowest.add(record.memberId);
  }
  const memberIds = lowest.memberIds();
  await targets.change(target, (current) => {
    if (current === undefined || current.lowest !== undefined) return undefined;
    const found = { ...current, lowest: memberIds };
    return memberIds.length === 0 && state.kind === "deployed" ? withNobodyBelow(found, clock()) : found;
  });
}

/**
 * Moves a rollout to its next stage, if that is due. Resolves to whether it did. The time is that of the process that moves it.
 */
export async function advance(parts: StageParts, state: TargetState): Promise<boolean> {
  const { runtime: { clock, random, log }, targets } = parts;
  if (state.state !== "running" || state.paused !== undefined || state.kind === "breaker") return false;
  if (state.kind === "deployed" && !state.isPassed) return false;
  const isSame = (current: TargetState | undefined): current is TargetState =>
    current?.state === "running" && current.paused === undefined && current.stage === state.stage &&
    current.stageSince === state.stageSince && current.isPassed === state.isPassed;
  let current: TargetState | undefined = state;
  if (state.doneSince === undefined) {
    if (!await isDone(parts, state)) return false;
    current = await targets.change(
      state.target,
      (current) => isSame(current) && current.doneSince === undefined ? { ...current, doneSince: clock() } : undefined,
    );
  }
  let isMoved = false;
  const moved = await targets.change(state.target, (current) => {
    isMoved = false;
    if (!isSame(current) || (nextStageAt(current) ?? Infinity) > clock()) return undefined;
    const next = withNextStage(current, clock());
    isMoved = next !== undefined;
    if (next?.state !== "finished" || !parts.isObserved()) return next;
    const change = { kind: "rolloutFinished", target: state.target } as const;
    return withRolloutReport(next, { id: random(), changedAt: clock(), change });
  });
  if (!isMoved || moved === undefined || current === undefined) return false;
  const { target, stage } = moved;
  if (moved.state === "finished") log.info("rollout finished", { event: "rollout.finished", target });
  else log.info("rollout stage began", { event: "rollout.stage_began", target, stage: stage + 1 });
  return true;
}

/**
 * Returns whether all portals that the rollout has reached are on the target, have failed, or are blocked on something else. More
 * failures than `pauseWhen` allows pause the rollout.
 */
async function isDone({ runtime, breakers }: StageParts, state: TargetState): Promise<boolean> {
  const { target } = state;
  for (const { slots, targets, trippedAt } of await breakers.all()) {
    if (trippedAt !== undefined && targets.includes(target)) return false;
    if (Object.values(slots).some(({ to, isFailing }) => to === target && !isFailing)) return false;
  }
  for await (const record of indexedRecords(runtime, "state", "upgrading")) {
    if (record.target === target && !isFailing(record)) return false;
  }
  for await (const record of indexedRecords(runtime, "blocked", "rollout")) {
    if (record.target === target && record.blocked?.on === "rollout" && isReached(state, record.memberId)) return false;
  }
  return true;
}

/**
 * Lets code of a deployed version take over from that of lower ones, whose rollouts end. Does nothing if its own rollout is over:
 * a lower version takes effect after an abort, while processes with the aborted code may still run.
 */
export async function supersede({ runtime: { log }, targets }: StageParts, target: string): Promise<void> {
  const isLower = ({ target: lower, kind, state }: TargetState): boolean =>
    kind === "deployed" && state === "running" && compareVersions(lower, target) < 0;
  if (!(await targets.all()).some(isLower)) return;
  targets.forget();
  const own = await targets.get(target);
  if (own?.state !== "running" && own?.state !== "finished") return;
  for (const { target: lower } of (await targets.all()).filter(isLower)) {
    await targets.change(
      lower,
      (current) => current?.state === "running" ? { ...current, state: "superseded" } : undefined,
    );
    log.info("rollout superseded", { event: "rollout.superseded", target: lower, by: target });
  }
}

/** Gives the portals of an aborted rollout that have not begun their former targets again. */
export async function undoAborted({ runtime, targets }: StageParts, state: TargetState): Promise<void> {
  if (state.state !== "aborted" || state.kind !== "deployed" || state.isUndone) return;
  const { clock } = runtime;
  let isWhole = true;
  const undo = (record: PortalRecord): PortalRecord | undefined => {
    if (record.target !== state.target || record.run !== undefined || record.status !== "installed") return undefined;
    // Its worker may be about to begin. The gate lowers the target if not.
    if (record.lease !== undefined && record.lease.until > clock()) {
      isWhole = false;
      return undefined;
    }
    const next = lowered(record);
    return next.target === record.target ? undefined : next;
  };
  for (const status of ["upgrading", "blocked", "parked"]) {
    for await (const record of indexedRecords(runtime, "state", status)) {
      if (undo(record) !== undefined) await schedulePortal(runtime, record.memberId, { at: clock(), change: undo });
    }
  }
  if (isWhole) await targets.change(state.target, (current) => current && { ...current, isUndone: true });
}
