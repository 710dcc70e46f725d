/** Checks the effects of steps against the recorded results and the histories of the processes. */
import { BEAT_MS } from "./_pace.ts";
import { PARTS, rankOf } from "./_upgrades.ts";
import type { Effect } from "./_effects_log.ts";

/** The history of a process. Times are in milliseconds since 1970. */
export interface ProcessHistory {
  readonly startedAt: number;
  /** Times of its heartbeats, in order. */
  readonly beats: readonly number[];
  /** Storage calls that failed, or took so long that a lease may have expired meanwhile. */
  readonly cutOff: readonly { readonly from: number; readonly to: number }[];
  /** When it ended. */
  readonly killedAt?: number;
  /** Offset of its clock in milliseconds. */
  readonly skewMs: number;
}

/** Disturbances of processes and storage. */
export interface Circumstances {
  /** Histories by process name. */
  readonly processes: ReadonlyMap<string, ProcessHistory>;
  /** Outages of the storage. */
  readonly downtimes: readonly { readonly from: number; readonly to: number }[];
  readonly leaseMs: number;
}

/** The stored state of one portal. */
export interface Recorded {
  readonly memberId: string;
  readonly isInstalled: boolean;
  readonly generation: number;
  /** Ids of the applied upgrades of this installation, in order. */
  readonly applied: readonly string[];
  /** Ids of the effects whose results are recorded in stored runs, by `upgradeId step`. */
  readonly results: ReadonlyMap<string, readonly string[]>;
}

/** Returns the problems of the effects on one portal, one line each. */
export function checkEffects(logged: readonly Effect[], recorded: Recorded, circumstances: Circumstances): string[] {
  const effects = logged.toSorted((a, b) => a.at - b.at);
  return [
    ...checkFencingTokens(effects),
    ...checkOverlaps(effects, circumstances),
    ...checkOrder(effects),
    ...checkKeys(effects),
    ...checkResults(effects, recorded),
  ];
}

/** A fencing token belongs to one process. */
function checkFencingTokens(effects: readonly Effect[]): string[] {
  const owners = new Map<number, Effect>();
  return effects.flatMap((effect) => {
    const owner = owners.get(effect.fencingToken) ?? effect;
    owners.set(effect.fencingToken, owner);
    return owner.process === effect.process
      ? []
      : [`two processes with one fencing token: ${describe(owner)}; ${describe(effect)}`];
  });
}

/** Only processes that cannot know yet that they lost the lease have effects that overlap or follow those of a later holder. */
function checkOverlaps(effects: readonly Effect[], circumstances: Circumstances): string[] {
  const problems: string[] = [];
  for (const [i, effect] of effects.entries()) {
    const end = endOf(effect, circumstances);
    for (const other of effects) {
      if (other === effect || other.fencingToken < effect.fencingToken || other.at >= end) continue;
      if (other.fencingToken === effect.fencingToken) {
        if (other.at >= effect.at && effects.indexOf(other) > i) {
          problems.push(`two concurrent effects of one holder: ${describe(effect)}; ${describe(other)}`);
        }
        continue;
      }
      // `other` has a higher fencing token, and started before `effect` ended.
      const since = Math.max(
        0,
        ...effects.filter((earlier) => earlier.fencingToken === effect.fencingToken && earlier.at < effect.at)
          .map((earlier) => earlier.end?.at ?? earlier.at),
      );
      if (isExcused(effect, { since, end, overtakenAt: other.at }, circumstances)) continue;
      problems.push(`late, although its process was not paused: ${describe(effect)}; ${describe(other)}`);
      break;
    }
  }
  return problems;
}

/**
 * Returns whether the process of a late effect could not know that it had lost the lease: it was paused; or another clock is
 * ahead of its own, or it could not reach the storage, until its next renewal fails or the lease expires by its own clock.
 */
function isExcused(
  { process }: Effect,
  { since, end, overtakenAt }: { readonly since: number; readonly end: number; readonly overtakenAt: number },
  { processes, downtimes, leaseMs }: Circumstances,
): boolean {
  const own = processes.get(process)!;
  // A lease is renewed three times before it expires.
  if (pausedMs(own, since, end) >= leaseMs / 3) return true;
  if (end - overtakenAt > leaseMs * 5 / 3) return false;
  const hasFasterClock = processes.values().some(({ startedAt, killedAt = Infinity, skewMs }) =>
    skewMs > own.skewMs && startedAt <= end && killedAt >= since
  );
  return hasFasterClock || [...downtimes, ...own.cutOff].some(({ from, to }) => from <= end && to >= since);
}

