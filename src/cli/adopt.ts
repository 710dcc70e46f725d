/** `onappupdate adopt`: adopts the portals that another program has. */
import { defined } from "../defined.ts";
import type { AdoptionLine, AdoptionReport } from "../plugin/adoption.ts";
import { act, ACT_OPTIONS, type Acting, type ActOptions, whenText } from "./act.ts";
import { defineCommand, type Invocation, wholeNumber } from "./command.ts";
import { badAnswer, EXIT, type ExitCode, ExitError, unreachable } from "./exit.ts";
import { readInput } from "./input.ts";
import type { Query } from "./operator_client.ts";
import { counted } from "./text.ts";

interface AdoptCommandOptions extends ActOptions {
  readonly dryRun?: true;
  readonly refresh?: true;
  readonly perMinute?: number;
}

/** A line of the answer. */
interface AnswerLine {
  readonly line?: AdoptionLine;
  readonly report?: AdoptionReport;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Adopts the portals of a file of JSON lines. */
export const adopt = defineCommand<AdoptCommandOptions>({
  usage: "adopt",
  summary: "adopt the portals that another program has",
  description:
    "Reads one portal a line, as JSON: docs/adoption.md has the fields. Asks Bitrix24 about each, and stores it with its " +
    "version. What is adopted is skipped, so run it again with the same file until nothing is left. Exits with 1 if lines " +
    "were not adopted.",
  group: "Act:",
  arguments: [{ usage: "<file>", description: "JSON lines; - for standard input" }],
  options: [
    { flags: "--dry-run", description: "ask Bitrix24 and report what would happen; store nothing" },
    { flags: "--refresh", description: "refresh expired tokens, which ends those of the file" },
    {
      flags: "--per-minute <n>",
      description: "at most n requests to OAuth hosts a minute (default: 600)",
      parse: wholeNumber(1, 1_000_000),
    },
    ...ACT_OPTIONS,
  ],
  examples: [
    "onappupdate adopt portals.jsonl --app ./app.ts --dry-run",
    'onappupdate adopt portals.jsonl --app ./app.ts --reason "ticket 17"',
  ],
  run: async (invocation) => {
    const [file = "-"] = invocation.args;
    const lines = await readInput(invocation.terminal, file);
    return await act(invocation, (acting) => adoptLines(invocation, acting, { file, lines }), {
      isDryRun: invocation.options.dryRun,
    });
  },
});

async function adoptLines(
  invocation: Invocation<AdoptCommandOptions>,
  acting: Acting,
  { file, lines }: { readonly file: string; readonly lines: string },
): Promise<ExitCode> {
  const { options: { dryRun, refresh, perMinute }, show, note } = invocation;
  const { client, reason, confirm } = acting;
  const total = lines.split("\n").filter((line) => line.trim() !== "").length;
  if (dryRun !== true) {
    const name = file === "-" ? "standard input" : file;
    const end = refresh === true ? ", and refresh expired tokens: those of the file are dead from then on" : "";
    await confirm(`Adopt ${counted(total, "line")} of ${name}${end}?`);
  }
  const query = { reason, ...defined({ perMinute }), ...flagsOf({ dryRun, refresh }) };
  const { report, problems } = await exchange(invocation, acting, { query, lines, total });
  for (const problem of problems) note(problemText(problem));
  show({ ...report, problems }, () => {
    const end = dryRun === true || report.adopted + report.filledIn === 0 ? "" : whenText(client);
    return [reportText(report, dryRun), end].join("\n").trimEnd();
  });
  return report.notAdopted > 0 ? EXIT.bad : EXIT.done;
}

function flagsOf(flags: Readonly<Record<string, true | undefined>>): Query {
  return Object.fromEntries(Object.entries(flags).filter(([, isSet]) => isSet).map(([name]) => [name, "true"]));
}

/** Sends the lines, and shows the progress. Returns all lines with a reason, in their order. */
async function exchange(
  { terminal }: Invocation<AdoptCommandOptions>,
  { client }: Acting,
  { query, lines, total }: { readonly query: Query; readonly lines: string; readonly total: number },
): Promise<{ readonly report: AdoptionReport; readonly problems: readonly AdoptionLine[] }> {
  const problems: AdoptionLine[] = [];
  let done = 0;
  let last: AnswerLine = {};
  const signal = terminal.interrupted();
  const bar = terminal.progress("adopting", total);
  const hint = (): string => `after ${counted(done, "line")}: run the command again with the same file to go on`;
  try {
    await client.exchange("/adopt", {
      ...{ query, lines, signal },
      onLine: (value) => {
        last = value as AnswerLine;
        const { line } = last;
        if (line === undefined) return;
        bar.update(++done);
        if (line.reason !== undefined) problems.push(line);
      },
    });
  } catch (error) {
    if (signal.aborted) throw badAnswer(`stopped ${hint()}`);
    throw error;
  } finally {
    bar.stop();
  }
  const { report, error } = last;
  if (signal.aborted && report === undefined) throw badAnswer(`stopped ${hint()}`);
  if (error !== undefined) throw new ExitError(exitCodeOf(error.code), `${error.message}\nIt ended ${hint()}`);
  if (report === undefined) throw unreachable(`${client.name} broke off ${hint()}`);
  return { report, problems: problems.sort((a, b) => a.line - b.line) };
}

function exitCodeOf(code: string): ExitCode {
  return code === "storage" || code === "unreachable" ? EXIT.unreachable : EXIT.bad;
}

function problemText({ line, memberId, outcome, reason, message }: AdoptionLine): string {
  const who = memberId === undefined ? "" : ` ${memberId}`;
  const kept = outcome === "not_adopted" ? "" : ` (${outcome.replace("_", " ")})`;
  return `line ${line}:${who} ${reason ?? outcome}${kept}: ${message ?? ""}`;
}

function reportText(
  { lines, adopted, filledIn, unchanged, notAdopted, reasons }: AdoptionReport,
  isDryRun = false,
): string {
  const why = Object.entries(reasons).map(([reason, count]) => `${count} ${reason}`).join(", ");
  return [
    `${isDryRun ? "Dry run, nothing is stored: " : ""}${counted(lines, "line")}`,
    `${adopted} adopted`,
    ...filledIn > 0 ? [`${filledIn} filled in`] : [],
    ...unchanged > 0 ? [`${unchanged} known before`] : [],
    `${notAdopted} not adopted`,
  ].join(", ") + (why === "" ? "" : ` (${why})`);
}
