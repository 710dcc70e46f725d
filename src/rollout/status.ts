/** The status of a rollout, for operators. */
import { defined } from "../defined.ts";
import type {
  RolloutBreaker,
  RolloutFailure,
  RolloutStageStatus,
  RolloutStatus,
  RolloutWait,
} from "../plugin/rollout.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { findRecord } from "../portal/find_record.ts";
import { indexPrefix } from "../portal/keys.ts";
import type { PortalFailure } from "../portal/portal.ts";
import type { CauseCount, PortalCount } from "../portal/totals.ts";
import { listKeys } from "../storage/list_keys.ts";
import { compareVersions } from "../version.ts";
import { type Breaker, failures, tripsAt } from "./breaker.ts";
import type { Breakers } from "./breakers.ts";
import { hasAll, nextStageAt, perMinute, type TargetState, withReached } from "./target.ts";
import { isOpen, nextOpening } from "./window.ts";

/** The parts of a rollout that its status shows. */
export interface StatusParts {
  readonly runtime: Pick<AppRuntime, "storage" | "clock">;
  readonly breakers: Pick<Breakers, "all">;
  readonly counts: () => Promise<readonly PortalCount[]>;
  readonly causes: () => Promise<readonly CauseCount[]>;
  /** Returns the portals that have reached a target and are not counted in storage yet, by minute. */
  readonly uncounted: (target: string) => ReadonlyMap<number, number>;
}

/** Maximum number of causes. */
const MAX_CAUSES = 50;

/** Maximum number of portals that are read for a cause. */
const MAX_READ = 20;

/** Maximum number of portals that a group of failures names. */
const MAX_NAMED = 5;

/** Returns the status of a rollout. */
export async function rolloutStatus(parts: StatusParts, state: TargetState): Promise<RolloutStatus> {
  const { runtime: { clock }, breakers, counts, uncounted } = parts;
  const now = clock();
  const { target, options, kind, stage } = state;
  const ofTarget = (await breakers.all()).filter(({ targets }) => targets.includes(target));
  const numbers = countsOf(await counts(), state);
  const missing = uncounted(target);
  const pace = perMinute(missing.size === 0 ? state : withReached(state, missing), now);
  const left = numbers.held + numbers.upgrading;
  return {
    ...{ target, state: state.state, startedAt: state.startedAt, stageSince: state.stageSince, options },
    stages: kind === "breaker" ? [] : options.stages.map((one, i) => stageStatus(one, i, stage)),
    ...defined({ waitsFor: waitOf(state, ofTarget, now) }),
    counts: numbers,
    perMinute: pace,
    ...defined({ remainingMs: pace > 0 ? Math.ceil(left / pace * 60_000) : undefined }),
    breakers: ofTarget.map(breakerStatus),
    failures: await failuresOf(parts, target),
  };
}

function stageStatus(stage: TargetState["options"]["stages"][number], i: number, present: number): RolloutStageStatus {
  return { ...stage, state: i < present ? "over" : i === present ? "present" : "later" };
}

function breakerStatus(breaker: Breaker): RolloutBreaker {
  const { upgradeId, slots, finished, trippedAt } = breaker;
  const counts = { inFlight: Object.keys(slots).length, finished, failed: failures(breaker) };
  return { upgradeId, ...counts, pausesAt: tripsAt(breaker), ...defined({ trippedAt }) };
}

/** Returns what a rollout waits for; `undefined` if it is over, or has all portals and nothing stops them. */
export function waitOf(state: TargetState, breakers: readonly Breaker[], now: number): RolloutWait | undefined {
  const { paused, options: { window, stages }, stage, kind } = state;
  if (state.state === "aborted" || state.state === "superseded") return undefined;
  if (paused !== undefined) return { on: "resume", ...paused };
  const tripped = breakers.filter(({ trippedAt }) => trippedAt !== undefined);
  if (tripped.length > 0) {
    const since = Math.min(...tripped.map(({ trippedAt }) => trippedAt!));
    return { on: "failures", upgradeIds: tripped.map(({ upgradeId }) => upgradeId), since };
  }
  if (state.state === "finished") return undefined;
  const next = kind === "breaker" ? undefined : nextStageAt(state);
  if (next !== undefined) {
    if (next !== Infinity) return { on: "time", until: next };
    return { on: stage + 1 < stages.length || hasAll(state) ? "promote" : "set" };
  }
  const opening = window === undefined || isOpen(window, now) ? undefined : nextOpening(window, now);
  return opening === undefined ? { on: "portals" } : { on: "window", until: opening };
}

function countsOf(all: readonly PortalCount[], { target, kind }: TargetState): RolloutStatus["counts"] {
  const numbers = { current: 0, upgrading: 0, blocked: 0, parked: 0, held: 0 };
  for (const { version, status, count } of all) {
    if (version === undefined || status === "uninstalled" || status === "held") continue;
    const order = compareVersions(version, target);
    if (status !== "current") numbers[status] += order < 0 ? count : 0;
    else if (order === 0) numbers.current += count;
    else if (order < 0 && kind === "deployed") numbers.held += count;
  }
  return numbers;
}

/** Returns the most frequent causes of failures on the way to a target. */
async function failuresOf({ runtime: { storage }, causes }: StatusParts, target: string): Promise<RolloutFailure[]> {
  const counts = new Map<string, number>();
  for (const { fingerprint, count } of await causes()) {
    // A rollback has no fingerprint.
    if (fingerprint !== undefined) counts.set(fingerprint, (counts.get(fingerprint) ?? 0) + count);
  }
  const frequent = [...counts].sort(([, a], [, b]) => b - a).slice(0, MAX_CAUSES);
  const groups = await Promise.all(frequent.map(async ([fingerprint, count]) => {
    const memberIds: string[] = [];
    let failure: PortalFailure | undefined;
    for await (const key of listKeys(storage, indexPrefix("fingerprint", fingerprint), { limit: MAX_READ })) {
      const entry = await findRecord(storage, key.at(-1)!);
      if (entry === null || entry === "unreadable") continue;
      const { memberId, failure: found, target: wanted } = entry.value;
      if (found?.fingerprint !== fingerprint || found.to !== target || wanted !== target) continue;
      failure ??= found;
      if (memberIds.push(memberId) === MAX_NAMED) break;
    }
    if (failure === undefined) return [];
    const { upgradeId, message } = failure;
    return [{ fingerprint, message, count, memberIds, ...defined({ upgradeId }) }];
  }));
  return groups.flat();
}
