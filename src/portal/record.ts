/** Our record of one customer's Bitrix24: one key, one value, changed by compare-and-set. */
import { type BlockedReason, FormatError, UnknownPortalError } from "../errors.ts";
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { portalKey } from "./keys.ts";
import type { StoredTokens } from "./tokens.ts";

/** An upgrade that ran for a portal. */
export interface AppliedUpgrade {
  /** Id of the upgrade. */
  readonly id: string;
  /** Version the portal came from. */
  readonly from: string;
  /** Version the portal was going to. */
  readonly to: string;
  /** When it finished, in milliseconds since 1970. */
  readonly at: number;
  /** It did not run: `app.admin.skip` took it for done. */
  readonly skipped?: true;
}

/** Why a portal is not on its target. */
export interface PortalFailure {
  /** The upgrade that failed; absent when a plugin did before it, such as one that puts registrations back. */
  readonly upgradeId?: string;
  /** Version that the portal was going to. */
  readonly to: string;
  /** The step of it that failed, if it was in one. */
  readonly step?: string;
  /** What it said, without tokens. */
  readonly message: string;
  /** How often in a row it has failed: of the step, if it was in one. */
  readonly attempts: number;
  /** When it last failed, in milliseconds since 1970. */
  readonly at: number;
  /** When it is tried again, in milliseconds since 1970; absent when it is parked: then it waits for a person. */
  readonly retryAt?: number;
}

/** How far a run says that it is. */
export interface RunProgress {
  /** Of whatever the upgrade counts. */
  readonly done: number;
  /** Absent when it is not known. */
  readonly total?: number;
  /** For people. */
  readonly note?: string;
}

/** A portal's journey from its version to its target, while it lasts. */
export interface PortalRun {
  /** Sorts by time among the runs of its portal. */
  readonly id: string;
  /** Version that it began on. */
  readonly from: string;
  /** When it began, in milliseconds since 1970. */
  readonly startedAt: number;
  /** The upgrade that runs or is to run next, and how often it has been begun since it last went well. */
  readonly current?: { readonly upgradeId: string; readonly attempt: number };
  /** Absent while nothing has told. */
  readonly progress?: RunProgress;
  /** Until when a `sleep` lasts, in milliseconds since 1970. */
  readonly wakeAt?: number;
}

/** What a step left behind. */
export interface StepRecord {
  /** `begun` and not known to have ended, `done`, or taken back by its `undo`. */
  readonly state: "begun" | "done" | "undone";
  /** How often it has been begun. */
  readonly attempts: number;
  /** When it last began or ended, in milliseconds since 1970. */
  readonly at: number;
  /** What it gave, if that is small; absent also for `undefined`. */
  readonly result?: unknown;
  /** Where what it gave is, if that is large. */
  readonly stored?: string;
  /** Of `pages`: where to go on. */
  readonly cursor?: unknown;
  /** Of `pages`: how much is done. */
  readonly done?: number;
  /** Of `sleep`: until when, in milliseconds since 1970. */
  readonly wakeAt?: number;
}

/** The steps of one upgrade, in the order in which they began. */
export interface UpgradeJournal {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** By name. */
  readonly steps: Readonly<Record<string, StepRecord>>;
}

/** What the work on a portal waits for, and nobody here can hasten. */
export interface PortalBlock {
  /** What the portal lacks. */
  readonly on: BlockedReason;
  /** For people, without tokens. */
  readonly message: string;
  /** Since when, in milliseconds since 1970. */
  readonly since: number;
  /** When it is looked at again, in milliseconds since 1970, if nothing tells of it before. */
  readonly nextTryAt: number;
}

/** The application token of a portal, as a digest: enough to compare with, useless to a thief. */
export interface ApplicationTokenDigests {
  /** Of `digestToken`. */
  readonly current: string;
  /** The one before, and when it was replaced, in milliseconds since 1970. */
  readonly previous?: { readonly digest: string; readonly replacedAt: number };
}

/** A portal as plugins and handlers see it: a snapshot, which later changes do not reach. */
export interface Portal {
  /** For ever. */
  readonly memberId: string;
  /** Host name that the last event gave. */
  readonly domain: string;
  /** Where to call the portal's REST; only ever an address that was proved. */
  readonly clientEndpoint?: string;
  /** `uninstalled` portals are kept so that late events can be told apart from forged ones. */
  readonly status: "installed" | "uninstalled";
  /** Counts installations. */
  readonly generation: number;
  /** Version that this installation began with: what was upgraded before it is not run for it. */
  readonly initialVersion?: string;
  /** Version that the portal's data is on; absent while nothing has told. */
  readonly version?: string;
  /** Version that it should be on. */
  readonly target?: string;
  /** Upgrades that ran, in order. */
  readonly applied: readonly AppliedUpgrade[];
  /** Absent while all is well. */
  readonly failure?: PortalFailure;
  /** Absent while the portal is on its target. */
  readonly run?: PortalRun;
  /** Absent while nothing has to be waited for. */
  readonly blocked?: PortalBlock;
  /** What the portal lets the app do, as Bitrix24 itself said last; absent until it was asked. */
  readonly scope?: readonly string[];
  /** Absent until one was proved. */
  readonly applicationToken?: ApplicationTokenDigests;
}

