/** `onappupdate portals`: a list of portals. */
import type { Portal } from "../portal/portal.ts";
import { defineCommand, limitOption } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { EXPORT_OPTIONS, exported, type ExportOptions } from "./export.ts";
import { take } from "./operator_client.ts";
import { FILTER_OPTIONS, type FilterOptions, matchOf, unmatchedHint } from "./portal_filter.ts";
import { domainOf, reasonOf, stateCell } from "./portal_text.ts";
import type { Output } from "./terminal.ts";
import { counted, table } from "./text.ts";

interface PortalsOptions extends ConnectOptions, FilterOptions, ExportOptions {}

const DEFAULT_LIMIT = 100;

/** Lists portals. */
export const portals = defineCommand<PortalsOptions>({
  usage: "portals",
  summary: "list portals",
  description: `Lists portals in the order of their member_id, by default the first ${DEFAULT_LIMIT} that match.`,
  group: "See:",
  options: [
    ...FILTER_OPTIONS,
    limitOption("portals", DEFAULT_LIMIT),
    ...EXPORT_OPTIONS,
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
      if (await exported(invocation, client, "portals", { ...matchOf(options) })) return;
      const { items, hasMore, unreadable } = await take<Portal>(client, "/portals", { ...matchOf(options) }, limit);
      show({ items, hasMore, ...unreadable && { unreadable } }, () =>
        items.length === 0 ? "" : tableOf(items, terminal.now(), terminal.stdout));
      if (items.length === 0) {
        note(`No portals match.${unmatchedHint(matchOf(options))}`);
      }
      if (unreadable !== undefined) {
        note(
          `The app cannot read ${counted(unreadable.length, "portal")}, which newer code wrote or whose ` +
            `encryption key is missing: ${unreadable.join(", ")}`,
        );
      }
      if (hasMore) {
        note(`More portals match: raise --limit ${limit}.`);
      }
    }),
});

/** On a terminal, the reason has lines of its own: elsewhere, a portal is one line. */
function tableOf(items: readonly Portal[], now: number, output: Output): string {
  const cells = items.map((portal) => [
    ...[domainOf(portal), stateCell(portal.state), versionsOf(portal), portal.memberId],
    ...output.isTerminal ? [] : [reasonOf(portal, now)],
  ]);
  const heads = ["DOMAIN", "STATE", "VERSION", "MEMBER ID", ...output.isTerminal ? [] : ["REASON"]];
  return table(heads, cells, output, output.isTerminal ? items.map((portal) => reasonOf(portal, now)) : []);
}

function versionsOf({ version = "?", target = "?" }: Portal): string {
  return version === target ? version : `${version} → ${target}`;
}
