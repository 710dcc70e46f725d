/** Lists of portals. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import type { BlockedReason } from "../../errors.ts";
import type { PortalFilter, PortalMatch, PortalPage } from "../../plugin/admin_pages.ts";
import { findRecord, listRecords, type Unreadable } from "../../portal/find_record.ts";
import { type IndexKind, PORTALS } from "../../portal/keys.ts";
import type { PortalState } from "../../portal/portal.ts";
import { comparableDomain, INDEX_KINDS, indexPrefixOf, valuesOf } from "../../portal/portal_index.ts";
import { type PortalRecord, snapshot } from "../../portal/record.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { Key, Storage } from "../../storage/storage.ts";

/** Maximum number of portals that are read at a time. */
const READ_TOGETHER = 100;

/** Maximum number of portals that a page reads, whether or not they match. */
const MAX_READ = 1000;

/** The states of a portal, in the order in which they are shown. */
export const PORTAL_STATES: readonly PortalState[] = namesOf<PortalState>({
  current: true,
  upgrading: true,
  blocked: true,
  parked: true,
  uninstalled: true,
});

/** Reasons that portals can be blocked on. */
export const BLOCKED_REASONS: readonly BlockedReason[] = namesOf<BlockedReason>({
  scope: true,
  payment: true,
  confirmation: true,
  administrator: true,
  authorization: true,
  installation: true,
  configuration: true,
  version: true,
  rollout: true,
});

/** Returns the members of a union. The compiler requires all of them. */
function namesOf<Name extends string>(names: Readonly<Record<Name, true>>): readonly Name[] {
  return Object.keys(names) as Name[];
}

/** The rules of {@linkcode PortalMatch}. */
export const MATCH_RULES: OptionRules<PortalMatch> = {
  version: option.text("a version as in portal.version"),
  status: option.oneOf(...PORTAL_STATES),
  domain: option.text("a domain as in portal.domain"),
  formerDomain: option.text("a domain that portals had"),
  blockedOn: option.oneOf(...BLOCKED_REASONS),
  upgradeId: option.text("the id of an upgrade"),
  fingerprint: option.text("a fingerprint as in portal.failure.fingerprint"),
};

/** The rules of a page of portals. */
export const PAGE_RULES: OptionRules<Pick<PortalFilter, "after" | "limit">> = {
  // Empty before the first page.
  after: option.value("the last member_id of a page", (memberId) => typeof memberId === "string"),
  limit: option.number({ min: 1, max: MAX_READ, isWhole: true }),
};

const FILTER_RULES: OptionRules<PortalFilter> = {
  ...MATCH_RULES,
  ...PAGE_RULES,
};

/** Returns a page of the portals that match; see `Admin.portals`. */
export async function listPortals(storage: Storage, filter: PortalFilter = {}): Promise<PortalPage> {
  checkOptions("cannot list portals", filter, FILTER_RULES);
  const { limit = 100, after, ...match } = filter;
  const { records, unreadable, next } = await matchingRecords(storage, match, { limit, ...defined({ after }) });
  return {
    items: records.map(snapshot),
    ...(unreadable.length > 0 && { unreadable }),
    ...defined({ next }),
  };
}

/** Options of {@linkcode matchingRecords}. */
export interface RecordPageOptions {
  /** Only portals after this one. */
  readonly after?: string;
  /** Maximum number of portals. */
  readonly limit: number;
}

/** A page of records. */
export interface RecordPage {
  readonly records: readonly PortalRecord[];
  /** The `member_id`s of portals whose records cannot be read: by one of their index entries, they may match. */
  readonly unreadable: readonly string[];
  /** The portal after which the next page begins; absent after the last one. */
  readonly next?: string;
}

/** Returns the records of a page. */
export async function matchingRecords(
  storage: Storage,
  match: PortalMatch,
  { after, limit }: RecordPageOptions,
): Promise<RecordPage> {
  const wanted = wantedBy(match);
  const prefix = await prefixOf(storage, wanted, after);
  const records: PortalRecord[] = [];
  const unreadable: string[] = [];
  let last = after;
  let read = 0;
  while (true) {
    const found = records.length + unreadable.length;
    const wish = Math.min(limit - found, READ_TOGETHER, MAX_READ - read);
    const page = await readPage(storage, prefix, pageAfter(prefix, last, wish));
    // A crash may have left an entry that the record does not name.
    for (const { memberId, record } of page) {
      if (record === "unreadable") unreadable.push(memberId);
      else if (record !== undefined && names(record, wanted)) records.push(record);
    }
    if (page.length < wish) return { records, unreadable };
    last = page.at(-1)!.memberId;
    read += page.length;
    if (records.length + unreadable.length >= limit || read >= MAX_READ) return { records, unreadable, next: last };
  }
}

