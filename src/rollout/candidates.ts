/** The portals that could begin, or go on, if they get a slot. */
import type { AppRuntime } from "../plugin/runtime.ts";
import { findRecord, listRecords } from "../portal/find_record.ts";
import { indexPrefix } from "../portal/keys.ts";
import type { PortalRecord } from "../portal/record.ts";
import { listKeys } from "../storage/list_keys.ts";
import type { Storage } from "../storage/storage.ts";
import { compareVersions } from "../version.ts";
import { nextUpgradeId, refusalOf, stateOf, type StateParts } from "./gate.ts";
import { membersOf } from "./membership.ts";
import { isReached, planOf, type TargetState } from "./target.ts";

/** A portal that could begin, or go on. */
export interface Candidate {
  readonly memberId: string;
  readonly upgradeId: string;
  readonly state: TargetState;
}

/**
 * Returns whether the rollout raises the target of a portal. A target whose rollout was aborted counts for nothing, unless the
 * portal has begun.
 */
export function isRaisable(record: PortalRecord, target: string, isAborted: (target: string) => boolean): boolean {
  const { status, version, target: before, run } = record;
  if (status !== "installed" || version === undefined || before === undefined) return false;
  if (compareVersions(version, target) >= 0 || before === target) return false;
  return compareVersions(before, target) < 0 || (run === undefined && isAborted(before));
}

/** Facts about all portals, not only about those of a stage. */
export interface Survey {
  /** A portal is below the target, or may be: not all were looked at. */
  isAnyBelow: boolean;
}

/** Lists the portals of the present stage of a rollout whose targets are to be raised. */
export async function* raisable(
  parts: StateParts,
  state: TargetState,
  isAborted: (target: string) => boolean,
  survey: Survey,
): AsyncGenerator<Candidate> {
  const { runtime: { storage }, upgrades } = parts;
  survey.isAnyBelow = !hasPercent(state);
  // Its version is not known.
  const onUnreadable = (): void => void (survey.isAnyBelow = true);
  for await (const record of recordsOfStage(storage, state, onUnreadable)) {
    if (isBelow(record, state.target)) survey.isAnyBelow = true;
    if (!isRaisable(record, state.target, isAborted) || !isReached(state, record.memberId)) continue;
    yield { memberId: record.memberId, upgradeId: nextUpgradeId(upgrades, record, state.target), state };
  }
}

/** Returns whether the present stage, or one before it, has a part of all portals. */
function hasPercent({ options: { stages }, stage }: TargetState): boolean {
  return stages.slice(0, stage + 1).some((one) => "percent" in one && one.percent > 0);
}

/** Returns whether a portal has the app, and is on a version below the target. */
export function isBelow({ status, version }: PortalRecord, target: string): boolean {
  return status === "installed" && version !== undefined && compareVersions(version, target) < 0;
}

/** Lists the portals of a stage, and perhaps others. */
async function* recordsOfStage(
  storage: Storage,
  state: TargetState,
  onUnreadable: () => void,
): AsyncGenerator<PortalRecord> {
  if (hasPercent(state)) return yield* recordsIn(storage, onUnreadable);
  const stages = state.options.stages.slice(0, state.stage + 1);
  const portals = Math.max(0, ...stages.map((stage) => "portals" in stage ? stage.portals : 0));
  yield* recordsOf(storage, membersOf(planOf(state), portals), onUnreadable);
}

/** Lists the portals that wait for their rollouts, and no longer have to. */
export async function* waitingPortals(parts: StateParts): AsyncGenerator<Candidate> {
  const { runtime, upgrades } = parts;
  for await (const record of indexedRecords(runtime, "blocked", "rollout")) {
    if (record.blocked?.on !== "rollout" || record.target === undefined) continue;
    const state = await stateOf(parts, record.target);
    if (state !== undefined && refusalOf(state, record, runtime.clock()) !== undefined) continue;
    yield {
      memberId: record.memberId,
      upgradeId: nextUpgradeId(upgrades, record, record.target),
      state: state ?? parts.unstaged(record.target),
    };
  }
}

/** Lists the records of the portals that are in the index with a value, without those that cannot be read. */
export async function* indexedRecords(
  { storage }: Pick<AppRuntime, "storage">,
  kind: "state" | "blocked",
  value: string,
): AsyncGenerator<PortalRecord> {
  for await (const key of listKeys(storage, indexPrefix(kind, value))) {
    yield* recordsOf(storage, [key.at(-1)!]);
  }
}

/** Lists the records of all portals, without those that cannot be read: `onUnreadable` is called for each. */
export async function* recordsIn(storage: Storage, onUnreadable = () => {}): AsyncGenerator<PortalRecord> {
  for await (const [, entry] of listRecords(storage)) {
    if (entry === "unreadable") onUnreadable();
    else yield entry.value;
  }
}

async function* recordsOf(
  storage: Storage,
  memberIds: readonly string[],
  onUnreadable = () => {},
): AsyncGenerator<PortalRecord> {
  for (const memberId of memberIds) {
    const entry = await findRecord(storage, memberId);
    if (entry === "unreadable") onUnreadable();
    else if (entry !== null) yield entry.value;
  }
}
