/**
 * The failed attempts at the work of a portal. Each has an entry of its own, which names the one before it; the record names
 * the last one. So a failure costs one more small operation of the write that records it, and an entry of a former holder of
 * the lease, whose record was refused, is not part of the history.
 */
import { defined } from "../defined.ts";
import type { BlockedReason } from "../errors.ts";
import { FormatError } from "../errors.ts";
import { listKeys } from "../storage/list_keys.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { attemptKey, attemptPrefix } from "./keys.ts";
import type { PortalLease } from "./lease.ts";
import type { PortalRecord } from "./record.ts";
import { storedText } from "./stored_text.ts";
import type { RecordChange } from "./record_store.ts";

/** A failed attempt at an upgrade, or at the handlers of an event of the app's life cycle. */
export interface FailedAttempt {
  /** Number of the installation: `portal.generation` at that time. */
  readonly generation: number;
  /** Id of the upgrade; absent if handlers of an event failed, or a plugin around them. */
  readonly upgradeId?: string;
  /** Name of the event whose handlers failed, or a plugin around them; absent for an upgrade. */
  readonly event?: string;
  /** Name of the step that failed; absent if the failure was outside a step. */
  readonly step?: string;
  /** Number of the attempt in a row: at the step if the failure was in one, otherwise at the upgrade or the event. */
  readonly attempt: number;
  /** When the attempt at the step, the upgrade or the event began, in milliseconds since 1970. */
  readonly startedAt: number;
  /** When it failed, in milliseconds since 1970. */
  readonly failedAt: number;
  /** Message of the error, without tokens, at most 500 characters. */
  readonly message: string;
  /** Failures with the same cause have the same one, on all portals: see `fingerprint` of {@linkcode PortalFailure}. */
  readonly fingerprint: string;
  /** What the portal is blocked on since; absent if it was not blocked, or had been blocked on the same before. */
  readonly blockedOn?: BlockedReason;
  /** When it was to be tried again, in milliseconds since 1970; absent if it was blocked or parked. */
  readonly retryAt?: number;
}

/** A failed attempt as it is stored. */
interface StoredAttempt extends FailedAttempt {
  readonly format: typeof ATTEMPT_FORMAT;
  /** The name of the attempt before it. */
  readonly previous?: string;
}

/** Raised if older code would misread an attempt. */
export const ATTEMPT_FORMAT = 1;

/** Number of failed attempts that are kept for each portal; as many as {@linkcode SURPLUS} more are stored. */
const MAX_KEPT = 50;
/** Number of failed attempts after which older ones are deleted. */
const SURPLUS = 10;

const MAX_MESSAGE_LENGTH = 500;

/**
 * Records a failed attempt with the next write of the portal's record. Does nothing if the portal is blocked on the same as
 * before: it is tried again and again, which would displace everything else.
 */
export async function stageFailedAttempt(
  storage: Storage,
  lease: Pick<PortalLease, "record" | "stage">,
  attempt: Omit<FailedAttempt, "generation">,
): Promise<void> {
  const record = lease.record();
  if (attempt.blockedOn !== undefined && attempt.blockedOn === record.blocked?.on) return;
  await deleteOldAttempts(storage, record);
  lease.stage((record) => withFailedAttempt(record, attempt));
}

/** Returns the change that records a failed attempt. */
export function withFailedAttempt(record: PortalRecord, attempt: Omit<FailedAttempt, "generation">): RecordChange {
  const { memberId, generation, lastAttempt: previous, fencingToken = 0 } = record;
  const name = `${String(numberIn(previous) + 1).padStart(8, "0")}-${fencingToken}`;
  const value: StoredAttempt = {
    ...{ format: ATTEMPT_FORMAT, ...defined({ previous }), generation },
    ...{ ...attempt, message: storedText(attempt.message, MAX_MESSAGE_LENGTH) },
  };
  return { record: { ...record, lastAttempt: name }, before: [{ put: attemptKey(memberId, name), value }] };
}

/** Returns the number in the name of an attempt: attempts of a portal are numbered from 1. */
function numberIn(name: string | undefined): number {
  return name === undefined ? 0 : Number(name.split("-")[0]);
}

/**
 * Returns the last 50 failed attempts of a portal, the latest first.
 *
 * @throws {FormatError} if newer code wrote one of them
 */
export async function listFailedAttempts(
  storage: Storage,
  { memberId, lastAttempt }: PortalRecord,
): Promise<FailedAttempt[]> {
  const attempts: FailedAttempt[] = [];
  if (lastAttempt === undefined) return attempts;
  const stored = new Map<string, StoredAttempt>();
  for await (const entry of storage.list<StoredAttempt>(attemptPrefix(memberId))) {
    stored.set(entry.key.at(-1)!, attemptOf(entry));
  }
  for (let next = stored.get(lastAttempt); next !== undefined && attempts.length < MAX_KEPT;) {
    const { format: _, previous, ...attempt } = next;
    attempts.push(attempt);
    next = previous === undefined ? undefined : stored.get(previous);
  }
  return attempts;
}

/** @throws {FormatError} if newer code wrote the attempt */
function attemptOf({ key, value }: Entry<StoredAttempt>): StoredAttempt {
  if (value.format === ATTEMPT_FORMAT) return value;
  throw new FormatError(`attempt ${key.slice(1).join(" ")}`, value.format, ATTEMPT_FORMAT);
}

/** Deletes the failed attempts of a portal that are too many, after every tenth one; reads nothing after the others. */
async function deleteOldAttempts(storage: Storage, { memberId, lastAttempt }: PortalRecord): Promise<void> {
  const last = numberIn(lastAttempt);
  if (last <= MAX_KEPT || last % SURPLUS !== 0) return;
  for await (const key of listKeys(storage, attemptPrefix(memberId))) {
    if (numberIn(key.at(-1)) > last - MAX_KEPT) break;
    await storage.delete(key);
  }
}

/** Deletes all failed attempts of a portal. */
export async function deleteAttempts(storage: Storage, memberId: string): Promise<void> {
  for await (const key of listKeys(storage, attemptPrefix(memberId))) await storage.delete(key);
}