function endOf({ end, process }: Effect, { processes }: Circumstances): number {
  return end?.at ?? processes.get(process)?.killedAt ?? Infinity;
}

/** Returns by how much the heartbeats between `from` and `to` were late in all: a busy machine pauses processes often. */
function pausedMs({ beats, killedAt = Infinity }: ProcessHistory, from: number, to: number): number {
  let paused = 0;
  for (let i = 0; i < beats.length; i++) {
    const [start, end] = [beats[i]!, beats[i + 1] ?? killedAt];
    if (end >= from && start <= to && end !== Infinity) paused += Math.max(0, end - start - 2 * BEAT_MS);
  }
  return paused;
}

/** In the order of holders, no part is repeated after the next part, which starts once the former is recorded. */
function checkOrder(effects: readonly Effect[]): string[] {
  const problems: string[] = [];
  let latest: Effect | undefined;
  for (const effect of effects.toSorted((a, b) => a.fencingToken - b.fencingToken || a.at - b.at)) {
    const isBehind = latest !== undefined &&
      (effect.generation < latest.generation ||
        effect.generation === latest.generation && rankOf(effect) < rankOf(latest));
    if (isBehind) problems.push(`repeated, although it was recorded: ${describe(effect)}; after ${describe(latest!)}`);
    else latest = effect;
  }
  return problems;
}

/** Each part has one idempotency key, and each key belongs to one part. */
function checkKeys(effects: readonly Effect[]): string[] {
  const partOf = new Map<string, string>();
  const keyOf = new Map<string, string>();
  return effects.flatMap((effect) => {
    const { generation, idempotencyKey: key } = effect;
    const part = `${generation} ${rankOf(effect)}`;
    const firstKey = keyOf.get(part) ?? key;
    const firstPart = partOf.get(key) ?? part;
    keyOf.set(part, firstKey);
    partOf.set(key, firstPart);
    return firstKey === key && firstPart === part ? [] : [`another idempotency key than before: ${describe(effect)}`];
  });
}

/** The recorded result of a step is that of its last complete effect, and is recorded once. */
function checkResults(effects: readonly Effect[], recorded: Recorded): string[] {
  const { memberId, isInstalled, generation, applied, results } = recorded;
  const problems: string[] = [];
  const byId = new Map(effects.map((effect) => [effect.id, effect]));
  for (const part of PARTS) {
    const name = `${part.upgradeId} ${part.step}`;
    // Runs of an earlier installation may be purged.
    const kept = (results.get(name) ?? []).flatMap((id) => {
      const effect = byId.get(id);
      if (effect === undefined) problems.push(`recorded without an effect: ${memberId} ${name} ${id}`);
      return effect === undefined ? [] : [effect];
    });
    for (const effect of kept) {
      if (kept.some((other) => other.id > effect.id && other.generation === effect.generation)) {
        problems.push(`recorded twice: ${memberId} ${name} by ${kept.map(describe).join(" and ")}`);
      }
      if (effect.isRefused || effect.end?.isComplete !== true) {
        problems.push(`recorded, but not complete: ${describe(effect)}`);
      }
    }
    const done = effects.filter((effect) => effect.generation === generation && rankOf(effect) === rankOf(part));
    if (!applied.includes(part.upgradeId)) {
      if (isInstalled && done.length > 0) problems.push(`done, but not applied: ${describe(done[0]!)}`);
      continue;
    }
    const last = done.toSorted((a, b) => a.fencingToken - b.fencingToken || a.at - b.at).at(-1);
    if (last?.end?.isComplete !== true || last.isRefused) {
      problems.push(`recorded, but not complete: ${memberId} ${name} ${last === undefined ? "" : describe(last)}`);
    } else if (part.page === undefined && !kept.includes(last)) {
      problems.push(`the last effect is not recorded, but ${kept.map(describe).join(" and ")}: ${describe(last)}`);
    }
  }
  return problems;
}

function describe(
  { memberId, upgradeId, step, page, process, generation, fencingToken, attempt, at, end, ...rest }: Effect,
): string {
  const until = end === undefined ? "cut off" : `${end.at}${end.isComplete ? "" : " aborted"}`;
  return `${memberId} ${upgradeId} ${step}${
    page === undefined ? "" : `[${page}]`
  } by ${process}, generation ${generation}, fencing token ${fencingToken}, attempt ${attempt}, ${at} to ${until}${
    rest.isRefused ? ", refused" : ""
  }`;
}
