/**
 * The one way to write a portal's record: by compare-and-set, in one ordered write with what belongs to it. Changes of one
 * portal that come while this process writes its record are written together by the next write.
 */
import { StorageError, UnknownPortalError } from "../errors.ts";
import { encodeKey } from "../storage/key.ts";
import type { Entry, Key, Storage, WriteOperation } from "../storage/storage.ts";
import { writeInOrder } from "../storage/write.ts";
import { portalKey } from "./keys.ts";
import { indexed } from "./portal_index.ts";
import { type PortalRecord, readRecord } from "./record.ts";
import { noteIndexed } from "./totals.ts";

/** A changed record, and what is written with it. */
export interface RecordChange {
  readonly record: PortalRecord;
  /** Written before the record: what it refers to. A crash in between leaves entries that no record names. */
  readonly before?: readonly WriteOperation[];
  /** Written after the record: what it no longer refers to. Without conditions, which would come too late. */
  readonly after?: readonly WriteOperation[];
}

/**
 * Returns the change; `undefined` if there is nothing to write. May be called several times, so it must have no effects. The
 * record is `undefined` if the portal is not stored.
 */
export type ChangeRecord = (record: PortalRecord | undefined) => RecordChange | undefined;

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

/** What a change of a record implies. */
export interface ImpliedChange extends RecordChange {
  /** Called once it is stored. */
  readonly onStored?: () => void;
}

/** Returns what a write of a record implies, from what is stored and what is to be; `undefined` if nothing. Has no effects. */
export type Imply = (before: PortalRecord | undefined, after: PortalRecord) => ImpliedChange | undefined;

const impliedByStorage = new WeakMap<Storage, Imply>();

