/** The record of one portal: one key, one value, changed by compare-and-set. */
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import type { Entry } from "../storage/storage.ts";
import { type Claims, describeClaims } from "./claims.ts";
import type { DoneDelivery, InboxItem, Overflow } from "./delivery.ts";
import type { IndexKind } from "./keys.ts";
import type { Check, PlannedChecks } from "./planned_checks.ts";
import type { FailedWith, Portal, PortalBlock, PortalRun, PortalState } from "./portal.ts";
import { type CredentialsSummary, pendingTokensOf, type RefreshHolder } from "./stored_credentials.ts";
import type { StoredReport } from "./stored_report.ts";
import type { StoredTokens } from "./tokens.ts";

/** The run of a record. Its steps are not in the record, but in the journals of its upgrades: see `journal.ts`. */
export interface OpenRun extends Omit<PortalRun, "current"> {
  /** Ids of the upgrades that it has started, in this order. */
  readonly upgrades: readonly string[];
  /** The upgrade that runs, or runs next. */
  readonly current?: { readonly upgradeId: string };
  /** Number of calls that its upgrades have made, by name: see `countCall()`. */
  readonly calls?: Readonly<Record<string, number>>;
  readonly underWay?: AttemptUnderWay;
  /** An upgrade was started again: an attempt before may have stored a result that no journal names. */
  readonly isResumed?: true;
  /** A rollback has begun and not ended: only another call of `rollback` may go on with the run. */
  readonly isRollingBack?: true;
}

/** An attempt that has begun. It is removed when the attempt ends, however it ends: if it is there, the process has ended. */
export interface AttemptUnderWay {
  /** Number of finished steps and pages of the upgrade when the attempt began. */
  readonly finished: number;
  /** Whether no other portal whose process had ended was resumed in the process meanwhile. */
  readonly isAlone?: true;
  /** Number of attempts since the upgrade last progressed, or an attempt ended in order, this one included. */
  readonly starts: number;
  /** Number of attempts whose process ended at the step or page that comes next. */
  readonly deaths: number;
  /** The number of them that were alone. */
  readonly deathsAlone: number;
}

/** An installer whose handlers have not succeeded yet. */
export interface WaitingInstaller {
  /** Id of its delivery. */
  readonly id: string;
  /** Present if it is parked. `at`: in milliseconds since 1970. */
  readonly failure?: { readonly message: string; readonly at: number };
}

/** The right to work on a portal. Its holder writes by compare-and-set on the record that contains the lease. */
export interface Lease {
  /** Unique for each acquisition. */
  readonly owner: string;
  /** Time after which another process may take the portal, in milliseconds since 1970. */
  readonly until: number;
  /** Number of the holder's last write. It finds out by it whether a write was applied whose reply was lost. */
  readonly writes?: number;
}

/** The values under which a portal is in the index. Absent: the portal is not in the index of that kind. */
export interface IndexedAs extends Partial<Readonly<Record<Exclude<IndexKind, "former">, string>>> {
  readonly state: PortalState;
  /** The last domains before the present one, the latest first. */
  readonly former?: readonly string[];
}

/** What is known of a portal's version if its first contact was no installation. */
export interface UnknownOrigin {
  /**
   * `"reported"`: Bitrix24 has reported the target, and no update to it was heard of: if the target rises, the portal comes
   * from there. `"updated"`: it was updated to the target from an unknown version.
   */
  readonly target: "reported" | "updated";
  /** When the first contact was received, in milliseconds since 1970. */
  readonly since: number;
}