/** Who works on a portal. Whatever he writes, he writes by compare-and-set on the record that holds his lease. */
export interface Lease {
  /** Unique for every time that a lease is taken. */
  readonly owner: string;
  /** In milliseconds since 1970: after it, another may take it. */
  readonly until: number;
}

/** When Bitrix24 was last asked about a portal. */
export interface Check {
  /** In milliseconds since 1970. */
  readonly at: number;
  /** It did not answer. */
  readonly hasFailed?: true;
}

/** What is stored: the snapshot with the tokens, and what only the core needs. */
export interface PortalRecord extends Omit<Portal, "run"> {
  readonly format: typeof PORTAL_FORMAT;
  /** Absent until an event brought some, and after an uninstall. */
  readonly tokens?: readonly StoredTokens[];
  /** Who refreshes tokens of this portal: one at a time. */
  readonly refreshing?: { readonly id: string; readonly until: number };
  /** Absent until it was asked. */
  readonly check?: Check;
  /** Latest `ts` of an event that shows the app installed, and of one that removed it, be it an installation ago. */
  readonly installedTs: number;
  readonly uninstalledTs?: number;
  /** `ts` of the newest event that was taken in. */
  readonly latestTs: number;
  /** With the journal of the upgrades of this run, the current one last. */
  readonly run?: PortalRun & { readonly journal: readonly UpgradeJournal[] };
  /** How many runs were rolled back: a step that runs again after that is another one for the outside. */
  readonly rollbacks?: number;
  /** Counts deliveries: whoever has worked on all sees whether another has come since. */
  readonly inboxSequence?: number;
  /** Counts leases. */
  readonly fencingToken?: number;
  readonly lease?: Lease;
  /** As what the portal is counted. */
  readonly indexedAs?: string;
  /** Under what the portal is in the schedule. */
  readonly due?: string;
  /** Under what it is there, too, since something earlier has come up. */
  readonly supersededDue?: readonly string[];
  /** When what a removed portal leaves is purged, in milliseconds since 1970. */
  readonly purgeAt?: number;
}

/** Raised whenever older code could misread a record. */
export const PORTAL_FORMAT = 1;

/** @throws {FormatError} when newer code wrote it: older code must not write over what it does not know */
export function readRecord(entry: Entry<PortalRecord> | null): PortalRecord | undefined {
  if (entry === null) return undefined;
  const { format } = entry.value;
  if (format !== PORTAL_FORMAT) throw new FormatError(`portal ${entry.key.at(-1)}`, format, PORTAL_FORMAT);
  return entry.value;
}

/** The record without what only the core needs. */
export function snapshot(record: PortalRecord): Portal {
  const { memberId, domain, status, generation, applied } = record;
  const portal: { -readonly [Key in keyof Portal]: Portal[Key] } = { memberId, domain, status, generation, applied };
  for (const key of OPTIONAL) {
    if (record[key] !== undefined) portal[key] = record[key] as never;
  }
  if (record.run !== undefined) {
    const { journal: _, ...run } = record.run;
    portal.run = run;
  }
  return portal;
}

const OPTIONAL = [
  ...[
    "clientEndpoint",
    "initialVersion",
    "version",
    "target",
    "failure",
    "applicationToken",
    "blocked",
    "scope",
  ] as const,
];

/** @throws {UnknownPortalError} when the portal is not stored */
export async function loadPortal(storage: Storage, memberId: string): Promise<PortalRecord> {
  const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
  if (record === undefined) throw new UnknownPortalError(memberId);
  return record;
}

/**
 * Applies `change`, which may run several times, and resolves to the record then.
 *
 * @throws {UnknownPortalError} when the portal is not stored
 */
export async function changePortal(
  storage: Storage,
  memberId: string,
  change: (record: PortalRecord) => PortalRecord,
): Promise<PortalRecord> {
  const written = await updateEntry<PortalRecord>(storage, portalKey(memberId), (entry) => {
    const record = readRecord(entry);
    if (record === undefined) throw new UnknownPortalError(memberId);
    return change(record);
  });
  return written!.value;
}
