/** `onappupdate audit`: who did what. */
import type { AuditEntry } from "../plugin/admin_pages.ts";
import type { Portal } from "../portal/portal.ts";
import { defineCommand, limitOption } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { EXPORT_OPTIONS, exported, type ExportOptions } from "./export.ts";
import { portalPath, take } from "./operator_client.ts";
import type { Cell } from "./text.ts";
import { table, time } from "./text.ts";

interface AuditOptions extends ConnectOptions, ExportOptions {
  readonly portal?: string;
  readonly operator?: string;
  readonly action?: string;
}

const DEFAULT_LIMIT = 30;

/** Lists the actions of operators. */
export const audit = defineCommand<AuditOptions>({
  usage: "audit",
  summary: "list what operators did, and why",
  description: "The latest actions first, also those that were refused or failed, of the last 400 days.",
  group: "See:",
  options: [
    { flags: "--portal <portal>", description: "only actions on this portal: member_id or domain" },
    { flags: "--operator <name>", description: "only actions of this operator" },
    { flags: "--action <name>", description: "only these actions, such as retry" },
    limitOption("actions", DEFAULT_LIMIT),
    ...EXPORT_OPTIONS,
    ...CONNECT_OPTIONS,
  ],
  examples: ["onappupdate audit --app ./app.ts --operator cli:ada --limit 10"],
  run: (invocation) =>
    withClient(invocation, async (client) => {
      const { options: { portal, operator, action, limit = DEFAULT_LIMIT }, terminal, show, note } = invocation;
      const memberId = portal === undefined ? undefined : (await client.get<Portal>(portalPath(portal))).memberId;
      const filter = { memberId, by: operator, action };
      if (await exported(invocation, client, "audit", filter)) return;
      const { items, hasMore } = await take<AuditEntry>(client, "/audit", filter, limit);
      const { stdout } = terminal;
      show({ items, hasMore }, () => items.length === 0 ? "" : table(HEADS, items.map(row), stdout));
      if (items.length === 0) {
        note("No action is recorded.");
      }
      if (hasMore) {
        note(`There are earlier ones: raise --limit ${limit}.`);
      }
    }),
});

const HEADS = ["TIME", "OPERATOR", "ACTION", "ON", "OUTCOME", "REASON"];

const STYLES = { pending: "yellow", done: "green", refused: "yellow", failed: "red" } as const;

function row({ at, by, action, memberId, outcome, reason, error }: AuditEntry): Cell[] {
  return [
    ...[time(at), by, action, memberId ?? "the app"],
    { text: outcome, style: STYLES[outcome] },
    error === undefined ? reason : `${reason} (${error.message})`,
  ];
}