/** The stored record: the snapshot, and the fields that only the core uses. */
export interface PortalRecord
  extends Omit<Portal, "state" | "run" | "blocked" | "claims" | "pendingApplicationTokens" | "checkedAt"> {
  readonly format: typeof PORTAL_FORMAT;
  /**
   * Token pairs that events brought to a process that did not have the portal's credentials in memory: the next write by one
   * that has moves them there. In an opened record (see `credentials_record.ts`), all pairs of the portal.
   */
  readonly tokens?: readonly StoredTokens[];
  /** The portal's credentials, which are stored under a key of their own. Absent if there are none, and in an opened record. */
  readonly credentials?: CredentialsSummary;
  /** `ts` of the newest event with the current application token that an administrator proved. */
  readonly applicationTokenTs?: number;
  /** The process that refreshes tokens of this portal. Only in an opened record: it is stored with the credentials. */
  readonly refreshing?: RefreshHolder;
  /** The last block, if an event or an answer has ended it and no upgrade was applied since. */
  readonly endedBlock?: Pick<PortalBlock, "on" | "since"> & { readonly endedAt: number };
  /** Absent until the first check. */
  readonly check?: Check;
  /** Absent if no check is planned. The portal's schedule entry is not later than the first of them. */
  readonly plannedChecks?: PlannedChecks;
  /** VERSION whose installation or update an opening has started: Bitrix24's own event of it is a duplicate. */
  readonly openedVersion?: string;
  /** The open claims of events, and the last settled one of each kind. */
  readonly claims?: Claims;
  /** Nothing says on which version the portal's data is. Absent if `version` is known, or an installation will tell it. */
  readonly unknownOrigin?: UnknownOrigin;
  /** The target was believed without Bitrix24's confirmation. */
  readonly isTargetUnconfirmed?: true;
  /** When an operator set the target, in milliseconds since 1970: events that came before do not raise it. */
  readonly targetSetAt?: number;
  /** When the removal was believed without Bitrix24's confirmation, in milliseconds since 1970. */
  readonly removalBelievedAt?: number;
  /** Bitrix24 has confirmed the removal, but not that the app's data is to be deleted: see `isCleanSure` of a removal. */
  readonly isCleanUnsure?: true;
  /** A removal that Bitrix24 confirmed after its event was dropped: its handlers are to run. `ts`: as in the event. */
  readonly owedRemoval?: { readonly clean: boolean; readonly ts: number };
  /** Latest `ts` of an installation or update. */
  readonly installedTs: number;
  /** Latest `ts` of a removal, also of an earlier installation. */
  readonly uninstalledTs?: number;
  /** `ts` of the newest event that was applied. */
  readonly latestTs: number;
  /** The current run; absent between runs. */
  readonly run?: OpenRun;
  /** Absent if the portal is not blocked, or only on its installer. */
  readonly blocked?: Required<PortalBlock>;
  /** The installer of this installation; absent before its ONAPPINSTALL. */
  readonly installer?: WaitingInstaller | "done";
  /** Number of rollbacks. It is part of the idempotency keys of steps: a step that runs again after a rollback is new. */
  readonly rollbacks?: number;
  /** Number of deliveries so far. The holder of the lease compares it to see whether more have arrived. */
  readonly inboxSequence?: number;
  /** Deliveries that wait, if they are small and few; absent if there are none. */
  readonly inbox?: readonly InboxItem[];
  /** Number of the other deliveries that wait; absent if there are none. */
  readonly overflow?: Overflow;
  /** The last deliveries of life-cycle events that are done, the latest last. */
  readonly handled?: readonly DoneDelivery[];
  /** An operator has retried the portal: it passes a pause of its rollout until an attempt fails or the run is finished. */
  readonly mayPassPause?: true;
  /** Number of runs so far, also of those that were abandoned. It is the id of the last one. */
  readonly runCount?: number;
  /** Ids of the last batch operations that have acted on the portal. */
  readonly batches?: readonly string[];
  /** When an operator had the portal forgotten, in milliseconds since 1970: only an installation makes it known again. */
  readonly forgottenAt?: number;
  /** Names the finished runs that are stored, the latest last: the last parts of their keys. */
  readonly runs?: readonly string[];
  /** Names the last failed attempt that is stored: the last part of its key. It names the one before it. */
  readonly lastAttempt?: string;
  /** Number of acquired leases. */
  readonly fencingToken?: number;
  readonly lease?: Lease;
  /** Names the index entries of the portal: those of its state before it was leased, if it is. */
  readonly indexedAs?: IndexedAs;
  /** Id of the portal's schedule entry. */
  readonly due?: string;
  /** Changes of the portal's state that observers are still to be notified of, the oldest first; absent without such changes. */
  readonly reports?: readonly StoredReport[];
  /** When the data of a removed portal is purged, in milliseconds since 1970. */
  readonly purgeAt?: number;
}

