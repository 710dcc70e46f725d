/** `onappupdate portals`: a list of portals. */
import type { PortalWithState } from "../portal/portal.ts";
import { defineCommand, wholeNumber } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { usageError } from "./exit.ts";
import { take } from "./operator_client.ts";
import { FILTER_OPTIONS, type FilterOptions, matchOf } from "./portal_filter.ts";
import { reasonOf, stateCell } from "./portal_text.ts";
import type { Output } from "./terminal.ts";
import { csv, table } from "./text.ts";

interface PortalsOptions extends ConnectOptions, FilterOptions {
  readonly limit?: number;
  readonly csv?: true;
}

const DEFAULT_LIMIT = 100;

/** Lists portals. */
export const portals = defineCommand<PortalsOptions>({
  usage: "portals",
  summary: "list portals",
  description: `Lists portals in the order of their member_id, by default the first ${DEFAULT_LIMIT} that match.`,
  group: "See:",
  options: [
    ...FILTER_OPTIONS,
    { flags: "--limit <n>", description: `at most n portals (default: ${DEFAULT_LIMIT})`, parse: wholeNumber(1) },
    { flags: "--csv", description: "print CSV, for spreadsheets" },
    ...CONNECT_OPTIONS,
  ],
  examples: [
    "onappupdate portals --app ./app.ts --status parked",
    "onappupdate portals --app ./app.ts --version 2.0.0 --csv > v2.csv",
  ],
  run: (invocation) =>
    withClient(invocation, async (client) => {
      const { options, terminal, show, note } = invocation;
      const { limit = DEFAULT_LIMIT } = options;
      if (options.csv === true && options.json === true) throw usageError("saw --csv and --json, wanted one of them");
      const { items, hasMore } = await take<PortalWithState>(client, "/portals", { ...matchOf(options) }, limit);
      if (options.csv === true) terminal.stdout.write(csv(CSV_COLUMNS, items.map(csvRow)));
      else show({ items, hasMore }, () => items.length === 0 ? "" : tableOf(items, terminal.now(), terminal.stdout));
      if (items.length === 0) note("No portals match.");
      if (hasMore) note(`More portals match: raise --limit ${limit}.`);
    }),
});

function tableOf(items: readonly PortalWithState[], now: number, output: Output): string {
  const rows = items.map((portal) => [
    ...[portal.memberId, portal.domain, stateCell(portal.state), versionsOf(portal)],
    reasonOf(portal, now),
  ]);
  return table(["MEMBER ID", "DOMAIN", "STATE", "VERSION", "REASON"], rows, output);
}

function versionsOf({ version = "?", target = "?" }: PortalWithState): string {
  return version === target ? version : `${version} → ${target}`;
}

/** The columns of an export. Nothing else of a portal leaves the command line as CSV. */
const CSV_COLUMNS = [
  ...[
    "member_id",
    "domain",
    "state",
    "version",
    "target",
    "generation",
    "blocked_on",
    "blocked_since",
    "failed_upgrade",
  ],
  ...["failed_step", "message", "fingerprint", "attempts", "failed_at", "next_try_at"],
];

function csvRow(portal: PortalWithState): (string | number | undefined)[] {
  const { memberId, domain, state, version, target, generation, blocked, failure } = portal;
  const iso = (ms: number | undefined): string | undefined => ms === undefined ? undefined : new Date(ms).toISOString();
  return [
    ...[memberId, domain, state, version, target, generation, blocked?.on, iso(blocked?.since), failure?.upgradeId],
    ...[failure?.step, blocked?.message ?? failure?.message, failure?.fingerprint, failure?.attempts, iso(failure?.at)],
    iso(blocked?.nextTryAt ?? failure?.retryAt),
  ];
}
