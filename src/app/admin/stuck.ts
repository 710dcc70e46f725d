/** Portals that are stuck, grouped by cause. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import type { StuckFilter, StuckGroup } from "../../plugin/admin_pages.ts";
import { indexPrefixOf } from "../../portal/portal_index.ts";
import { blockOf, type PortalRecord } from "../../portal/record.ts";
import type { CauseCount, Totals } from "../../portal/totals.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { Storage } from "../../storage/storage.ts";
import { tryReadRecord } from "./portals.ts";

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

const FILTER_RULES: OptionRules<StuckFilter> = { limit: option.number({ min: 1, max: MAX_LIMIT, isWhole: true }) };

/** Maximum number of portals that are read to find an example. */
const MAX_READ = 20;

/** Returns the largest groups; see `Admin.stuck`. */
export async function listStuck(
  storage: Storage,
  { causes }: Pick<Totals, "causes">,
  filter: StuckFilter = {},
): Promise<readonly StuckGroup[]> {
  checkOptions("cannot list stuck portals", filter, FILTER_RULES);
  const { limit = DEFAULT_LIMIT } = filter;
  const largest = (await causes()).slice(0, limit);
  return await Promise.all(largest.map((cause) => groupOf(storage, cause)));
}

async function groupOf(storage: Storage, cause: CauseCount): Promise<StuckGroup> {
  const { example, similar } = await portalsOf(storage, cause);
  const found = example && { example: { memberId: example.memberId, domain: example.domain } };
  if (cause.status === "blocked") {
    return { ...cause, ...defined({ message: example && blockOf(example)?.message }), ...found };
  }
  const { upgradeId, step, message } = (example ?? similar)?.failure ?? {};
  return { ...cause, ...defined({ upgradeId, step, message }), ...found };
}

/** Portals that show what a cause is. Those of a cause that has just ended are not found. */
interface Examples {
  readonly example?: PortalRecord;
  /** A portal with the same failure in another state: upgrade, step and message are the same. */
  readonly similar?: PortalRecord;
}

async function portalsOf(storage: Storage, { status, blockedOn, fingerprint }: CauseCount): Promise<Examples> {
  const prefix =
    await (blockedOn !== undefined
      ? indexPrefixOf("blocked", blockedOn)
      : fingerprint !== undefined
      ? indexPrefixOf("fingerprint", fingerprint)
      : indexPrefixOf("state", status));
  let similar: PortalRecord | undefined;
  for await (const key of listKeys(storage, prefix, { limit: MAX_READ })) {
    const record = await tryReadRecord(storage, key.at(-1)!);
    if (record === undefined || record === "unreadable" || record.indexedAs?.fingerprint !== fingerprint) continue;
    const { state, blocked } = record.indexedAs ?? {};
    if (state === status && (blockedOn === undefined || blocked === blockedOn)) return { example: record };
    similar ??= record;
  }
  return defined({ similar });
}
