/** `onappupdate rehearse`: what the upgrades of a portal would do. */
import { defined } from "../defined.ts";
import type { RehearsalReport } from "../upgrade/rehearsal/report.ts";
import { defineCommand, versionText } from "./command.ts";
import { ASK_OPTIONS, type AskOptions, withClient } from "./connect.ts";
import { EXIT } from "./exit.ts";
import { portalPath } from "./operator_client.ts";
import { safeLines } from "./text.ts";

interface RehearseOptions extends AskOptions {
  readonly to?: string;
}

/** Rehearses the upgrades of a portal. */
export const rehearse = defineCommand<RehearseOptions>({
  usage: "rehearse",
  summary: "show what the upgrades of a portal would do",
  description:
    "Runs the upgrades that are registered with rehearsal: true. They read from the portal, and what they would " +
    "write is shown instead. Exits with 1 if an upgrade was not rehearsed to its end.",
  group: "See:",
  arguments: [{ usage: "<portal>", description: "its member_id or its domain" }],
  options: [
    { flags: "--to <version>", description: "up to this version; by default, the portal's target", parse: versionText },
    ...ASK_OPTIONS,
  ],
  examples: ["onappupdate rehearse acme.bitrix24.de --to 3 --app ./app.ts"],
  run: (invocation) =>
    withClient(invocation, async (client) => {
      const { args: [named], options: { to, reason = "onappupdate rehearse" }, show } = invocation;
      const report = await client.post<RehearsalReport>(
        portalPath(named, "/rehearse"),
        defined({ target: to, reason }),
      );
      show(report, () => safeLines(report.text));
      return report.isComplete ? EXIT.done : EXIT.bad;
    }),
});
