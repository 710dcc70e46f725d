/** What portals are in the end, and how two ends differ. */
import type { Storage } from "../../../mod.ts";

/** Whether a portal is to be looked at again. */
export async function hasWork(storage: Storage): Promise<boolean> {
  for await (const { key } of storage.list(["due"])) {
    const record = await storage.get<{ due?: string }>(["portal", key[2]!]);
    if (record?.value.due === key[1]) return true;
  }
  return false;
}

/** Of each portal, what is the same for every way to the end: neither times nor counts of attempts. */
export type Outcome = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

/** What the portals in `storage` are. */
export async function outcomeOf(storage: Storage): Promise<Outcome> {
  const portals = new Map<string, Readonly<Record<string, unknown>>>();
  for await (const { value } of storage.list<PortalEnd>(["portal"])) {
    const { memberId, status, generation, version, target, applied, failure, lease } = value;
    portals.set(memberId, {
      ...{ status, generation, version, target, lease },
      // Whoever catches up does in one go what others do in two.
      applied: applied.map(({ id }) => id),
      failure: failure === undefined ? undefined : `${failure.upgradeId}: ${failure.message}`,
      unfinishedEvents: await eventsLeft(storage, memberId),
    });
  }
  return portals;
}

interface PortalEnd {
  readonly memberId: string;
  readonly status: string;
  readonly generation: number;
  readonly version?: string;
  readonly target?: string;
  readonly applied: readonly { readonly id: string }[];
  readonly failure?: { readonly upgradeId: string; readonly message: string };
  readonly lease?: object;
}

async function eventsLeft(storage: Storage, memberId: string): Promise<number> {
  let left = 0;
  for await (const { value } of storage.list<{ readonly body?: unknown }>(["inbox", memberId])) {
    if (value.body !== undefined) left++;
  }
  return left;
}

/** Where portals are, for people. */
export function describeOutcome(outcome: Outcome): string {
  return [...outcome].map(([memberId, { status, version, failure }]) => {
    const where = status === "uninstalled" ? "without the app" : `on ${version}`;
    return `portal ${memberId} ${where}${failure === undefined ? "" : ` after a failure of ${failure}`}`;
  }).join(", ");
}

/** What is not as `wanted`, for people. */
export function differenceOf(outcome: Outcome, wanted: Outcome): string | undefined {
  const differences = [...new Set([...wanted.keys(), ...outcome.keys()])].flatMap((memberId) => {
    const is = outcome.get(memberId) ?? {};
    const should = wanted.get(memberId) ?? {};
    const fields = Object.keys({ ...should, ...is }).filter((name) => text(is[name]) !== text(should[name]))
      .map((name) => `${name} ${text(is[name])} instead of ${text(should[name])}`);
    return fields.length === 0 ? [] : [`portal ${memberId} with ${fields.join(", ")}`];
  });
  return differences.length === 0 ? undefined : differences.join("; ");
}

function text(value: unknown): string | undefined {
  return JSON.stringify(value);
}
