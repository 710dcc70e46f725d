/**
 * The credentials of a portal: its token pairs under a key of their own. The portal's record has a summary of them, and the
 * pairs that events brought to a process that did not have the credentials in memory. An opened record has all pairs instead,
 * as if they were stored in it; `record_store.ts` opens records before they are changed, and closes them before they are
 * written.
 */
import { defined } from "../defined.ts";
import type { Entry, Storage, WriteOperation } from "../storage/storage.ts";
import { withApplicationToken, withTokens } from "./identity.ts";
import { credentialsKey, portalKey } from "./keys.ts";
import type { PortalRecord } from "./record.ts";
import {
  assertReadableCredentials,
  CREDENTIALS_FORMAT,
  type CredentialsSummary,
  type StoredCredentials,
  summaryOf,
} from "./stored_credentials.ts";

/** The credentials of a portal as they are stored; `null` if there are none. */
export type CredentialsEntry = Entry<StoredCredentials> | null;

/** Maximum number of portals whose credentials a process has in memory. Those used first are forgotten for others. */
const MAX_KNOWN = 10_000;

/** The credentials that this process has read or written last, by storage and portal. */
const knownByStorage = new WeakMap<Storage, Map<string, Entry<StoredCredentials>>>();

function knownOn(storage: Storage): Map<string, Entry<StoredCredentials>> {
  const known = knownByStorage.get(storage) ?? new Map<string, Entry<StoredCredentials>>();
  knownByStorage.set(storage, known);
  return known;
}

/** Remembers the credentials of a portal that were read or written; `null` if there are none, or it is not known which. */
export function rememberCredentials(storage: Storage, memberId: string, entry: CredentialsEntry): void {
  const known = knownOn(storage);
  known.delete(memberId);
  if (entry === null) return;
  const [first] = known.keys();
  if (first !== undefined && known.size >= MAX_KNOWN) known.delete(first);
  known.set(memberId, entry);
}

/**
 * Returns the credentials that belong to a record as far as this process knows, `null` if there are none as far as it knows;
 * `undefined` if they have to be read. Another process may have refreshed a pair since: a compare-and-set finds out.
 */
export function knownCredentials(storage: Storage, record: PortalRecord | undefined): CredentialsEntry | undefined {
  if (record === undefined) return null;
  const known = knownOn(storage).get(record.memberId);
  if (known === undefined) return record.credentials === undefined ? null : undefined;
  return belongTo(record, known.value) ? known : undefined;
}

/**
 * Reads the credentials of a portal, and remembers them.
 *
 * @throws {FormatError} if newer code wrote them
 */
export async function readCredentials(storage: Storage, memberId: string): Promise<CredentialsEntry> {
  const entry = await storage.get<StoredCredentials>(credentialsKey(memberId));
  assertReadableCredentials(entry);
  rememberCredentials(storage, memberId, entry);
  return entry;
}

/** Starts reading the credentials of a portal, which will soon be needed, unless they are in memory. Never rejects. */
export function prefetchCredentials(storage: Storage, record: PortalRecord): void {
  if (knownCredentials(storage, record) === undefined) readCredentials(storage, record.memberId).catch(() => {});
}

/**
 * Reads the record of a portal, unless it is `known`, and its credentials. If they do not belong together, others write them:
 * then both are read until they do, or until neither changes. Resolves to both.
 *
 * @throws {FormatError} if newer code wrote the credentials
 */
export async function readWithCredentials(
  storage: Storage,
  memberId: string,
  known: Entry<PortalRecord> | null | undefined,
): Promise<readonly [Entry<PortalRecord> | null, CredentialsEntry]> {
  const read = (): Promise<Entry<PortalRecord> | null> => storage.get<PortalRecord>(portalKey(memberId));
  let [entry, credentials] = await Promise.all([
    known === undefined ? read() : known,
    readCredentials(storage, memberId),
  ]);
  while (!isPair(entry, credentials)) {
    const before = [entry?.version, credentials?.version];
    [entry, credentials] = await Promise.all([read(), readCredentials(storage, memberId)]);
    if (before[0] === entry?.version && before[1] === credentials?.version) break;
  }
  return [entry, credentials];
}

function isPair(entry: Entry<PortalRecord> | null, credentials: CredentialsEntry): boolean {
  if (credentials === null) return entry?.value.credentials === undefined;
  return entry !== null && belongTo(entry.value, credentials.value);
}

/** Returns whether credentials are those that the record names, or later ones of the same installation. */
function belongTo({ credentials: named }: PortalRecord, { generation, sequence }: StoredCredentials): boolean {
  return named !== undefined && generation === named.generation && sequence >= named.sequence;
}

/** The opened record of a stored one, by what it was opened with: the same each time, for records are compared. */
const lastOpened = new WeakMap<
  PortalRecord,
  { readonly credentials: CredentialsEntry; readonly opened: PortalRecord }
>();

/**
 * Returns the record with all pairs of the portal; the record itself if `credentials` are `undefined`, because nobody has read
 * them. Those that the record does not name are not believed.
 */
