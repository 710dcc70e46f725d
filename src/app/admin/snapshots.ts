/** Lists of the hourly and daily counts. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import type { SnapshotFilter } from "../../plugin/admin_pages.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { type CountSnapshot, listSnapshots } from "../../portal/count_snapshots.ts";

const WEEK_MS = 7 * 24 * 60 * 60 * 1000;

/** The last millisecond of the year 9999: later ones have another spelling. */
const MAX_TIME = Date.UTC(10_000, 0) - 1;

const FILTER_RULES: OptionRules<SnapshotFilter> = {
  from: option.number({ min: 0, max: MAX_TIME }),
  to: option.number({ min: 0, max: MAX_TIME }),
  every: option.oneOf("hour", "day"),
};

/** Returns the snapshots between two times; see `Admin.snapshots`. */
export async function listCountSnapshots(
  runtime: Pick<AppRuntime, "storage" | "clock" | "log">,
  filter: SnapshotFilter = {},
): Promise<readonly CountSnapshot[]> {
  checkOptions("cannot list the hourly counts", filter, FILTER_RULES);
  const { to = runtime.clock(), from = Math.max(to - WEEK_MS, 0), every = "hour" } = filter;
  return await listSnapshots(runtime, every, from, to);
}
