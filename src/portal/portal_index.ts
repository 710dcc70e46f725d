/**
 * The index: portals by state, version, domain, former domains, block and failed upgrade, so that the cost of a list depends on what it shows,
 * not on the number of portals.
 *
 * The record names the entries of its portal. New entries are written before the record, and old ones are deleted after it.
 * So a crash leaves superfluous entries and no missing one: a reader of an entry asks the record whether it names it.
 */
import { portalHost } from "../bitrix24/hosts.ts";
import { defined } from "../defined.ts";
import { digest } from "../net/digest.ts";
import type { Key, WriteOperation } from "../storage/storage.ts";
import { indexKey, type IndexKind, indexPrefix } from "./keys.ts";
import { blockOf, type IndexedAs, type PortalRecord, portalState } from "./record.ts";

/** All kinds of index entries. */
export const INDEX_KINDS: readonly IndexKind[] = [
  ...["state", "version", "domain", "former", "blocked", "failure", "fingerprint"] as const,
];

/** Number of former domains of a portal that are indexed. */
const MAX_FORMER = 3;

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
  const after = lease !== undefined && before !== undefined ? before : indexValues(record, before);
  if (isIndexedAs(before, after)) return { record, added: [], removed: [] };
  const added: WriteOperation[] = [];
  const removed: WriteOperation[] = [];
  for (const kind of INDEX_KINDS) {
    const [old, now] = [valuesOf(before, kind), valuesOf(after, kind)];
    for (const value of now.filter((value) => !old.includes(value))) {
      added.push({ put: await keyOf(kind, value, memberId), value: {} });
    }
    for (const value of old.filter((value) => !now.includes(value))) {
      removed.push({ delete: await keyOf(kind, value, memberId) });
    }
  }
  return { record: { ...record, indexedAs: after }, added, removed };
}

/** Returns whether both values are the same. */
export function isIndexedAs(a: IndexedAs | undefined, b: IndexedAs | undefined): boolean {
  return INDEX_KINDS.every((kind) => {
    const [first, second] = [valuesOf(a, kind), valuesOf(b, kind)];
    return first.length === second.length && first.every((value, i) => value === second[i]);
  });
}

/** Returns the values of a kind under which a portal is in the index. */
export function valuesOf(values: IndexedAs | undefined, kind: IndexKind): readonly string[] {
  return [values?.[kind] ?? []].flat();
}

/** Returns the keys of the entries that a record names. */
export async function indexKeysOf({ memberId, indexedAs }: PortalRecord): Promise<Key[]> {
  return await Promise.all(
    INDEX_KINDS.flatMap((kind) => valuesOf(indexedAs, kind).map((value) => keyOf(kind, value, memberId))),
  );
}

/** Returns the prefix of the entries of all portals with a value. */
export async function indexPrefixOf(kind: IndexKind, value: string): Promise<Key> {
  return indexPrefix(kind, await keyPart(kind, value));
}

/** Returns a domain as it is compared: hosts are the same in either case, and addresses spell letters as "xn--". */
export function comparableDomain(domain: string): string {
  const lower = domain.toLowerCase();
  if (/^[ -~]*$/.test(lower)) return lower;
  try {
    return portalHost(lower);
  } catch {
    return lower;
  }
}

function indexValues(record: PortalRecord, before: IndexedAs | undefined): IndexedAs {
  const { version, failure } = record;
  const domain = record.domain === "" ? undefined : comparableDomain(record.domain);
  return {
    state: portalState(record),
    ...defined({
      version,
      domain,
      former: domain === undefined ? undefined : formerDomains(domain, before),
      blocked: blockOf(record)?.on,
      failure: failure?.upgradeId,
      fingerprint: failure?.fingerprint,
    }),
  };
}

/** Operators still name a portal that was renamed by the domain that they know. A purged one has none. */
function formerDomains(domain: string, before: IndexedAs | undefined): readonly string[] | undefined {
  const former = [...new Set([...valuesOf(before, "domain"), ...valuesOf(before, "former")])]
    .filter((other) => other !== domain).slice(0, MAX_FORMER);
  return former.length === 0 ? undefined : former;
}

async function keyOf(kind: IndexKind, value: string, memberId: string): Promise<Key> {
  return indexKey(kind, await keyPart(kind, value), memberId);
}

/** Keys are not encrypted, so they hold no customers' domains. */
async function keyPart(kind: IndexKind, value: string): Promise<string> {
  return kind === "domain" || kind === "former" ? await digest(value) : value;
}
