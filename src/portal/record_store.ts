/**
 * The one way to write a portal's record: by compare-and-set, in one ordered write with what belongs to it. Changes of one
 * portal that come while this process writes its record are written together by the next write.
 */
import { StorageError, UnknownPortalError } from "../errors.ts";
import type { Entry, Key, Storage, WriteResult } from "../storage/storage.ts";
import { writeInOrder } from "../storage/write.ts";
import {
  type CredentialsEntry,
  knownCredentials,
  openRecord,
  readWithCredentials,
  rememberCredentials,
} from "./credentials_record.ts";
import { portalKey } from "./keys.ts";
import { type PortalRecord, readRecord } from "./record.ts";
import {
  type ChangeRecord,
  compose,
  type Composed,
  type CurrentPortal,
  type Imply,
  keyOf,
  withRecord,
} from "./record_change.ts";
import type { StoredCredentials } from "./stored_credentials.ts";
import { noteIndexed } from "./totals.ts";

export { type ChangeRecord, type ImpliedChange, inOrder, type RecordChange } from "./record_change.ts";

/**
 * An operation in {@linkcode RecordChange.before} has a condition that does not hold, also if an attempt of the same call
 * applied the operation and the record was refused then. The record does not have the change, and nothing in
 * {@linkcode RecordChange.after} is applied. Operations of the change that come before the refused one may be applied.
 */
export class ConditionError extends StorageError {
  constructor(key: Key) {
    super(`cannot write ${JSON.stringify(key)}: its condition does not hold`);
  }
}

const impliedByStorage = new WeakMap<Storage, Imply>();

/** Adds what it implies to each write of a record through `storage`, an object that each app has its own of. */
export function implyOn(storage: Storage, imply: Imply): void {
  impliedByStorage.set(storage, imply);
}

/**
 * Whether a change needs the opened record: `"opened"`: with credentials that this process has in memory, or reads; `"reread"`:
 * with those that are stored now, as far as it decides without a write; `"unopened"`: pairs that it adds can stay in the record
 * until the next other write, so that only the record is written. Otherwise the record is opened if it costs no read.
 */
export type CredentialsNeed = "opened" | "reread" | "unopened" | undefined;

/** The need of several changes is the first of these that one of them has. */
const NEEDS: readonly CredentialsNeed[] = ["reread", "opened", undefined, "unopened"];

/**
 * Changes the record of a portal. `known` is the record if the caller has read it, which saves a read. It may be stale.
 * Resolves to the record as it is stored afterwards, with what other changes wrote at the same time.
 *
 * @throws {ConditionError} if the condition of an operation in `before` of this change does not hold: the record does not
 *   have the change, and operations before the refused one may be applied
 * @throws {StorageError} if the storage fails: the change may be stored nevertheless
 * @throws the error of `change`
 */
export function writeRecord(
  storage: Storage,
  memberId: string,
  change: ChangeRecord,
  known?: Entry<PortalRecord> | null,
  need?: CredentialsNeed,
): Promise<Entry<PortalRecord> | null> {
  const queues = queuesOf(storage);
  return new Promise((resolve, reject) => {
    const caller: Caller = { change, known, need, resolve, reject };
    const queue = queues.get(memberId);
    if (queue !== undefined) return void queue.push(caller);
    queues.set(memberId, []);
    void writeAll(storage, memberId, caller);
  });
}

/** @throws {UnknownPortalError} if the portal is not stored */
export async function loadPortal(storage: Storage, memberId: string): Promise<PortalRecord> {
  const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
  if (record === undefined) throw new UnknownPortalError(memberId);
  return record;
}

/**
 * Reads the record of a portal with all its token pairs.
 *
 * @throws {UnknownPortalError} if the portal is not stored
 */
export async function loadOpened(storage: Storage, memberId: string): Promise<PortalRecord> {
  const [entry, credentials] = await readWithCredentials(storage, memberId, undefined);
  const record = readRecord(entry);
  if (record === undefined) throw new UnknownPortalError(memberId);
  return openRecord(record, credentials);
}

/**
 * Applies `change`, which may run several times, to the opened record. If it changes only token pairs, the record is not
 * written.
 *
 * @throws {UnknownPortalError} if the portal is not stored
 */
export async function changePortal(
  storage: Storage,
  memberId: string,
  change: (record: PortalRecord) => PortalRecord,
): Promise<void> {
  const known = undefined;
  await writeRecord(
    storage,
    memberId,
    (record) => {
      if (record === undefined) throw new UnknownPortalError(memberId);
      return { record: change(record) };
    },
    known,
    "reread",
  );
}

/** A caller of {@linkcode writeRecord} that waits. */
interface Caller {
  readonly change: ChangeRecord;
  readonly known: Entry<PortalRecord> | null | undefined;
  readonly need: CredentialsNeed;
  readonly resolve: (entry: Entry<PortalRecord> | null) => void;
  readonly reject: (error: unknown) => void;
}

/** Maximum number of changes in one write. */
const MAX_TOGETHER = 64;

/** Each refused write means that another process succeeded, so this many in a row mean a broken storage. */
const MAX_ATTEMPTS = 100;

/** The callers of each portal that wait for the write under way, by storage. */
const queuesByStorage = new WeakMap<Storage, Map<string, Caller[]>>();

