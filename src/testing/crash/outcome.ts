/** The portals at the end of an execution, and how two outcomes differ. */
import type { Storage } from "../../../mod.ts";

/** Returns the earliest time at which a portal has work left, or events that wait for their verification. */
export async function nextWorkAt(storage: Storage): Promise<number | undefined> {
  let earliest: number | undefined;
  for (const [schedule, owner] of [["due", "portal"], ["unverified-due", "unverified"]] as const) {
    for await (const { key } of storage.list([schedule])) {
      const entry = await storage.get<{ due?: string | number }>([owner, key[2]!]);
      if (entry === null || `${entry.value.due}`.padStart(key[1]!.length, "0") !== key[1]) continue;
      earliest = Math.min(earliest ?? Infinity, Number.parseInt(key[1]!, 10));
      break;
    }
  }
  return earliest;
}

/** The fields of each portal that crashes must not change: neither times nor numbers of attempts. */
export type Outcome = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

/** Returns the portals in `storage`. */
export async function outcomeOf(storage: Storage): Promise<Outcome> {
  const portals = new Map<string, Readonly<Record<string, unknown>>>();
  for await (const { value } of storage.list<StoredPortal>(["portal"])) {
    const { memberId, status, generation, version, target, applied, failure, lease, inbox = [] } = value;
    portals.set(memberId, {
      ...{ status, generation, version, target, lease },
      // Only the ids: after a crash, one run may apply upgrades that took two runs otherwise.
      applied: [...await appliedByRuns(storage, value), ...applied].map(({ id }) => id),
      failure: failure === undefined ? undefined : `${failure.upgradeId}: ${failure.message}`,
      unfinishedEvents: inbox.filter(hasBody).length + await countDeliveries(storage, memberId),
    });
  }
  return portals;
}

interface StoredPortal {
  readonly memberId: string;
  readonly status: string;
  readonly generation: number;
  readonly version?: string;
  readonly target?: string;
  readonly applied: readonly { readonly id: string }[];
  readonly failure?: { readonly upgradeId: string; readonly message: string };
  readonly lease?: object;
  readonly inbox?: readonly StoredDelivery[];
  /** The names of the finished runs. */
  readonly runs?: readonly string[];
}

/** Returns the upgrades that the finished runs of the installation have applied. */
async function appliedByRuns(
  storage: Storage,
  { memberId, generation, runs = [] }: StoredPortal,
): Promise<StoredPortal["applied"]> {
  const applied: { readonly id: string }[] = [];
  for await (const { key, value } of storage.list<Pick<StoredPortal, "generation" | "applied">>(["run", memberId])) {
    // A crash may leave others.
    if (runs.includes(key.at(-1)!) && value.generation === generation) applied.push(...value.applied);
  }
  return applied;
}

/** A missed update has no body: it is no event. */
interface StoredDelivery {
  readonly body?: unknown;
}

function hasBody({ body }: StoredDelivery): boolean {
  return body !== undefined;
}

async function countDeliveries(storage: Storage, memberId: string): Promise<number> {
  let deliveries = 0;
  for await (const { value } of storage.list<StoredDelivery>(["delivery", memberId])) {
    if (hasBody(value)) deliveries++;
  }
  return deliveries;
}

/** Returns a description of the portals for people. */
export function describeOutcome(outcome: Outcome): string {
  return [...outcome].map(([memberId, { status, version, failure }]) => {
    const state = status === "uninstalled" ? "without the app" : `on ${version}`;
    return `portal ${memberId} ${state}${failure === undefined ? "" : ` after a failure of ${failure}`}`;
  }).join(", ");
}

/** Returns a description of the differences for people; `undefined` if there are none. */
export function differenceOf(outcome: Outcome, wanted: Outcome): string | undefined {
  const differences = [...new Set([...wanted.keys(), ...outcome.keys()])].flatMap((memberId) => {
    const actual = outcome.get(memberId) ?? {};
    const expected = wanted.get(memberId) ?? {};
    const fields = Object.keys({ ...expected, ...actual }).filter((name) => json(actual[name]) !== json(expected[name]))
      .map((name) => `${name} ${json(actual[name])} instead of ${json(expected[name])}`);
    return fields.length === 0 ? [] : [`portal ${memberId} with ${fields.join(", ")}`];
  });
  return differences.length === 0 ? undefined : differences.join("; ");
}

function json(value: unknown): string | undefined {
  return JSON.stringify(value);
}
