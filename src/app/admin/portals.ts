/** Lists of portals. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import type { BlockedReason } from "../../errors.ts";
import { type IndexKind, portalKey, PORTALS } from "../../portal/keys.ts";
import type { Portal, PortalState } from "../../portal/portal.ts";
import { comparableDomain, INDEX_KINDS, indexPrefixOf } from "../../portal/portal_index.ts";
import { type PortalRecord, readRecord, snapshot } from "../../portal/record.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { Key, Storage } from "../../storage/storage.ts";

/** Selects portals for {@linkcode Admin.portals}; members that are left out select all. */
export interface PortalFilter {
  /** Only portals on this version, spelled as in `portal.version`. */
  readonly version?: string;
  /** Only portals in this state. */
  readonly status?: PortalState;
  /** Only portals with this domain, as in `portal.domain`, in either case. Portals that were moved may share one. */
  readonly domain?: string;
  /** Only portals that are blocked on this, as in `portal.blocked.on`. */
  readonly blockedOn?: BlockedReason;
  /** Only portals whose last failure was in the upgrade with this id, as in `portal.failure.upgradeId`. */
  readonly failedAt?: string;
  /** Only portals after this `member_id`; pass the last one of a page to get the next page. */
  readonly after?: string;
  /**
   * Maximum number of portals. A whole number or `Infinity`. Minimum: 0.
   *
   * @default 100
   */
  readonly limit?: number;
}

const STATES: Readonly<Record<PortalState, true>> = {
  current: true,
  upgrading: true,
  blocked: true,
  parked: true,
  uninstalled: true,
};

const REASONS: Readonly<Record<BlockedReason, true>> = {
  scope: true,
  payment: true,
  confirmation: true,
  administrator: true,
  authorization: true,
  installation: true,
  configuration: true,
};

/** The rules of a page of portals. */
export const PAGE_RULES: OptionRules<Pick<PortalFilter, "after" | "limit">> = {
  // Empty before the first page.
  after: option.value("the last member_id of a page", (memberId) => typeof memberId === "string"),
  limit: option.number({ min: 0, max: Infinity, isWhole: true }),
};

const FILTER_RULES: OptionRules<PortalFilter> = {
  version: option.text("a version as in portal.version"),
  status: option.oneOf(...Object.keys(STATES)),
  domain: option.text("a domain as in portal.domain"),
  blockedOn: option.oneOf(...Object.keys(REASONS)),
  failedAt: option.text("the id of an upgrade"),
  ...PAGE_RULES,
};

/** Maximum number of portals that are read at a time. */
const READ_TOGETHER = 100;

/** Values that the index entries of a portal are to have. */
type Wanted = { readonly [Kind in IndexKind]?: string };

/** Returns the portals that match, in the order of their `member_id`. */
export async function listPortals(storage: Storage, filter: PortalFilter = {}): Promise<Portal[]> {
  checkOptions("cannot list portals", filter, FILTER_RULES);
  const { version, status, domain, blockedOn, failedAt, limit = 100 } = filter;
  const wanted: Wanted = defined({
    ...{ version, state: status, blocked: blockedOn, failure: failedAt },
    domain: domain === undefined ? undefined : comparableDomain(domain),
  });
  const prefix = await prefixOf(wanted);
  const portals: Portal[] = [];
  let after = filter.after;
  while (portals.length < limit) {
    const wish = Math.min(limit - portals.length, READ_TOGETHER);
    const options = {
      limit: wish,
      ...defined({ after: after === undefined ? undefined : [...prefix, after] as const }),
    };
    const page = await readPage(storage, prefix, options);
    for (const { record } of page) {
      // A crash may have left an entry that the record does not name.
      if (record !== undefined && matches(record, wanted)) portals.push(snapshot(record));
    }
    if (page.length < wish) break;
    after = page.at(-1)!.memberId;
  }
  return portals;
}

/** Returns the prefix of the entries with the value that probably the fewest portals have; that of all records without one. */
async function prefixOf(wanted: Wanted): Promise<Key> {
  const isRare = wanted.state !== undefined && wanted.state !== "current" && wanted.state !== "uninstalled";
  const order: readonly IndexKind[] = isRare
    ? ["domain", "failure", "blocked", "state", "version"]
    : ["domain", "failure", "blocked", "version", "state"];
  const kind = order.find((kind) => wanted[kind] !== undefined);
  return kind === undefined ? PORTALS : await indexPrefixOf(kind, wanted[kind]!);
}

interface ListedPortal {
  readonly memberId: string;
  /** Absent if the portal is not stored. */
  readonly record: PortalRecord | undefined;
}

/** Reads a page of portals: from their records, or from those that index entries lead to. */
async function readPage(
  storage: Storage,
  prefix: Key,
  options: { readonly limit: number; readonly after?: Key },
): Promise<ListedPortal[]> {
  const listed: ListedPortal[] = [];
  if (prefix === PORTALS) {
    for await (const entry of storage.list<PortalRecord>(prefix, options)) {
      listed.push({ memberId: entry.key.at(-1)!, record: readRecord(entry) });
    }
    return listed;
  }
  const keys: Key[] = [];
  for await (const key of listKeys(storage, prefix, options)) keys.push(key);
  return await Promise.all(keys.map(async (key) => {
    const memberId = key.at(-1)!;
    return { memberId, record: readRecord(await storage.get<PortalRecord>(portalKey(memberId))) };
  }));
}

function matches({ indexedAs }: PortalRecord, wanted: Wanted): boolean {
  return INDEX_KINDS.every((kind) => wanted[kind] === undefined || wanted[kind] === indexedAs?.[kind]);
}