function queuesOf(storage: Storage): Map<string, Caller[]> {
  const queues = queuesByStorage.get(storage) ?? new Map<string, Caller[]>();
  queuesByStorage.set(storage, queues);
  return queues;
}

/** Writes for the first caller, then for those that have come meanwhile, until none is left. Never rejects. */
async function writeAll(storage: Storage, memberId: string, first: Caller): Promise<void> {
  const queues = queuesOf(storage);
  const queue = queues.get(memberId)!;
  let callers = [first];
  let known = first.known;
  while (callers.length > 0) {
    const waiting = new Set(callers);
    try {
      known = await writeTogether(storage, memberId, waiting, known);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
      known = undefined;
    }
    callers = queue.splice(0, MAX_TOGETHER);
  }
  queues.delete(memberId);
}

/**
 * Writes the changes of all callers at once. Callers that cannot be served are rejected, and removed from the set. Resolves to
 * the record for the next write; `undefined` if only `known` says what it is: the callers that come next have not read that.
 */
async function writeTogether(
  storage: Storage,
  memberId: string,
  callers: Set<Caller>,
  known: Entry<PortalRecord> | null | undefined,
): Promise<Entry<PortalRecord> | null | undefined> {
  const needs = [...callers].map(({ need }) => need);
  const need = NEEDS.find((one) => needs.includes(one));
  let current = await readPortal(storage, memberId, known, need);
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const { entry, credentials } = current;
    const isUnread = credentials === undefined && need === "opened";
    const changed = isUnread ? "unread" : compose(current, callers, impliedByStorage.get(storage));
    if (changed === "unread") {
      current = await readPortal(storage, memberId, entry, "reread");
      continue;
    }
    const composed = changed && await withRecord(entry, changed);
    const result = composed === undefined ? undefined : await writeComposed(storage, memberId, composed);
    if (composed === undefined || result?.ok) {
      const after = composed === undefined || !result?.ok ? entry : stored(storage, entry, composed, result.versions);
      if (result?.ok) changed!.onStored?.();
      for (const { resolve } of callers) resolve(after);
      return after === known ? undefined : after;
    }
    const refused = composed.owners[result!.failedAt];
    if (refused === undefined) {
      current = await readAgain(storage, memberId, composed, need);
      continue;
    }
    callers.delete(refused);
    refused.reject(new ConditionError(keyOf(composed.operations[result!.failedAt]!)));
  }
  throw new StorageError(
    `cannot write ${JSON.stringify(portalKey(memberId))}: ${storage.name} refused ${MAX_ATTEMPTS} writes in a row`,
  );
}

/** Reads the record of a portal, unless it is `known`, and its credentials if they are needed. */
async function readPortal(
  storage: Storage,
  memberId: string,
  known: Entry<PortalRecord> | null | undefined,
  need: CredentialsNeed,
): Promise<CurrentPortal> {
  if (need === "reread") {
    const [entry, credentials] = await readWithCredentials(storage, memberId, known);
    return { entry, credentials };
  }
  const entry = known === undefined ? await storage.get<PortalRecord>(portalKey(memberId)) : known;
  const record = readRecord(entry);
  const staysClosed = need === "unopened" && record?.credentials !== undefined;
  return { entry, credentials: staysClosed ? undefined : knownCredentials(storage, record) };
}

/** Reads a portal after a refused write. Credentials of a removed portal that the write may have left are deleted by the next. */
async function readAgain(
  storage: Storage,
  memberId: string,
  { credentialsAt }: Composed<Caller>,
  need: CredentialsNeed,
): Promise<CurrentPortal> {
  const isAboutCredentials = credentialsAt !== undefined;
  const current = await readPortal(storage, memberId, undefined, isAboutCredentials ? "reread" : need);
  const isRemoved = readRecord(current.entry)?.status === "uninstalled";
  const isLeft = current.credentials !== undefined && current.credentials !== null;
  return { ...current, mustWrite: isAboutCredentials && isRemoved && isLeft };
}

/** Writes the operations, and remembers the credentials that were written. */
async function writeComposed(
  storage: Storage,
  memberId: string,
  { operations, credentialsAt }: Composed<Caller>,
): Promise<WriteResult> {
  let written: CredentialsEntry = null;
  try {
    const result = await writeInOrder(storage, operations);
    const operation = credentialsAt === undefined ? undefined : operations[credentialsAt]!;
    if (result.ok && operation !== undefined && "put" in operation) {
      const version = result.versions[credentialsAt!]!;
      written = { key: operation.put, value: operation.value as StoredCredentials, version };
    }
    return result;
  } finally {
    // After a failure, only a read shows what is stored.
    if (credentialsAt !== undefined) rememberCredentials(storage, memberId, written);
  }
}

/** Returns the record after a write. */
function stored(
  storage: Storage,
  before: Entry<PortalRecord> | null,
  { record, recordAt }: Composed<Caller>,
  versions: readonly (string | undefined)[],
): Entry<PortalRecord> | null {
  if (recordAt === undefined) return before;
  noteIndexed(storage, record.memberId, before?.value.indexedAs, record.indexedAs);
  return { key: portalKey(record.memberId), value: record, version: versions[recordAt]! };
}
