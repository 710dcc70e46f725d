/** The scenarios: small ones, of which all schedules within a bound run, and random ones. */
import { seeded } from "../support/seeded.ts";
import { EVENT_NAMES, type EventName } from "./_events.ts";
import type { Writes } from "./_storage.ts";
import type { Happening, Scenario } from "./_world.ts";

/** The error of the slow or fast clock of a process, in milliseconds. */
const SKEW_MS = 5000;

const toA = (send: EventName): Happening => ({ send, at: 0 });
const toB = (send: EventName): Happening => ({ send, at: 1 });
const refreshAt = (at: number): Happening => ({ refresh: true, at });
const basic = { skewsMs: [0, 0], writes: "none", script: [toA("update 2"), toB("update 3")] } as const;
const withTokens = { ...basic, isVerified: true, isRemovalTrue: true } as const;

/** Scenarios of two processes, of which all schedules within a bound run. */
export const SCENARIOS: readonly Scenario[] = [
  { ...basic, name: "two updates", hasShortPauses: true },
  { ...basic, name: "two updates, atomic writes", writes: "atomic" },
  { ...basic, name: "an update, observed", isObserved: true, script: [toA("update 2")] },
  { ...basic, name: "a removal, observed", isObserved: true, script: [toA("update 2"), toB("removal")] },
  { ...basic, name: "two updates, prefixes of writes", writes: "prefix" },
  { ...basic, name: "two updates, A is slow", skewsMs: [-SKEW_MS, 0], hasShortPauses: true },
  { ...basic, name: "two updates, A is fast", skewsMs: [SKEW_MS, 0], hasShortPauses: true },
  { ...basic, name: "a duplicate", script: [toA("update 2"), toB("update 2")] },
  { ...basic, name: "another event", script: [toA("update 2"), toB("deal")] },
  { ...basic, name: "two updates to one process", script: [toA("update 2"), toA("update 3")] },
  { ...basic, name: "another large event", hasLargeEvents: true, script: [toA("update 2"), toB("deal")] },
  { ...basic, name: "two large updates", hasLargeEvents: true },
  { ...basic, name: "a large duplicate", hasLargeEvents: true, script: [toA("update 2"), toB("update 2")] },
  { ...basic, name: "a sleep", hasSleep: true, script: [toA("update 2"), { tick: true, at: 1, afterMs: 6000 }] },
  { ...basic, name: "pages", hasPages: true, script: [toA("update 3"), { tick: true, at: 1 }] },
  { ...basic, name: "a removal", script: [toA("update 2"), toB("removal"), toB("reinstallation"), toA("update 3")] },
  {
    ...basic,
    name: "a verified removal",
    isVerified: true,
    script: [toA("update 2"), toA("removal"), toB("reinstallation")],
  },
  { ...basic, name: "a large result", hasLargeResult: true, script: [toA("update 2")] },
  { ...basic, name: "a verified update", isVerified: true, script: [toA("update 2")] },
  { ...withTokens, name: "two refreshes", script: [refreshAt(0), refreshAt(1)] },
  { ...withTokens, name: "a refresh and new tokens", script: [refreshAt(0), toB("update 2")] },
  { ...withTokens, name: "a refresh and a removal", script: [refreshAt(0), toB("removal")] },
  {
    ...withTokens,
    name: "a refresh and a reinstallation",
    script: [refreshAt(0), toB("removal"), toB("reinstallation"), refreshAt(1)],
  },
];

/** Returns the scenario with a name: one of {@linkcode SCENARIOS}, or `random` and a seed: `random 17`. */
export function scenarioOf(name: string): Scenario {
  const known = SCENARIOS.find((scenario) => scenario.name === name);
  const seed = /^random (\d+)$/.exec(name)?.[1];
  if (known !== undefined) return known;
  if (seed === undefined) throw new Error(`unknown scenario ${JSON.stringify(name)}, wanted "random 17" or such`);
  return randomScenario(Number(seed));
}

/** Returns the random scenario of a seed. */
export function randomScenario(seed: number): Scenario {
  const random = seeded(seed ^ 0x5ce9a310);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const processes = pick([2, 2, 3]);
  const events = EVENT_NAMES.filter((name) => name !== "install");
  const at = (): number => Math.floor(random() * processes);
  const script = Array.from(
    { length: pick([2, 3, 4]) },
    (): Happening => random() < 0.2 ? { tick: true, at: at() } : { send: pick(events), at: at() },
  );
  // Drawn last, so that the other schedules stay as they are.
  const withRefresh = (scenario: Scenario): Scenario => {
    if (scenario.isVerified !== true) return scenario;
    const isInOrder = orderOf(script, "reinstallation") > orderOf(script, "removal");
    return {
      ...{ ...scenario, ...isInOrder && { isRemovalTrue: true as const } },
      script: random() < 0.7 ? script.toSpliced(Math.floor(random() * 4), 0, refreshAt(at())) : script,
    };
  };
  return withRefresh({
    name: `random ${seed}`,
    skewsMs: Array.from({ length: processes }, () => pick([0, 0, 0, -SKEW_MS, SKEW_MS])),
    writes: pick<Writes>(["none", "atomic", "prefix"]),
    ...random() < 0.2 && { isVerified: true },
    ...random() < 0.2 && { hasLargeResult: true },
    ...random() < 0.2 && { hasLargeEvents: true },
    ...random() < 0.2 && { hasSleep: true },
    ...random() < 0.2 && { hasPages: true },
    ...random() < 0.5 && { hasShortPauses: true },
    ...random() < 0.3 && { isObserved: true },
    script,
  });
}

/** Returns the place of the last event with this name; `Infinity` if there is none. */
function orderOf(script: readonly Happening[], name: EventName): number {
  const place = script.findLastIndex((happening) => "send" in happening && happening.send === name);
  return place === -1 ? Infinity : place;
}
