/** `onappupdate doctor`: what is wrong, and what to do about it. */
import { defineCommand, type Invocation } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import type { Diagnosis, Finding } from "../plugin/diagnosis.ts";
import { appFindings, portalFindings } from "./doctor_app.ts";
import { EXIT, type ExitCode, ExitError } from "./exit.ts";
import type { Output } from "./terminal.ts";
import { painter, type Style, wrapped } from "./text.ts";

/** Looks for problems. */
export const doctor = defineCommand<ConnectOptions>({
  usage: "doctor",
  summary: "look for problems, and say what to do about each",
  description:
    "Looks at configuration, storage, hosts, clock and permissions, at portals, the schedule, events that wait for " +
    "verification, messages and actions of operators. With a portal, it also asks Bitrix24 why the portal gets no events. " +
    "With --app, hosts, clock and permissions are those of this machine, which may not be those of the server; with --url, " +
    "they are the server's. Exits with 1 if there is a problem.",
  group: "See:",
  arguments: [{ usage: "[portal]", description: "ask Bitrix24 about it: its member_id or its domain" }],
  options: CONNECT_OPTIONS,
  examples: [
    "onappupdate doctor --app ./app.ts",
    "onappupdate doctor acme.bitrix24.de --url https://ops.example",
  ],
  run: (invocation) =>
    withClient(invocation, async (client) => {
      const { args: [portal], terminal, note } = invocation;
      const { findings: found } = await client.post<Diagnosis>("/diagnose");
      const place = client.isLocal ? "this machine" : "the server";
      const findings: Finding[] = found.map((finding) => ({ ...finding, about: `${finding.about} (${place})` }));
      try {
        findings.push(...await appFindings(client, terminal.now()));
        if (portal !== undefined) findings.push(...await portalFindings(client, portal));
        return report(invocation, findings);
      } catch (error) {
        if (!(error instanceof ExitError) || error.exitCode !== EXIT.unreachable) throw error;
        // Such as a storage that is down, or Bitrix24: what was found may say why.
        report(invocation, findings);
        note(error.message);
        return error.exitCode;
      }
    }),
});

function report({ show, terminal }: Invocation<ConnectOptions>, findings: readonly Finding[]): ExitCode {
  show({ findings }, () => findings.map((finding) => describe(finding, terminal.stdout)).join("\n"));
  return findings.some(({ level }) => level === "problem") ? EXIT.bad : EXIT.done;
}

/** Space below a level. */
const INDENT = " ".repeat(9);

const STYLES: Readonly<Record<Finding["level"], Style>> = { ok: "green", warning: "yellow", problem: "red" };

function describe({ level, about, message, todo }: Finding, output: Output): string {
  const paint = painter(output);
  // A pipe has whole lines.
  const columns = output.isTerminal ? output.columns : Infinity;
  const text = wrapped(`${about}: ${message}`, columns, INDENT).slice(INDENT.length);
  const lines = [`${paint(STYLES[level], level.padEnd(INDENT.length - 2))}  ${text}`];
  if (todo !== undefined) lines.push(wrapped(`→ ${todo}`, columns, INDENT));
  return lines.join("\n");
}