/** Raised if older code would misread a record. */
export const PORTAL_FORMAT = 1;

/** @throws {FormatError} if newer code wrote the record: older code must not overwrite fields that it does not know */
export function readRecord(entry: Entry<PortalRecord> | null): PortalRecord | undefined {
  if (entry === null) return undefined;
  const { format } = entry.value;
  if (format !== PORTAL_FORMAT) throw new FormatError(`portal ${entry.key.at(-1)}`, format, PORTAL_FORMAT);
  return entry.value;
}

/** Returns whether newer code wrote the record: this code leaves the portal to it. */
export function isNewer(entry: Entry<PortalRecord> | null): boolean {
  return entry !== null && entry.value.format !== PORTAL_FORMAT;
}

/** Returns what a portal is blocked on: an installer that is parked holds up its upgrades. */
export function blockOf(record: PortalRecord): PortalBlock | undefined {
  const { blocked, installer, version, target } = record;
  const failure = installer === "done" ? undefined : installer?.failure;
  if (failure === undefined || version === target) return blocked;
  return { on: "installation", message: `ONAPPINSTALL: ${failure.message}`, since: failure.at };
}

/** Returns the state of a portal. */
export function portalState(record: PortalRecord): PortalState {
  const { status, version, target, failure, run } = record;
  if (status === "uninstalled") return "uninstalled";
  if (run?.isRollingBack) return "parked";
  if (version === target) return "current";
  if (blockOf(record) !== undefined) return "blocked";
  return failure !== undefined && failure.to === target && failure.retryAt === undefined ? "parked" : "upgrading";
}

/**
 * When each field of a record is dropped. `removal`: when the app is removed. `purge`: when the data of the removed
 * portal is purged. `reinstallation`: when the app is installed again; all the others are dropped then too, but for
 * `only_purge`, which names what the purge deletes, and `never`: needed to recognize late events, and to work on the portal.
 */
const DROPPED_AT: Readonly<
  Record<keyof PortalRecord, "removal" | "purge" | "reinstallation" | "only_purge" | "never">
> = {
  format: "never",
  memberId: "never",
  domain: "purge",
  clientEndpoint: "purge",
  status: "never",
  generation: "never",
  initialVersion: "purge",
  version: "purge",
  target: "purge",
  applied: "purge",
  failure: "removal",
  run: "purge",
  rollbacks: "purge",
  installer: "removal",
  blocked: "removal",
  endedBlock: "removal",
  scope: "purge",
  applicationToken: "reinstallation",
  applicationTokenTs: "reinstallation",
  tokens: "removal",
  credentials: "removal",
  refreshing: "removal",
  check: "removal",
  findings: "removal",
  plannedChecks: "removal",
  openedVersion: "removal",
  claims: "removal",
  unknownOrigin: "purge",
  isTargetUnconfirmed: "purge",
  targetSetAt: "purge",
  removalBelievedAt: "purge",
  isCleanUnsure: "purge",
  owedRemoval: "purge",
  installedTs: "never",
  uninstalledTs: "never",
  latestTs: "never",
  inboxSequence: "never",
  inbox: "never",
  overflow: "never",
  handled: "never",
  batches: "purge",
  forgottenAt: "reinstallation",
  mayPassPause: "removal",
  runCount: "never",
  runs: "only_purge",
  lastAttempt: "only_purge",
  fencingToken: "never",
  lease: "never",
  indexedAs: "never",
  due: "never",
  reports: "never",
  purgeAt: "purge",
};

