/** `onappupdate portal`: what happened to one portal. */
import type { PortalHistory } from "../plugin/admin_history.ts";
import type { Portal } from "../portal/portal.ts";
import { defineCommand, limitOption } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { portalPath } from "./operator_client.ts";
import { domainOf, reasonOf, styleOf } from "./portal_text.ts";
import type { Output } from "./terminal.ts";
import { cut, painter, safe, table, time, wrapped } from "./text.ts";
import { timelineOf } from "./timeline.ts";

interface PortalOptions extends ConnectOptions {
  readonly limit?: number;
}

interface ShownPortal extends Portal {
  readonly unverifiedEvents?: number;
}

const DEFAULT_LIMIT = 40;

/** Shows a portal and its timeline. */
export const portal = defineCommand<PortalOptions>({
  usage: "portal",
  summary: "show a portal and what happened to it",
  description:
    "Shows the state of the portal, and a timeline of its events, runs, steps and failures, the latest first.",
  group: "See:",
  arguments: [{ usage: "<portal>", description: "its member_id or its domain" }],
  options: [
    limitOption("lines of the timeline", DEFAULT_LIMIT),
    ...CONNECT_OPTIONS,
  ],
  examples: [
    "onappupdate portal acme.bitrix24.de --app ./app.ts",
    "onappupdate portal a223c6b3710f85df22e9377d6c4f7553 --app ./app.ts",
  ],
  run: (invocation) =>
    withClient(invocation, async (client) => {
      const { args: [named], options: { limit = DEFAULT_LIMIT }, terminal, show } = invocation;
      const portal = await client.get<ShownPortal>(portalPath(named));
      const history = await client.get<PortalHistory>(portalPath(portal.memberId, "/history"));
      show({ portal, history }, () => screen({ portal, history, limit, now: terminal.now() }, terminal.stdout));
    }),
});

interface Screen {
  readonly portal: ShownPortal;
  readonly history: PortalHistory;
  readonly limit: number;
  readonly now: number;
}

function screen({ portal, history, limit, now }: Screen, output: Output): string {
  const paint = painter(output);
  const { memberId, state, version = "unknown", target = "unknown", generation, claims = [] } = portal;
  const { unverifiedEvents = 0 } = portal;
  const versions = version === target ? version : `${version}, to be on ${target}`;
  const installation = generation > 1 ? `, installation ${generation}` : "";
  const lines = [
    `${paint("bold", safe(domainOf(portal)))}  ${safe(memberId)}`,
    `${paint(styleOf(state), state)} on ${safe(versions)}${installation}`,
  ];
  const reason = reasonOf(portal, now);
  if (reason !== "") lines.push(wrapped(reason, output.columns - 2, "  "));
  if (portal.failure?.fingerprint !== undefined) lines.push(paint("dim", `  --error ${portal.failure.fingerprint}`));
  for (const { kind, version, since, state } of claims) {
    const what = kind === "version" ? `version ${version}` : kind;
    lines.push(safe(`  claim of ${time(since)}: ${what}, ${state === "open" ? "Bitrix24 is asked" : "not confirmed"}`));
  }
  if (unverifiedEvents > 0) lines.push(`  ${unverifiedEvents} events wait for their verification`);
  const entries = timelineOf(history);
  lines.push("");
  if (entries.length === 0) lines.push("Nothing is recorded.");
  else {
    const rows = entries.slice(0, limit).map(({ at, what, text, style }) => [
      ...[time(at), style === undefined ? what : { text: what, style }],
      text,
    ]);
    lines.push(table(["TIME", "WHAT", ""], rows, output));
  }
  if (entries.length > limit) lines.push(`and ${entries.length - limit} earlier ones: raise --limit ${limit}`);
  return [...lines, ...callLines(history, output)].join("\n");
}

/** The calls of the last run: among them those that register robots, placements and the like. */
function callLines({ runs: [run] }: PortalHistory, output: Output): string[] {
  const calls = Object.entries(run?.calls ?? {}).sort(([, a], [, b]) => b - a);
  if (calls.length === 0) return [];
  const text = calls.map(([name, count]) => `${name} ${count}`).join(", ");
  return ["", cut(safe(`Calls of the last run: ${text}`), output.isTerminal ? output.columns * 3 : Infinity)];
}
