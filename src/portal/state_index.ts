/**
 * The index of portals by state and version. It is stored in chunks beside the records, so that lists and counts do not
 * read all records. A chunk holds the portals with one prefix of `member_id`, so the chunks are in the order of portals.
 */
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { STATE_INDEX } from "./keys.ts";
import type { PortalRecord } from "./record.ts";

/**
 * The state of a portal: `current` on its target, `upgrading` to it, `blocked` on an action of the customer or the vendor
 * (`portal.blocked` names it), `parked` after a permanent failure until an operator acts, or `uninstalled`.
 */
export type PortalState = "current" | "upgrading" | "blocked" | "parked" | "uninstalled";

/** A portal as the index shows it. */
export interface IndexedPortal {
  readonly memberId: string;
  readonly state: PortalState;
  /** Absent if it is unknown. */
  readonly version?: string;
}

/** Portals by `member_id`, each with the fencing token of the lease under which it was written. */
interface Chunk {
  readonly format: typeof INDEX_FORMAT;
  readonly portals: Readonly<Record<string, readonly [fencingToken: number, state: PortalState, version?: string]>>;
}

/** Raised if older code would misread a chunk. */
const INDEX_FORMAT = 1;
/** Digits of `member_id` that name a chunk: 4096 chunks, of about 250 portals each if there are a million. */
const PREFIX_DIGITS = 3;

/** Returns the state of a portal. */
export function portalState(record: PortalRecord): PortalState {
  const { status, version, target, failure, blocked } = record;
  if (status === "uninstalled") return "uninstalled";
  if (version === target) return "current";
  if (blocked !== undefined) return "blocked";
  return failure !== undefined && failure.to === target && failure.retryAt === undefined ? "parked" : "upgrading";
}

/** Returns a string that changes if the index entry of a portal has to change. */
export function indexKeyOf(record: PortalRecord): string {
  return `${portalState(record)} ${record.version ?? ""}`;
}

/** Writes the index entry of a portal, unless a later holder of its lease has written it. */
export async function updateIndex(storage: Storage, record: PortalRecord): Promise<void> {
  const { memberId, version, fencingToken = 0 } = record;
  const state = portalState(record);
  const key: Key = [...STATE_INDEX, memberId.slice(0, PREFIX_DIGITS)];
  await updateEntry<Chunk>(storage, key, (entry) => {
    const portals = entry === null ? {} : readChunk(entry).portals;
    const current = portals[memberId];
    if (current !== undefined && current[0] > fencingToken) return undefined;
    const updated = version === undefined ? [fencingToken, state] as const : [fencingToken, state, version] as const;
    return { format: INDEX_FORMAT, portals: { ...portals, [memberId]: updated } };
  });
}

/** Lists the indexed portals in the order of their `member_id`; with `after`, only those after it. */
export async function* listIndexed(storage: Storage, after?: string): AsyncGenerator<IndexedPortal> {
  for await (const entry of storage.list<Chunk>(STATE_INDEX, defined({ after: keyBefore(after) }))) {
    const { portals } = readChunk(entry);
    for (const memberId of Object.keys(portals).sort()) {
      if (after !== undefined && memberId <= after) continue;
      const [, state, version] = portals[memberId]!;
      yield version === undefined ? { memberId, state } : { memberId, state, version };
    }
  }
}

/** Returns a key before the chunk of `after`, which may hold portals after it. */
function keyBefore(after: string | undefined): Key | undefined {
  return after === undefined ? undefined : [STATE_INDEX[0], after.slice(0, PREFIX_DIGITS - 1)];
}

function readChunk({ key, value }: Entry<Chunk>): Chunk {
  if (value.format !== INDEX_FORMAT) throw new FormatError(`state index ${key.at(-1)}`, value.format, INDEX_FORMAT);
  return value;
}
