/**
 * How many portals are on which version: kept in parts beside the records, so that counting does not read them all.
 * A portal is in the part that its `member_id` begins with, so the parts together are in the order of portals.
 */
import { FormatError } from "../errors.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { STATE_INDEX } from "./keys.ts";
import type { PortalRecord } from "./record.ts";

/**
 * Where a portal is on its way: on its target, on the way to it, `blocked` for what the customer or the vendor has to do
 * (`portal.waits` says what), `parked` after a failure, or without the app.
 */
export type PortalState = "current" | "upgrading" | "blocked" | "parked" | "uninstalled";

/** A portal in the census. */
export interface IndexedPortal {
  readonly memberId: string;
  readonly state: PortalState;
  /** Absent while nothing has told. */
  readonly version?: string;
}

/** By `member_id`: the fence of who wrote it, the state, and the version, if it is known. */
interface Part {
  readonly format: typeof INDEX_FORMAT;
  readonly portals: Readonly<Record<string, readonly [fence: number, state: PortalState, version?: string]>>;
}

/** Raised whenever older code could misread a part. */
const INDEX_FORMAT = 1;
/** 4096 parts: some hundred portals in each where there are a million. */
const DIGITS = 3;

/** Where the portal of `record` is on its way. */
export function portalState(record: PortalRecord): PortalState {
  const { status, version, target, failure, blocked } = record;
  if (status === "uninstalled") return "uninstalled";
  if (version === target) return "current";
  if (blocked !== undefined) return "blocked";
  return failure !== undefined && failure.to === target && failure.retryAt === undefined ? "parked" : "upgrading";
}

/** What is told apart in the census, as one text. */
export function indexKeyOf(record: PortalRecord): string {
  return `${portalState(record)} ${record.version ?? ""}`;
}

/** Enters the portal of `record`; what a later holder of the portal has written stays. */
export async function updateIndex(storage: Storage, record: PortalRecord): Promise<void> {
  const { memberId, version, fencingToken: fencingToken = 0 } = record;
  const state = portalState(record);
  const key: Key = [...STATE_INDEX, memberId.slice(0, DIGITS)];
  await updateEntry<Part>(storage, key, (entry) => {
    const portals = entry === null ? {} : read(entry).portals;
    const known = portals[memberId];
    if (known !== undefined && known[0] > fencingToken) return undefined;
    const listIndex = version === undefined ? [fencingToken, state] as const : [fencingToken, state, version] as const;
    return { format: INDEX_FORMAT, portals: { ...portals, [memberId]: listIndex } };
  });
}

/** All portals that are counted, in the order of their `member_id`; with `after` only those after it. */
export async function* listIndexed(storage: Storage, after?: string): AsyncGenerator<IndexedPortal> {
  // The part of `after` itself may have more.
  const options = after === undefined ? {} : { after: [...STATE_INDEX, after.slice(0, DIGITS - 1)] as unknown as Key };
  for await (const entry of storage.list<Part>(STATE_INDEX, options)) {
    const { portals } = read(entry);
    for (const memberId of Object.keys(portals).sort()) {
      if (after !== undefined && memberId <= after) continue;
      const [, state, version] = portals[memberId]!;
      yield { memberId, state, ...(version === undefined ? {} : { version }) };
    }
  }
}

function read({ key, value }: Entry<Part>): Part {
  if (value.format !== INDEX_FORMAT) throw new FormatError(`census ${key.at(-1)}`, value.format, INDEX_FORMAT);
  return value;
}
