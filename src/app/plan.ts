/** `app.plan`: the upgrades that would run. */
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { loadPortal } from "../portal/record_store.ts";
import type { Rollout } from "../rollout/rollout.ts";
import type { Storage } from "../storage/storage.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { makePlan, type Plan } from "../upgrade/plan.ts";
import { parseVersion } from "../version.ts";

/** The question to `app.plan`: a stored portal, or two versions. */
export type PlanQuery = { readonly memberId: string } | { readonly from: string; readonly to: string };

type PortalQuery = Extract<PlanQuery, { readonly memberId: string }>;

type VersionsQuery = Extract<PlanQuery, { readonly from: string }>;

const PORTAL_RULES: OptionRules<PortalQuery> = {
  memberId: option.required(option.text("the member_id of a portal, or from and to")),
};

/** Strings that are not versions are a `VersionError`. */
const version = option.required(option.value('a version such as "2.1.0"', (text) => typeof text === "string"));

const VERSIONS_RULES: OptionRules<VersionsQuery> = { from: version, to: version };

/** Returns the plan of a portal, or between two versions; see `App.plan`. */
export async function plan(
  storage: Storage,
  upgrades: readonly Upgrade[],
  query: PlanQuery,
  rollout?: Pick<Rollout, "heldBlock" | "waitingFor">,
): Promise<Plan> {
  if (isAboutVersions(query)) {
    checkOptions("cannot plan", query, VERSIONS_RULES);
    return makePlan(upgrades, { version: parseVersion(query.from), target: parseVersion(query.to) });
  }
  checkOptions("cannot plan", query, PORTAL_RULES);
  const record = await loadPortal(storage, query.memberId);
  if (record.status !== "installed") return makePlan(upgrades, {});
  const [held, waitsFor] = await Promise.all([rollout?.heldBlock(record), rollout?.waitingFor()]);
  if (held === undefined || waitsFor === undefined) return makePlan(upgrades, record);
  return { ...makePlan(upgrades, { ...record, target: waitsFor }), held: held.message };
}

function isAboutVersions(query: PlanQuery): query is VersionsQuery {
  return typeof query === "object" && query !== null && ("from" in query || "to" in query);
}
