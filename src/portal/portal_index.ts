/**
 * The index: portals by state, version, domain, block and failed upgrade, so that the cost of a list depends on what it shows,
 * not on the number of portals.
 *
 * The record names the entries of its portal. New entries are written before the record, and old ones are deleted after it.
 * So a crash leaves superfluous entries and no missing one: whoever reads an entry asks the record whether it names it.
 */
import { defined } from "../defined.ts";
import { digest } from "../net/digest.ts";
import type { Key, WriteOperation } from "../storage/storage.ts";
import { indexKey, type IndexKind, indexPrefix } from "./keys.ts";
import { blockOf, type IndexedAs, type PortalRecord, portalState } from "./record.ts";

/** All kinds of index entries. */
export const INDEX_KINDS: readonly IndexKind[] = ["state", "version", "domain", "blocked", "failure", "fingerprint"];

/** A record that names its index entries, and the operations on those that have changed. */
export interface Indexed {
  readonly record: PortalRecord;
  /** Puts the new entries. To be written before the record. */
  readonly added: readonly WriteOperation[];
  /** Deletes the old entries. To be written after the record. */
  readonly removed: readonly WriteOperation[];
}

/**
 * Indexes a record that is about to be written. While a portal is leased it stays indexed as it was before, so that a run of
 * many writes changes its entries once, with the release.
 */
export async function indexed(record: PortalRecord): Promise<Indexed> {
  const { memberId, lease, indexedAs: before } = record;
  const after = lease !== undefined && before !== undefined ? before : indexValues(record);
  if (isIndexedAs(before, after)) return { record, added: [], removed: [] };
  const added: WriteOperation[] = [];
  const removed: WriteOperation[] = [];
  for (const kind of INDEX_KINDS) {
    if (before?.[kind] === after[kind]) continue;
    const [oldKey, newKey] = [await keyOf(before, kind, memberId), await keyOf(after, kind, memberId)];
    if (newKey !== undefined) added.push({ put: newKey, value: {} });
    if (oldKey !== undefined) removed.push({ delete: oldKey });
  }
  return { record: { ...record, indexedAs: after }, added, removed };
}

/** Returns whether both values are the same. */
export function isIndexedAs(a: IndexedAs | undefined, b: IndexedAs | undefined): boolean {
  return INDEX_KINDS.every((kind) => a?.[kind] === b?.[kind]);
}

/** Returns the keys of the entries that a record names. */
export async function indexKeysOf({ memberId, indexedAs }: PortalRecord): Promise<Key[]> {
  const keys = await Promise.all(INDEX_KINDS.map((kind) => keyOf(indexedAs, kind, memberId)));
  return keys.filter((key) => key !== undefined);
}

/** Returns the prefix of the entries of all portals with a value. */
export async function indexPrefixOf(kind: IndexKind, value: string): Promise<Key> {
  return indexPrefix(kind, await keyPart(kind, value));
}

/** Returns a domain as it is compared: hosts are the same in either case. */
export function comparableDomain(domain: string): string {
  return domain.toLowerCase();
}

function indexValues(record: PortalRecord): IndexedAs {
  const { version, domain, failure } = record;
  return {
    state: portalState(record),
    ...defined({
      version,
      domain: domain === "" ? undefined : comparableDomain(domain),
      blocked: blockOf(record)?.on,
      failure: failure?.upgradeId,
      fingerprint: failure?.fingerprint,
    }),
  };
}

async function keyOf(values: IndexedAs | undefined, kind: IndexKind, memberId: string): Promise<Key | undefined> {
  const value = values?.[kind];
  return value === undefined ? undefined : indexKey(kind, await keyPart(kind, value), memberId);
}

/** Keys are not encrypted, so they hold no customers' domains. */
async function keyPart(kind: IndexKind, value: string): Promise<string> {
  return kind === "domain" ? await digest(value) : value;
}
