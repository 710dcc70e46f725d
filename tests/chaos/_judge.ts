/** Judges what steps did outside by what was recorded of them, and by what is known of the processes. */
import { BEAT_MS } from "./_pace.ts";
import { PARTS, rankOf } from "./_upgrades.ts";
import type { Effect } from "./_witness.ts";

/** What is known of a process besides what it told. Times are in milliseconds since 1970. */
export interface Life {
  readonly bornAt: number;
  /** When it said that it lives, in order. */
  readonly beats: readonly number[];
  /** When a call to its storage failed, or took so long that a lease may have ended meanwhile. */
  readonly cutOff: readonly { readonly from: number; readonly to: number }[];
  /** When it was killed. */
  readonly killedAt?: number;
  /** By how much its clock was wrong, in milliseconds. */
  readonly skewMs: number;
}

/** What is known besides the effects. */
export interface Circumstances {
  /** By process. */
  readonly lives: ReadonlyMap<string, Life>;
  /** When the storage was down. */
  readonly downtimes: readonly { readonly from: number; readonly to: number }[];
  readonly leaseMs: number;
}

/** What was recorded, of one portal. */
export interface Recorded {
  readonly memberId: string;
  readonly isInstalled: boolean;
  readonly generation: number;
  /** Ids of upgrades, in the order in which they were applied, since the app was last installed. */
  readonly applied: readonly string[];
  /** By `upgradeId step`: the effects whose results were recorded, of all runs that are kept. */
  readonly results: ReadonlyMap<string, readonly string[]>;
}

/** What is wrong with the effects on one portal, one line each. */
export function judge(heard: readonly Effect[], recorded: Recorded, circumstances: Circumstances): string[] {
  const effects = heard.toSorted((a, b) => a.at - b.at);
  return [
    ...fences(effects),
    ...late(effects, circumstances),
    ...repeated(effects),
    ...keys(effects),
    ...results(effects, recorded),
  ];
}

/** A fence belongs to one process. */
function fences(effects: readonly Effect[]): string[] {
  const owners = new Map<number, Effect>();
  return effects.flatMap((effect) => {
    const owner = owners.get(effect.fence) ?? effect;
    owners.set(effect.fence, owner);
    return owner.process === effect.process ? [] : [`one fence, two processes: ${told(owner)}; ${told(effect)}`];
  });
}

/** Effects that overlap, or come after one with a higher fence, are those of somebody who could not know better yet. */
function late(effects: readonly Effect[], circumstances: Circumstances): string[] {
  const problems: string[] = [];
  for (const [i, effect] of effects.entries()) {
    const end = endOf(effect, circumstances);
    for (const other of effects) {
      if (other === effect || other.fence < effect.fence || other.at >= end) continue;
      if (other.fence === effect.fence) {
        if (other.at >= effect.at && effects.indexOf(other) > i) {
          problems.push(`two at once by one holder: ${told(effect)}; ${told(other)}`);
        }
        continue;
      }
      // `other` has a higher fence, and began before `effect` ended.
      const since = Math.max(
        0,
        ...effects.filter((one) => one.fence === effect.fence && one.at < effect.at)
          .map((one) => one.end?.at ?? one.at),
      );
      if (isExcused(effect, { since, end, overtakenAt: other.at }, circumstances)) continue;
      problems.push(`late, although its process had not stood still: ${told(effect)}; ${told(other)}`);
      break;
    }
  }
  return problems;
}

/**
 * Whoever stood still is told that he is late when he goes on. Whoever is overtaken by a clock that is ahead of his own,
 * or cannot reach the storage, hears of it when he renews his lease, and goes by his own clock at the latest.
 */
function isExcused(
  { process }: Effect,
  { since, end, overtakenAt }: { readonly since: number; readonly end: number; readonly overtakenAt: number },
  { lives, downtimes, leaseMs }: Circumstances,
): boolean {
  const own = lives.get(process)!;
  // It renews three times in a lease.
  if (stillMs(own, since, end) >= leaseMs / 3) return true;
  if (end - overtakenAt > leaseMs * 5 / 3) return false;
  const isFastAround = lives.values().some(({ bornAt, killedAt = Infinity, skewMs }) =>
    skewMs > own.skewMs && bornAt <= end && killedAt >= since
  );
  return isFastAround || [...downtimes, ...own.cutOff].some(({ from, to }) => from <= end && to >= since);
}