/** Returns the fields of a record that remain when the app is removed. */
export function withoutRemovedFields(record: PortalRecord): PortalRecord {
  return pick(record, (field) => DROPPED_AT[field] !== "removal") as PortalRecord;
}

/** Returns the fields of a removed portal's record that remain when it is purged. */
export function withoutPurgedFields(record: PortalRecord): PortalRecord {
  const isKept = (field: keyof PortalRecord): boolean => ["never", "reinstallation"].includes(DROPPED_AT[field]);
  return { domain: "", applied: [], ...pick(record, isKept) } as PortalRecord;
}

/** Returns the fields of a removed portal's record that remain when the app is installed again. */
export function withoutInstallation(record: PortalRecord): PortalRecord {
  const isKept = (field: keyof PortalRecord): boolean => ["never", "only_purge"].includes(DROPPED_AT[field]);
  return { domain: "", applied: [], ...pick(record, isKept) } as PortalRecord;
}

/** The fields that a snapshot shows. */
const SNAPSHOT: Readonly<Record<Exclude<keyof Portal, "state" | "pendingApplicationTokens" | "checkedAt">, true>> = {
  memberId: true,
  domain: true,
  clientEndpoint: true,
  status: true,
  generation: true,
  initialVersion: true,
  version: true,
  target: true,
  applied: true,
  failure: true,
  run: true,
  blocked: true,
  scope: true,
  applicationToken: true,
  claims: true,
  findings: true,
};

/** Returns the record without tokens and the fields that only the core uses. */
export function snapshot(record: PortalRecord): Portal {
  const { run, claims, blocked: _, ...rest } = pick(record, (field) => field in SNAPSHOT) as PortalRecord;
  const shown = describeClaims(claims ?? {});
  const blocked = blockOf(record);
  const pending = pendingTokensOf(record);
  return {
    ...rest,
    state: portalState(record),
    ...(run && { run: publicRun(run, record) }),
    ...(blocked && { blocked }),
    ...(shown.length > 0 && { claims: shown }),
    ...(pending.length > 0 && { pendingApplicationTokens: pending }),
    ...(record.check && { checkedAt: record.check.at }),
  };
}

function publicRun(
  { current, upgrades: _u, calls: _c, isResumed: _s, isRollingBack: _b, underWay, ...run }: OpenRun,
  record: PortalRecord,
): PortalRun {
  if (current === undefined) return run;
  const { upgradeId } = current;
  return { ...run, current: { upgradeId, attempt: failedAttempts(record, upgradeId) + (underWay?.starts ?? 0) } };
}

/** Returns what the record of a failure keeps of its error, besides the message. */
export function failedWith(error: Error): FailedWith {
  // Own members only: accessors of a DOMException do not work on its redacted copy.
  const { code, b24Code } = { ...error } as { readonly code?: unknown; readonly b24Code?: unknown };
  const text = (value: unknown): string | undefined => typeof value === "string" ? value : undefined;
  return { name: error.name, ...defined({ code: text(code), b24Code: text(b24Code) }) };
}

/** Returns the number of failed attempts in a row that the record has of an upgrade or one of its steps. */
export function failedAttempts({ failure }: PortalRecord, upgradeId: string): number {
  return failure?.upgradeId === upgradeId ? failure.attempts : 0;
}

function pick(record: PortalRecord, isPicked: (field: keyof PortalRecord) => boolean): Partial<PortalRecord> {
  const picked: Record<string, unknown> = {};
  for (const field of Object.keys(record) as (keyof PortalRecord)[]) {
    if (isPicked(field)) picked[field] = record[field];
  }
  return picked;
}