/** Adds what it implies to each write of a record through `storage`, an object that each app has its own of. */
export function implyOn(storage: Storage, imply: Imply): void {
  impliedByStorage.set(storage, imply);
}

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
): Promise<Entry<PortalRecord> | null> {
  const queues = queuesOf(storage);
  return new Promise((resolve, reject) => {
    const caller: Caller = { change, known, resolve, reject };
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
 * Applies `change`, which may run several times, and resolves to the changed record.
 *
 * @throws {UnknownPortalError} if the portal is not stored
 */
export async function changePortal(
  storage: Storage,
  memberId: string,
  change: (record: PortalRecord) => PortalRecord,
): Promise<PortalRecord> {
  const written = await writeRecord(storage, memberId, (record) => {
    if (record === undefined) throw new UnknownPortalError(memberId);
    return { record: change(record) };
  });
  return written!.value;
}

/** Returns several changes as one; `undefined` if none of them changes anything. */
export function inOrder(
  record: PortalRecord,
  changes: readonly ((record: PortalRecord) => RecordChange | undefined)[],
): RecordChange | undefined {
  const composed: Required<Mutable<RecordChange>> = { record, before: [], after: [] };
  let isChanged = false;
  for (const change of changes) {
    const next = change(composed.record);
    if (next === undefined) continue;
    isChanged = true;
    composed.record = next.record;
    composed.before = [...composed.before, ...next.before ?? []];
    composed.after = [...composed.after, ...next.after ?? []];
  }
  return isChanged ? composed : undefined;
}

type Mutable<T> = { -readonly [Member in keyof T]: T[Member] };

/** A caller of {@linkcode writeRecord} that waits. */
interface Caller {
  readonly change: ChangeRecord;
  readonly known: Entry<PortalRecord> | null | undefined;
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
      known = await writeTogether(storage, portalKey(memberId), waiting, known);
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
  key: Key,
  callers: Set<Caller>,
  known: Entry<PortalRecord> | null | undefined,
): Promise<Entry<PortalRecord> | null | undefined> {
  let entry = known === undefined ? await storage.get<PortalRecord>(key) : known;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const changed = compose(entry, callers, impliedByStorage.get(storage));
    const composed = changed && await withRecord(key, entry, changed);
    const result = composed === undefined ? undefined : await writeInOrder(storage, composed.operations);
    if (composed === undefined || result?.ok) {
      if (composed !== undefined && result?.ok) {
        const { record } = composed;
        noteIndexed(storage, record.memberId, entry?.value.indexedAs, record.indexedAs);
        entry = { key, value: record, version: result.versions[composed.recordAt]! };
      }
      if (result?.ok) changed!.onStored?.();
      for (const { resolve } of callers) resolve(entry);
      return entry === known ? undefined : entry;
    }
    const refused = composed.owners[result!.failedAt];
    if (refused === undefined) {
      entry = await storage.get<PortalRecord>(key);
      continue;
    }
    callers.delete(refused);
    refused.reject(new ConditionError(keyOf(composed.operations[result!.failedAt]!)));
  }
  throw new StorageError(
    `cannot write ${JSON.stringify(key)}: ${storage.name} refused ${MAX_ATTEMPTS} writes in a row`,
  );
}

/** The changes of several callers as one ordered write. */
interface Composed {
  readonly record: PortalRecord;
  readonly operations: readonly WriteOperation[];
  /** The caller of each operation; `undefined` for the record and its index entries. */
  readonly owners: readonly (Caller | undefined)[];
  /** Index of the record. */
  readonly recordAt: number;
}

/** An operation of an ordered write, and its caller. */
type OwnedOperation = readonly [WriteOperation, Caller | undefined];

/** The changes of several callers: the record, and what is written before and after it. */
interface Changed {
  readonly record: PortalRecord;
  readonly before: Iterable<OwnedOperation>;
  readonly after: Iterable<OwnedOperation>;
  readonly onStored: (() => void) | undefined;
}

/** Applies the changes one after the other; `undefined` if there is nothing to write. */
function compose(
  entry: Entry<PortalRecord> | null,
  callers: Set<Caller>,
  imply: Imply | undefined,
): Changed | undefined {
  // A later change decides about a key: what it deletes must not be put, and the other way round.
  const before = new Map<string, OwnedOperation>();
  const after = new Map<string, OwnedOperation>();
  const stored = readRecord(entry);
  let record = stored;
  let isChanged = false;
  const apply = (change: RecordChange, caller: Caller | undefined): void => {
    for (const [operations, own, other] of [[change.before, before, after], [change.after, after, before]] as const) {
      for (const operation of operations ?? []) {
        const encoded = encodeKey(keyOf(operation));
        other.delete(encoded);
        own.set(encoded, [operation, caller]);
      }
    }
    isChanged ||= change.record !== record;
    record = change.record;
  };
  for (const caller of callers) {
    try {
      const change = caller.change(record);
      if (change !== undefined) apply(change, caller);
    } catch (error) {
      callers.delete(caller);
      caller.reject(error);
    }
  }
  if (record === undefined || (!isChanged && before.size === 0 && after.size === 0)) return undefined;
  const implied = imply?.(stored, record);
  if (implied !== undefined) apply(implied, undefined);
  return { record, before: before.values(), after: after.values(), onStored: implied?.onStored };
}

/** Returns the operations on the record, its index entries, and all that is written with it, in order. */
async function withRecord(key: Key, entry: Entry<PortalRecord> | null, changed: Changed): Promise<Composed> {
  const { record, added, removed } = await indexed(changed.record);
  const own = (operation: WriteOperation): OwnedOperation => [operation, undefined];
  const before = [...changed.before, ...added.map(own)];
  const put = own({ put: key, value: record, ifVersion: entry?.version ?? null });
  const all = [...before, put, ...changed.after, ...removed.map(own)];
  return {
    record,
    operations: all.map(([operation]) => operation),
    owners: all.map(([, caller]) => caller),
    recordAt: before.length,
  };
}

function keyOf(operation: WriteOperation): Key {
  return "put" in operation ? operation.put : operation.delete;
}