export function openRecord(record: PortalRecord, credentials: CredentialsEntry | undefined): PortalRecord {
  if (credentials === undefined || record.credentials === undefined) return record;
  const last = lastOpened.get(record);
  if (last?.credentials === credentials) return last.opened;
  const { tokens: added = [] } = record;
  const believed = credentials !== null && belongTo(record, credentials.value) ? credentials.value : undefined;
  const { tokens, refreshing, proved, sequence = 0 } = believed ?? {};
  let opened: PortalRecord = Object.assign(withoutPairs(record), defined({ tokens, refreshing }));
  // A crash came before the record.
  if (proved !== undefined && sequence > record.credentials.sequence) {
    opened = withApplicationToken(opened, proved.digest, proved.ts, proved.ts * 1000);
  }
  // In the order of their arrival, as if they had been added then.
  for (const pair of added) opened = withTokens(opened, pair, pair.ts * 1000);
  lastOpened.set(record, { credentials, opened });
  return opened;
}

/** Returns the record with all pairs of the portal if this process has them in memory; otherwise the record itself. */
export function openKnown(storage: Storage, record: PortalRecord): PortalRecord {
  return openRecord(record, knownCredentials(storage, record));
}

/** A record to store, and what is written with it. */
export interface ClosedRecord {
  /** The stored record itself if it is not written. */
  readonly record: PortalRecord;
  /** Written before the record. */
  readonly put?: Extract<WriteOperation, { readonly put: unknown }> & { readonly value: StoredCredentials };
  /** Written after the record, which no longer names the credentials. */
  readonly delete?: WriteOperation;
}

/**
 * Returns a changed record as it is to be stored. `stored`: the record before, which was opened with `credentials`.
 * `isTouched`: more than pairs has changed, so that the record is written. Returns `undefined` if the credentials must be read
 * first: the record no longer names them.
 */
export function closeRecord(
  next: PortalRecord,
  stored: PortalRecord | undefined,
  credentials: CredentialsEntry | undefined,
  isTouched: boolean,
): ClosedRecord | undefined {
  if (credentials === undefined) return next.credentials === undefined ? undefined : { record: next };
  const { tokens, refreshing, memberId, status, generation } = next;
  const rest = withoutPairs(next);
  if (status === "uninstalled" || tokens === undefined) return { record: rest, ...deletion(memberId, credentials) };
  const opened = stored && openRecord(stored, credentials);
  const isSame = stored?.credentials !== undefined && stored.tokens === undefined &&
    opened!.tokens === tokens && opened!.refreshing === refreshing && stored.credentials.generation === generation;
  if (isSame) return { record: isTouched ? Object.assign(rest, { credentials: stored.credentials }) : stored };
  const sequence = Math.max(credentials?.value.sequence ?? 0, stored?.credentials?.sequence ?? 0) + 1;
  const value: StoredCredentials = {
    ...{ format: CREDENTIALS_FORMAT, generation, sequence, tokens },
    ...defined({ refreshing, proved: provedBy(stored, next) }),
  };
  const summary = summaryOf(value, next.scope)!;
  const put = { put: credentialsKey(memberId), value, ifVersion: credentials?.version ?? null };
  // Otherwise the record must be written: others may be about to make it name what is replaced here.
  const isKept = !isTouched && credentials !== null && stored !== undefined && belongTo(stored, credentials.value) &&
    stored.tokens === undefined && isSameSummary(stored.credentials, summary);
  return { record: isKept ? stored : Object.assign(rest, { credentials: summary }), put };
}

/** Returns the application_token that a change proves. */
function provedBy(
  stored: PortalRecord | undefined,
  { applicationToken, applicationTokenTs: ts }: PortalRecord,
): StoredCredentials["proved"] {
  const digest = applicationToken?.current;
  const isNew = digest !== stored?.applicationToken?.current;
  return digest === undefined || ts === undefined || !isNew ? undefined : { digest, ts };
}

function deletion(memberId: string, credentials: CredentialsEntry): Pick<ClosedRecord, "delete"> {
  return credentials === null ? {} : { delete: { delete: credentialsKey(memberId), ifVersion: credentials.version } };
}

/** Returns whether two summaries say the same, so that a refresh does not write the record. */
function isSameSummary(a: CredentialsSummary | undefined, b: CredentialsSummary): boolean {
  if (a === undefined) return false;
  const told = ({ sequence: _, expiresAt, ...rest }: CredentialsSummary): string =>
    JSON.stringify([rest.generation, rest.isRefreshable ?? expiresAt, rest.pending, rest.scope]);
  return told(a) === told(b);
}

/** Returns whether a change of an opened record changes more than its pairs, or writes it for the sake of writing. */
export function changesRecord(before: PortalRecord | undefined, after: PortalRecord): boolean {
  if (before === undefined) return true;
  const hasSamePairs = before.tokens === after.tokens && before.refreshing === after.refreshing;
  return before !== after && (hasSamePairs || differsBesidesPairs(before, after));
}

/** Compares field by field: fields that did not change are the same objects. */
export function differsBesidesPairs(before: PortalRecord, after: PortalRecord): boolean {
  let fields = 0;
  for (const name in before) {
    if (isPairField(name)) continue;
    fields++;
    if (before[name as keyof PortalRecord] !== after[name as keyof PortalRecord]) return true;
  }
  for (const name in after) if (!isPairField(name)) fields--;
  return fields !== 0;
}

/** Returns whether a field differs between a stored record and an opened one. */
function isPairField(name: string): boolean {
  return name === "tokens" || name === "refreshing" || name === "credentials";
}

/** Returns a copy of a record without these fields. Each event needs some: this costs less than a rest pattern. */
function withoutPairs(record: PortalRecord): PortalRecord {
  const copy: Record<string, unknown> = {};
  for (const name in record) if (!isPairField(name)) copy[name] = record[name as keyof PortalRecord];
  return copy as unknown as PortalRecord;
}
