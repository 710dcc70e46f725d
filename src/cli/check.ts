/** `onappupdate check`: asks Bitrix24 about a portal. */
import type { CheckReport } from "../worker/portal_check.ts";
import { defineCommand } from "./command.ts";
import { ASK_OPTIONS, type AskOptions, withClient } from "./connect.ts";
import { EXIT } from "./exit.ts";
import { portalPath } from "./operator_client.ts";
import type { Output } from "./terminal.ts";
import { painter, safe } from "./text.ts";

/** Asks Bitrix24 which version a portal has, and why it gets no events. */
export const check = defineCommand<AskOptions>({
  usage: "check",
  summary: "ask Bitrix24 which version a portal has",
  description:
    "Raises the target of the portal to the version that Bitrix24 reports, as an event would, and lists why it " +
    "gets no events or does not reach its target. Exits with 1 if there is such a problem.",
  group: "See:",
  arguments: [{ usage: "<portal>", description: "its member_id or its domain" }],
  options: ASK_OPTIONS,
  examples: ["onappupdate check acme.bitrix24.de --app ./app.ts"],
  run: (invocation) =>
    withClient(invocation, async (client) => {
      const { args: [named], options: { reason = "onappupdate check" }, terminal, show } = invocation;
      const report = await client.post<CheckReport>(portalPath(named, "/check"), { reason });
      show(report, () => describe(report, terminal.stdout));
      return report.problems.length === 0 ? EXIT.done : EXIT.bad;
    }),
});

function describe(
  { memberId, installed, version, target, isRaised, problems, status }: CheckReport,
  output: Output,
): string {
  const paint = painter(output);
  const licence = status === undefined ? "" : `, license ${status}`;
  return [
    safe(
      `${memberId}: installed ${installed ?? "unknown"}, on ${version ?? "unknown"}, to be on ${
        target ?? "unknown"
      }${licence}`,
    ),
    ...isRaised ? ["This check has raised the target: the upgrades follow."] : [],
    ...problems.map(({ code, message }) => `${paint("red", safe(code))}: ${safe(message)}`),
    ...problems.length === 0 ? [paint("green", "no problem")] : [],
  ].join("\n");
}
