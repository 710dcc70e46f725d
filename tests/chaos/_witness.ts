/** Stands outside, hears of all that steps do, and judges it. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Part, PARTS, rankOf } from "./_upgrades.ts";

/** A step, or a page of one, begins to do something outside. Times are in milliseconds since 1970. */
export interface Begin extends Part {
  readonly kind: "begin";
  /** Unlike that of any other effect. */
  readonly id: string;
  readonly process: string;
  readonly memberId: string;
  readonly generation: number;
  readonly idempotencyKey: string;
  readonly fence: number;
  readonly attempt: number;
  readonly at: number;
}

/** It has ended; `isWhole`: nothing interrupted it. */
export interface End {
  readonly kind: "end";
  readonly id: string;
  readonly isWhole: boolean;
  readonly at: number;
}

/** The handler of an event that is about no version. */
export interface Handled {
  readonly kind: "handled";
  readonly memberId: string;
  readonly deal: string;
}

/** All that a step did once. */
export interface Effect extends Begin {
  end?: Omit<End, "kind" | "id">;
}

/** What is heard. */
export interface Witness {
  readonly url: string;
  /** In the order in which they were heard of. */
  readonly effects: readonly Effect[];
  /** `memberId` and deal of each event that was handled. */
  readonly handled: ReadonlySet<string>;
  readonly close: () => Promise<void>;
}

/** Listens. */
export async function startWitness(): Promise<Witness> {
  const effects: Effect[] = [];
  const byId = new Map<string, Effect>();
  const handled = new Set<string>();
  const hear = (report: Begin | End | Handled): void => {
    if (report.kind === "handled") {
      handled.add(`${report.memberId} ${report.deal}`);
    } else if (report.kind === "begin") {
      effects.push(report);
      byId.set(report.id, report);
    } else {
      // Without its beginning it was cut off before it did anything.
      const effect = byId.get(report.id);
      if (effect !== undefined) effect.end = { isWhole: report.isWhole, at: report.at };
    }
  };
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (piece: string) => text += piece);
    request.on("end", () => {
      hear(JSON.parse(text));
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    effects,
    handled,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What is known of a process besides what it told. */
export interface Life {
  /** When it said that it lives, in order. */
  readonly beats: readonly number[];
  /** When it was killed. */
  readonly killedAt?: number;
}

/** What was recorded, of one portal. */
export interface Recorded {
  readonly memberId: string;
  /** Ids of upgrades, in the order in which they were applied. */
  readonly applied: readonly string[];
  /** By `upgradeId step`: the effect whose result was recorded. */
  readonly results: ReadonlyMap<string, string>;
}

/** What is wrong with the effects on one portal, one line each. `stillMs`: whoever stood still so long may be late. */
export function judge(
  heard: readonly Effect[],
  recorded: Recorded,
  lives: ReadonlyMap<string, Life>,
  stillMs: number,
): string[] {
  const effects = heard.toSorted((a, b) => a.at - b.at);
  return [
    ...fences(effects),
    ...late(effects, lives, stillMs),
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

/** Effects that overlap, or come after one with a higher fence, are those of somebody who had stood still. */
function late(effects: readonly Effect[], lives: ReadonlyMap<string, Life>, stillMs: number): string[] {
  const problems: string[] = [];
  for (const [i, effect] of effects.entries()) {
    const end = endOf(effect, lives);
    for (const other of effects) {
      if (other === effect || other.fence < effect.fence || other.at >= end) continue;
      if (other.fence === effect.fence) {
        if (other.at >= effect.at && effects.indexOf(other) > i) {
          problems.push(`two at once by one holder: ${told(effect)}; ${told(other)}`);
        }
        continue;
      }
      // `other` has a higher fence, and began before `effect` ended.
      if (endOf(other, lives) <= effect.at && other.at >= effect.at) continue;
      const signOfLife = Math.max(
        0,
        ...effects.filter((one) => one.fence === effect.fence && one.at < effect.at)
          .map((one) => one.end?.at ?? one.at),
      );
      if (longestStill(lives.get(effect.process)!, signOfLife, end) >= stillMs) continue;
      problems.push(`late, although its process had not stood still: ${told(effect)}; ${told(other)}`);
      break;
    }
  }
  return problems;
}

function endOf({ end, process }: Effect, lives: ReadonlyMap<string, Life>): number {
  return end?.at ?? lives.get(process)?.killedAt ?? Infinity;
}

/** The longest time between two signs of life that touches the time between `from` and `to`. */
function longestStill({ beats, killedAt = Infinity }: Life, from: number, to: number): number {
  let longest = 0;
  for (let i = 0; i < beats.length; i++) {
    const [began, ended] = [beats[i]!, beats[i + 1] ?? killedAt];
    if (ended >= from && began <= to && ended !== Infinity) longest = Math.max(longest, ended - began);
  }
  return longest;
}

/** In the order of holders nothing comes again that was followed by the next thing, which begins once it is recorded. */
function repeated(effects: readonly Effect[]): string[] {
  const problems: string[] = [];
  let furthest: Effect | undefined;
  for (const effect of effects.toSorted((a, b) => a.fence - b.fence || a.at - b.at)) {
    if (furthest !== undefined && rankOf(effect) < rankOf(furthest)) {
      problems.push(`again, although it was recorded: ${told(effect)}; after ${told(furthest)}`);
    } else {
      furthest = effect;
    }
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

/** What is recorded of a step is what its last holder did, wholly. */
function results(effects: readonly Effect[], { memberId, applied, results }: Recorded): string[] {
  const problems: string[] = [];
  for (const part of PARTS) {
    const name = `${part.upgradeId} ${part.step}`;
    const done = effects.filter((effect) => rankOf(effect) === rankOf(part));
    const isApplied = applied.includes(part.upgradeId);
    if (!isApplied && done.length > 0) problems.push(`not applied, but done: ${memberId} ${name}`);
    if (!isApplied) continue;
    const last = done.toSorted((a, b) => a.fence - b.fence || a.at - b.at).at(-1);
    if (last?.end?.isWhole !== true) {
      problems.push(`recorded, but not done: ${memberId} ${name} ${last === undefined ? "" : told(last)}`);
    } else if (part.page === undefined && results.get(name) !== last.id) {
      problems.push(`recorded is ${results.get(name)}, which is not what was done last: ${told(last)}`);
    }
  }
  return problems;
}

function told({ memberId, upgradeId, step, page, process, fence, attempt, at, end }: Effect): string {
  const until = end === undefined ? "cut off" : `${end.at}${end.isWhole ? "" : " aborted"}`;
  return `${memberId} ${upgradeId} ${step}${
    page === undefined ? "" : `[${page}]`
  } by ${process}, fence ${fence}, attempt ${attempt}, ${at} to ${until}`;
}