/** Returns whether a portal matches, by what was stored at the end of the last work on it. */
export function isMatch(record: PortalRecord, match: PortalMatch): boolean {
  return names(record, wantedBy(match));
}

/** Values that the index entries of a portal are to have. */
type Wanted = { readonly [Kind in IndexKind]?: string };

function wantedBy({ version, status, domain, formerDomain, blockedOn, upgradeId, fingerprint }: PortalMatch): Wanted {
  return defined({
    ...{ version, state: status, blocked: blockedOn, failure: upgradeId, fingerprint },
    domain: domain === undefined ? undefined : comparableDomain(domain),
    former: formerDomain === undefined ? undefined : comparableDomain(formerDomain),
  });
}

/**
 * Returns the prefix of the entries with the value that the fewest portals have; that of all records without one. That is a
 * value with few entries after `after`; if each has many, a guess.
 */
async function prefixOf(storage: Storage, wanted: Wanted, after: string | undefined): Promise<Key> {
  const isRare = wanted.state !== undefined && wanted.state !== "current" && wanted.state !== "uninstalled";
  const rarest: readonly IndexKind[] = ["domain", "former", "fingerprint", "failure", "blocked"];
  const order: readonly IndexKind[] = isRare ? [...rarest, "state", "version"] : [...rarest, "version", "state"];
  const kinds = order.filter((kind) => wanted[kind] !== undefined);
  const prefixes = await Promise.all(kinds.map((kind) => indexPrefixOf(kind, wanted[kind]!)));
  if (prefixes.length > 1) {
    for (const prefix of prefixes) if (await hasFew(storage, prefix, after)) return prefix;
  }
  return prefixes[0] ?? PORTALS;
}

/** Returns whether the entries after `after` are fewer than are read at a time. */
async function hasFew(storage: Storage, prefix: Key, after: string | undefined): Promise<boolean> {
  let left = READ_TOGETHER;
  for await (const _ of listKeys(storage, prefix, pageAfter(prefix, after, READ_TOGETHER))) left--;
  return left > 0;
}

/** Returns the options of a listing of at most `limit` portals. */
function pageAfter(prefix: Key, after: string | undefined, limit: number): { limit: number; after?: Key } {
  return { limit, ...defined({ after: after === undefined ? undefined : [...prefix, after] as const }) };
}

interface ListedPortal {
  readonly memberId: string;
  /** `undefined` if the portal is not stored. */
  readonly record: PortalRecord | Unreadable | undefined;
}

/** Reads the record of a portal; `undefined` if it is not stored. */
export async function tryReadRecord(storage: Storage, memberId: string): Promise<ListedPortal["record"]> {
  const entry = await findRecord(storage, memberId);
  return entry === "unreadable" ? entry : entry?.value;
}

/** Reads a page of portals: from their records, or from those that index entries lead to. */
async function readPage(
  storage: Storage,
  prefix: Key,
  options: { readonly limit: number; readonly after?: Key },
): Promise<ListedPortal[]> {
  const listed: ListedPortal[] = [];
  if (prefix === PORTALS) {
    for await (const [memberId, entry] of listRecords(storage, options)) {
      listed.push({ memberId, record: entry === "unreadable" ? entry : entry.value });
    }
    return listed;
  }
  const keys: Key[] = [];
  for await (const key of listKeys(storage, prefix, options)) keys.push(key);
  return await Promise.all(keys.map(async (key) => {
    const memberId = key.at(-1)!;
    return { memberId, record: await tryReadRecord(storage, memberId) };
  }));
}

function names({ indexedAs }: PortalRecord, wanted: Wanted): boolean {
  return INDEX_KINDS.every((kind) => wanted[kind] === undefined || valuesOf(indexedAs, kind).includes(wanted[kind]));
}