function endOf({ end, process }: Effect, { lives }: Circumstances): number {
  return end?.at ?? lives.get(process)?.killedAt ?? Infinity;
}

/** How late the signs of life were, together, that came between `from` and `to`: a busy machine stops a process often. */
function stillMs({ beats, killedAt = Infinity }: Life, from: number, to: number): number {
  let still = 0;
  for (let i = 0; i < beats.length; i++) {
    const [began, ended] = [beats[i]!, beats[i + 1] ?? killedAt];
    if (ended >= from && began <= to && ended !== Infinity) still += Math.max(0, ended - began - 2 * BEAT_MS);
  }
  return still;
}

/** In the order of holders nothing comes again that was followed by the next thing, which begins once it is recorded. */
function repeated(effects: readonly Effect[]): string[] {
  const problems: string[] = [];
  let furthest: Effect | undefined;
  for (const effect of effects.toSorted((a, b) => a.fence - b.fence || a.at - b.at)) {
    const isBehind = furthest !== undefined &&
      (effect.generation < furthest.generation ||
        effect.generation === furthest.generation && rankOf(effect) < rankOf(furthest));
    if (isBehind) problems.push(`again, although it was recorded: ${told(effect)}; after ${told(furthest!)}`);
    else furthest = effect;
  }
  return problems;
}

/** One key for a part, and a part for a key. */
function keys(effects: readonly Effect[]): string[] {
  const partOf = new Map<string, string>();
  const keyOf = new Map<string, string>();
  return effects.flatMap((effect) => {
    const { generation, idempotencyKey: key } = effect;
    const part = `${generation} ${rankOf(effect)}`;
    const known = keyOf.get(part) ?? key;
    const knownPart = partOf.get(key) ?? part;
    keyOf.set(part, known);
    partOf.set(key, knownPart);
    return known === key && knownPart === part ? [] : [`another idempotency key than before: ${told(effect)}`];
  });
}

/** What is recorded of a step is what its last holder did, wholly; nothing is recorded twice. */
function results(effects: readonly Effect[], recorded: Recorded): string[] {
  const { memberId, isInstalled, generation, applied, results } = recorded;
  const problems: string[] = [];
  const byId = new Map(effects.map((effect) => [effect.id, effect]));
  for (const part of PARTS) {
    const name = `${part.upgradeId} ${part.step}`;
    // Those of an earlier installation may be purged.
    const kept = (results.get(name) ?? []).flatMap((id) => {
      const effect = byId.get(id);
      if (effect === undefined) problems.push(`recorded, but nobody did it: ${memberId} ${name} ${id}`);
      return effect === undefined ? [] : [effect];
    });
    for (const effect of kept) {
      if (kept.some((other) => other.id > effect.id && other.generation === effect.generation)) {
        problems.push(`recorded twice: ${memberId} ${name} by ${kept.map(told).join(" and ")}`);
      }
      if (effect.isRefused || effect.end?.isWhole !== true) problems.push(`recorded, but not done: ${told(effect)}`);
    }
    const done = effects.filter((effect) => effect.generation === generation && rankOf(effect) === rankOf(part));
    if (!applied.includes(part.upgradeId)) {
      if (isInstalled && done.length > 0) problems.push(`not applied, but done: ${told(done[0]!)}`);
      continue;
    }
    const last = done.toSorted((a, b) => a.fence - b.fence || a.at - b.at).at(-1);
    if (last?.end?.isWhole !== true || last.isRefused) {
      problems.push(`recorded, but not done: ${memberId} ${name} ${last === undefined ? "" : told(last)}`);
    } else if (part.page === undefined && !kept.includes(last)) {
      problems.push(`recorded is ${kept.map(told)}, which is not what was done last: ${told(last)}`);
    }
  }
  return problems;
}

function told(
  { memberId, upgradeId, step, page, process, generation, fence, attempt, at, end, ...rest }: Effect,
): string {
  const until = end === undefined ? "cut off" : `${end.at}${end.isWhole ? "" : " aborted"}`;
  return `${memberId} ${upgradeId} ${step}${
    page === undefined ? "" : `[${page}]`
  } by ${process}, generation ${generation}, fence ${fence}, attempt ${attempt}, ${at} to ${until}${
    rest.isRefused ? ", refused" : ""
  }`;
}
