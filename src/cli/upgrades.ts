/** `onappupdate upgrades`: the upgrades of the code. */
import type { RegisteredUpgrade } from "../plugin/admin_reports.ts";
import { defineCommand } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { table } from "./text.ts";

/** Lists the upgrades of the code, and for how many portals each is due. */
export const upgrades = defineCommand<ConnectOptions>({
  usage: "upgrades",
  summary: "list upgrades, and for how many portals each is due",
  group: "See:",
  options: CONNECT_OPTIONS,
  examples: ["onappupdate upgrades --app ./app.ts"],
  run: (invocation) =>
    withClient(invocation, async (client) => {
      const { terminal, show, note } = invocation;
      const { items } = await client.get<{ readonly items: readonly RegisteredUpgrade[] }>("/upgrades");
      const rows = items.map(({ id, range, due, running, blocked, parked }) => [
        ...[id, range ?? "not in the code", `${due}`, `${running}`, `${blocked}`],
        parked > 0 ? { text: `${parked}`, style: "red" as const } : "0",
      ]);
      show({ items }, () => rows.length === 0 ? "" : table(HEADS, rows, terminal.stdout));
      if (items.length === 0) note("The code registers no upgrades.");
    }),
});

const HEADS = ["UPGRADE", "RANGE", ">DUE", ">RUNNING", ">BLOCKED", ">PARKED"];
