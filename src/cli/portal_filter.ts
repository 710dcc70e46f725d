/** The options that select portals, in lists and for actions on many. */
import { BLOCKED_REASONS, PORTAL_STATES } from "../app/admin/portals.ts";
import type { BlockedReason } from "../errors.ts";
import type { PortalMatch } from "../plugin/admin_pages.ts";
import { defined } from "../defined.ts";
import type { PortalState } from "../portal/portal.ts";
import type { PortalCount } from "../portal/totals.ts";
import { parseVersion } from "../version.ts";
import { invalid, type OptionSpec } from "./command.ts";

/** The options by which portals are selected. */
export interface FilterOptions {
  readonly status?: PortalState;
  readonly version?: string;
  readonly domain?: string;
  readonly formerDomain?: string;
  readonly blockedOn?: BlockedReason;
  readonly upgrade?: string;
  readonly error?: string;
}

/** The states that portals are counted by, in the order in which they are shown. */
export const COUNTED_STATES: readonly PortalCount["status"][] = PORTAL_STATES.flatMap((state) =>
  state === "current" ? [state, "held"] : [state]
);

/** Returns the version as portals have it: `2` is `2.0.0`. */
function version(text: string): string {
  try {
    return parseVersion(text);
  } catch {
    throw invalid("a version such as 2 or 2.1.0; for portals whose version is unknown, use --blocked-on version");
  }
}

/** Without the upgrade, which `skip` has a use of its own for. */
export const SKIP_FILTER_OPTIONS: readonly OptionSpec[] = [
  { flags: "--status <state>", description: "only portals in this state", choices: PORTAL_STATES },
  { flags: "--version <version>", description: "only portals on this version, such as 2 or 2.0.0", parse: version },
  { flags: "--domain <host>", description: "only portals with this domain" },
  { flags: "--former-domain <host>", description: "only portals that had it before a rename" },
  { flags: "--blocked-on <reason>", description: "only portals blocked on it", choices: BLOCKED_REASONS },
  { flags: "--error <fingerprint>", description: "only portals whose last failure has it" },
];

/** The flags of {@linkcode FilterOptions}. */
export const FILTER_OPTIONS: readonly OptionSpec[] = [
  ...SKIP_FILTER_OPTIONS,
  { flags: "--upgrade <id>", description: "only portals whose last failure was in it" },
];

/** Returns the filter of the operator API; empty if no option selects. */
export function matchOf(
  { status, version, domain, formerDomain, blockedOn, upgrade, error }: FilterOptions,
): PortalMatch {
  return defined({ status, version, domain, formerDomain, blockedOn, upgradeId: upgrade, fingerprint: error });
}

/** Returns what to add if no portal matches: the id of an upgrade is easily misspelled, `3` for `3.0.0`. */
export function unmatchedHint({ upgradeId }: PortalMatch): string {
  return upgradeId === undefined ? "" : " The ids of upgrades: onappupdate upgrades";
}

/** Returns the filter as people read it: `status parked, upgrade 3`. */
export function describeMatch(match: PortalMatch): string {
  const names: Readonly<Record<keyof PortalMatch, string>> = {
    ...{ status: "status", version: "version", domain: "domain", blockedOn: "blocked on", upgradeId: "upgrade" },
    fingerprint: "error",
    formerDomain: "former domain",
  };
  return (Object.keys(match) as (keyof PortalMatch)[]).map((name) => `${names[name]} ${match[name]}`).join(", ");
}
