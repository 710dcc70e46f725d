/** `onappupdate plan`: the upgrades that would run. */
import type { Plan } from "../upgrade/plan.ts";
import { defineCommand, versionText } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { usageError } from "./exit.ts";
import { type OperatorClient, portalPath } from "./operator_client.ts";
import { safe } from "./text.ts";

interface PlanOptions extends ConnectOptions {
  readonly from?: string;
  readonly to?: string;
}

/** Shows the upgrades that would run for a portal, or between two versions. */
export const plan = defineCommand<PlanOptions>({
  usage: "plan",
  summary: "show the upgrades that would run, without running them",
  group: "See:",
  arguments: [{ usage: "[portal]", description: "its member_id or its domain" }],
  options: [
    { flags: "--from <version>", description: "instead of a portal: from this version", parse: versionText },
    { flags: "--to <version>", description: "to this version", parse: versionText },
    ...CONNECT_OPTIONS,
  ],
  examples: ["onappupdate plan acme.bitrix24.de --app ./app.ts", "onappupdate plan --from 1 --to 3 --app ./app.ts"],
  run: (invocation) =>
    withClient(invocation, async (client) => {
      const { args: [named], options, show } = invocation;
      const plan = await ask(client, named, options);
      show(plan, () => describe(plan));
    }),
});

async function ask(client: OperatorClient, named: string | undefined, { from, to }: PlanOptions): Promise<Plan> {
  if (named !== undefined && from === undefined && to === undefined) {
    return await client.get(portalPath(named, "/plan"));
  }
  if (named !== undefined || from === undefined || to === undefined) {
    throw usageError("wanted a portal, or --from VERSION and --to VERSION");
  }
  return await client.get("/plan", { from, to });
}

const UNKNOWN = "an unknown version";

function describe(
  { from = UNKNOWN, to = UNKNOWN, direction, upgrades, skipped, held }: Plan,
): string {
  if (from === UNKNOWN && to === UNKNOWN) {
    return "No upgrade would run: the app is removed from the portal, or its versions are not known.";
  }
  const lines = [`${from} → ${to}`];
  if (direction === "down") lines.push("A downgrade runs no upgrade: the portal stays on its version.");
  else if (upgrades.length === 0) lines.push("No upgrade would run.");
  for (const [i, { id, range }] of upgrades.entries()) {
    lines.push(`  ${i + 1}. ${id}${id === range ? "" : `  (${range})`}`);
  }
  for (const { id } of skipped) lines.push(`  done: ${id}`);
  if (held !== undefined) lines.push(`Held: ${held}`);
  return lines.map(safe).join("\n");
}
