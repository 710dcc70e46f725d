/** Changes of portals' records: what they are, and how several are made one ordered write. */
import { encodeKey } from "../storage/key.ts";
import type { Entry, Key, WriteOperation } from "../storage/storage.ts";
import {
  changesRecord,
  type ClosedRecord,
  closeRecord,
  type CredentialsEntry,
  differsBesidesPairs,
  openRecord,
} from "./credentials_record.ts";
import { CREDENTIALS, DELIVERIES, portalKey, SCHEDULE } from "./keys.ts";
import { indexed } from "./portal_index.ts";
import { type PortalRecord, readRecord } from "./record.ts";

/** A changed record, and what is written with it. The record is opened or not, as it was passed to the change. */
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

/** What a change of a record implies. */
export interface ImpliedChange extends RecordChange {
  /** Called once it is stored. */
  readonly onStored?: () => void;
}

/** Returns what a write of a record implies, from what is stored and what is to be; `undefined` if nothing. Has no effects. */
export type Imply = (before: PortalRecord | undefined, after: PortalRecord) => ImpliedChange | undefined;

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

/** A portal as it is stored. */
export interface CurrentPortal {
  readonly entry: Entry<PortalRecord> | null;
  /** `undefined` if nobody has read them. */
  readonly credentials: CredentialsEntry | undefined;
  /** The record is written even if no caller changes it. */
  readonly mustWrite?: boolean;
}

/** An operation of an ordered write, and its caller; `undefined` for the record and what the store writes with it. */
type OwnedOperation<Caller> = readonly [WriteOperation, Caller | undefined];

/** The changes of several callers: the record, and what is written before and after it. */
export interface Changed<Caller> {
  readonly record: PortalRecord;
  /** Whether the record is written, and not only its credentials. */
  readonly isWritten: boolean;
  readonly credentials: Pick<ClosedRecord, "put" | "delete">;
  readonly before: Iterable<OwnedOperation<Caller>>;
  readonly after: Iterable<OwnedOperation<Caller>>;
  readonly onStored: (() => void) | undefined;
}

/**
 * Applies the changes one after the other. Returns `undefined` if there is nothing to write, and `"unread"` if the credentials
 * must be read first.
 */
export function compose<Caller extends { readonly change: ChangeRecord; readonly reject: (error: unknown) => void }>(
  { entry, credentials, mustWrite = false }: CurrentPortal,
  callers: Set<Caller>,
  imply: Imply | undefined,
): Changed<Caller> | "unread" | undefined {
  // A later change decides about a key: what it deletes must not be put, and the other way round.
  const before = new Map<string, OwnedOperation<Caller>>();
  const after = new Map<string, OwnedOperation<Caller>>();
  const stored = readRecord(entry);
  const opened = stored && openRecord(stored, credentials);
  let record = opened;
  let isChanged = mustWrite;
  let isTouched = mustWrite;
  const apply = (change: RecordChange, caller: Caller | undefined): void => {
    for (const [operations, own, other] of [[change.before, before, after], [change.after, after, before]] as const) {
      for (const operation of operations ?? []) {
        const encoded = encodeKey(keyOf(operation));
        other.delete(encoded);
        own.set(encoded, [operation, caller]);
      }
    }
    isChanged ||= change.record !== record;
    isTouched ||= changesRecord(record, change.record);
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
  const hasOthers = before.size > 0 || after.size > 0;
  if (record === undefined || (!isChanged && !hasOthers)) return undefined;
  isTouched ||= hasOthers || (stored !== undefined && differsBesidesPairs(stored, opened!));
  const closed = closeRecord(record, stored, credentials, isTouched);
  if (closed === undefined) return "unread";
  record = closed.record;
  const implied = imply?.(stored, record);
  if (implied !== undefined) apply(implied, undefined);
  return {
    ...{ record, isWritten: isTouched || record !== stored, credentials: closed },
    ...{ before: before.values(), after: after.values(), onStored: implied?.onStored },
  };
}

/** The changes of several callers as one ordered write. */
export interface Composed<Caller> {
  readonly record: PortalRecord;
  readonly operations: readonly WriteOperation[];
  /** The caller of each operation; `undefined` for the record, its index entries and its credentials. */
  readonly owners: readonly (Caller | undefined)[];
  /** Index of the record; absent if only its credentials are written. */
  readonly recordAt?: number;
  /** Index of the operation on the credentials; absent if they are not written. */
  readonly credentialsAt?: number;
}

/** Returns the operations on the record, its index entries, and all that is written with it, in order. */
export async function withRecord<Caller>(
  entry: Entry<PortalRecord> | null,
  { record: changed, isWritten, credentials, before: own, after }: Changed<Caller>,
): Promise<Composed<Caller>> {
  const { record, added, removed } = isWritten ? await indexed(changed) : { record: changed, added: [], removed: [] };
  const unowned = (operation: WriteOperation): OwnedOperation<Caller> => [operation, undefined];
  const before = [...own, ...added.map(unowned)];
  if (credentials.put !== undefined) {
    const isFirst = ([operation]: OwnedOperation<Caller>): boolean => BEFORE_CREDENTIALS.includes(keyOf(operation)[0]!);
    before.splice(before.findLastIndex(isFirst) + 1, 0, unowned(credentials.put));
  }
  const key = portalKey(record.memberId);
  const put = isWritten ? [unowned({ put: key, value: record, ifVersion: entry?.version ?? null })] : [];
  const deletion = credentials.delete === undefined ? [] : [unowned(credentials.delete)];
  const all = [...before, ...put, ...deletion, ...after, ...removed.map(unowned)];
  const operations = all.map(([operation]) => operation);
  const credentialsAt = operations.findIndex((operation) => keyOf(operation)[0] === CREDENTIALS[0]);
  return {
    ...{ record, operations, owners: all.map(([, caller]) => caller) },
    ...(isWritten ? { recordAt: before.length } : {}),
    ...(credentialsAt === -1 ? {} : { credentialsAt }),
  };
}

/** What is written before credentials: a crash after them leaves an entry of the schedule. */
const BEFORE_CREDENTIALS: readonly string[] = [SCHEDULE[0], DELIVERIES[0]];

/** Returns the key of an operation. */
export function keyOf(operation: WriteOperation): Key {
  return "put" in operation ? operation.put : operation.delete;
}
