/** The layout of what an app stores, as far as the simulation looks behind the public functions. */
import { eventOf } from "./_events.ts";
import type { PortalRecord as WholeRecord } from "../../src/portal/record.ts";
import type { Entries, StoredEntry } from "./_storage.ts";

/** A portal as its record says. */
export interface StoredPortal {
  readonly generation: number;
  readonly version: string | undefined;
  readonly lease: { readonly owner: string; readonly until: number } | undefined;
  /** JSON of what only the holder of the lease may change within an installation. */
  readonly guarded: string;
  /** The upgrades that the current run has applied. */
  readonly applied: readonly string[];
  /** Id of the current run. */
  readonly runId: string | undefined;
}

interface PortalRecord {
  readonly generation: number;
  readonly status: string;
  readonly version?: string;
  readonly lease?: StoredPortal["lease"];
  readonly applied: readonly { readonly id: string }[];
  readonly run?: { readonly id: string };
  readonly runs?: readonly string[];
  readonly inbox?: readonly { readonly id: string }[];
  readonly overflow?: unknown;
  readonly handled?: readonly (readonly [id: string, ...rest: readonly unknown[]])[];
  readonly due?: string;
}

/** An entry of a journal: see `src/portal/journal.ts`. */
type JournalEntry = readonly [name: string, at: number, kind: string, ...rest: readonly unknown[]];

/** Parsed values: entries never change. */
const parsed = new WeakMap<StoredEntry, unknown>();

/** Returns the parsed value of an entry. */
export function valueOf<T>(entry: StoredEntry): T {
  if (!parsed.has(entry)) parsed.set(entry, JSON.parse(entry.json));
  return parsed.get(entry) as T;
}

function recordOf(entries: Entries, memberId: string): PortalRecord | undefined {
  const record = entries.get(["portal", memberId]);
  return record && valueOf<PortalRecord>(record);
}

/** Returns whether an entry is the record of a portal. */
export function isRecord({ key }: StoredEntry): boolean {
  return key[0] === "portal";
}

/** Returns whether an entry can have token pairs that the app relies on. */
export function holdsPairs({ key }: StoredEntry): boolean {
  return key[0] === "portal" || key[0] === "credentials";
}

/** Returns the record of a portal, for a comparison with what observers are told. */
export function recordIn(entry: StoredEntry): WholeRecord {
  return valueOf<WholeRecord>(entry);
}

/** Returns the portal of a record. */
export function portalOf(record: StoredEntry): StoredPortal {
  const { generation, version, lease, applied, run, runs } = valueOf<PortalRecord>(record);
  const ids = applied.map(({ id }) => id);
  const guarded = JSON.stringify([version, ids, run, runs]);
  return { generation, version, lease, applied: ids, runId: run?.id, guarded };
}

/** Returns the portal as it is stored now. */
export function storedPortal(entries: Entries, memberId: string): StoredPortal | undefined {
  const record = entries.get(["portal", memberId]);
  return record && portalOf(record);
}

/** Returns whether an entry is a part of what {@linkcode recordedSteps} returns. */
export function holdsSteps({ key }: StoredEntry): boolean {
  return key[0] === "journal" || key[0] === "result";
}

/**
 * Returns the JSON of all recorded steps and pages by the id of their run, upgrade and name: `00000001/to 2/one`,
 * `00000001/to 3/three#1`. Of the pages of a step, only the last one stays.
 */
export function recordedSteps(entries: Entries, memberId: string): ReadonlyMap<string, string> {
  const results = new Map<string, string>();
  for (const chunk of entries.list(["journal", memberId])) {
    const [, , runId, upgradeId] = chunk.key;
    for (const [name, , kind, ...rest] of valueOf<{ readonly entries: readonly JournalEntry[] }>(chunk).entries) {
      const isPage = kind === "page" || kind === "pages";
      const stored = kind === "large" ? entries.get(["result", memberId, runId!, String(rest[0])])?.json : undefined;
      const json = kind === "large" ? `[${stored ?? ""}]` : JSON.stringify(isPage ? rest.slice(1) : rest);
      results.set(`${runId}/${upgradeId}/${name}${isPage ? `#${rest[0]}` : ""}`, json);
    }
  }
  return results;
}

/** Returns the names of the events that are recorded as done, as `update 2`. */
export function doneEvents(entries: Entries, memberId: string): ReadonlySet<string> {
  return new Set(recordOf(entries, memberId)?.handled?.map(([id]) => eventOf(id)));
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** Temporary entries: none may be left at rest. An event that no list of unverified events names expires. */
const TEMPORARY = new Set(["delivery", "due", "unverified", "unverified-due"]);

/**
 * Returns what has to be gone at rest. `isOwed`: returns whether an event has been answered with 200, and its handlers have
 * not run.
 */
export function leftovers(entries: Entries, memberId: string, isOwed: (event: string) => boolean): string[] {
  const record = recordOf(entries, memberId);
  // The retention of a removed portal takes days.
  const isNear = (due: string): boolean => Number(due.split("-")[0]) < entries.clock() + DAY_MS;
  const isLeft = ([kind, second, third]: readonly string[]): boolean => {
    if (kind === "due") return isNear(second!);
    // One that a crash or failure has left, and that no record counts: it goes with the next work on its portal.
    return TEMPORARY.has(kind!) && (kind !== "delivery" || isOwed(eventOf(third!)));
  };
  const left = entries.list().filter(({ key }) => isLeft(key)).map(({ key }) => key.join("/"));
  if (record === undefined) return left;
  const { status, run, inbox, overflow, due } = record;
  if (run !== undefined && status === "installed") left.push(`portal/${memberId}: run`);
  if (inbox !== undefined) left.push(`portal/${memberId}: inbox`);
  if (overflow !== undefined) left.push(`portal/${memberId}: overflow`);
  if (due !== undefined && isNear(due)) left.push(`portal/${memberId}: due`);
  // A process that crashes while it has no work leaves one that has expired.
  if (record.lease !== undefined && record.lease.until > entries.clock()) left.push(`portal/${memberId}: lease`);
  return left;
}

/** Returns the index entries of a portal, as `state/current`, but those by domain, which have a digest. */
export function indexEntries(entries: Entries): readonly string[] {
  return entries.list(["index"]).map(({ key }) => key.slice(1, 3).join("/")).filter((name) =>
    !name.startsWith("domain")
  );
}
