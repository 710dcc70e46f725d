/** The report of a rehearsal for people. */
import type { RehearsalReport, RehearsedStep, RehearsedUpgrade, RehearsedWrite } from "./report.ts";

/** Maximum number of writes in the text. */
const MAX_WRITES = 200;

/** Returns the text of a report. */
export function reportText(report: Omit<RehearsalReport, "text">): string {
  const { memberId, from, to, obstacle, upgrades, calls, writes, changes, notRehearsed, isComplete } = report;
  const way = from === undefined || to === undefined ? "" : from === to ? ` on ${from}` : ` from ${from} to ${to}`;
  const more = writes.length - MAX_WRITES;
  return [
    `Rehearsal of portal ${memberId}${way}: ${isComplete ? "complete" : "not complete"}`,
    ...(obstacle === undefined ? [] : [`No run would begin now: ${obstacle}`]),
    ...(upgrades.length === 0 ? ["No upgrade is due"] : section("Upgrades:", upgrades.flatMap(upgradeLines))),
    ...section("Calls:", calls.map(({ method, count, isRead }) => `- ${count} ${method}${isRead ? "" : " (write)"}`)),
    ...section("Writes:", [
      ...writes.slice(0, MAX_WRITES).map(writeLine),
      ...(more > 0 ? [`- and ${more} more, in the writes of the report`] : []),
    ]),
    ...Object.entries(changes).flatMap(([plugin, made]) =>
      section(`Changes by ${plugin}:`, made.map(({ kind, id, action, why }) => `- ${action} ${kind} ${id}: ${why}`))
    ),
    ...section("Not rehearsed:", notRehearsed.map(({ what, why }) => `- ${what}: ${why}`)),
    ...(upgrades.length === 0 ? [] : [timeLine(report)]),
  ].join("\n");
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [title, ...lines];
}

const OUTCOMES: Readonly<Record<RehearsedUpgrade["outcome"], string>> = {
  rehearsed: "rehearsed",
  incomplete: "rehearsed in part",
  failed: "failed",
  blocked: "blocked",
  not_rehearsed: "not rehearsed",
  not_reached: "not reached",
};

function upgradeLines({ id, outcome, why, steps }: RehearsedUpgrade): string[] {
  return [`- ${id}: ${OUTCOMES[outcome]}${why === undefined ? "" : `: ${why}`}`, ...steps.map(stepLine)];
}

function stepLine({ name, kind, wasDone, pages, done, ms }: RehearsedStep): string {
  const what = [
    ...(pages === undefined ? [] : [counted(pages, "page")]),
    ...(done === undefined ? [] : [counted(done, "item")]),
    ...(ms === undefined ? [] : [seconds(ms)]),
  ].join(", ");
  return `  ${kind} ${JSON.stringify(name)}${what === "" ? "" : `: ${what}`}${wasDone ? ", done before" : ""}`;
}

function writeLine({ method, params, upgradeId, step, isUnknown }: RehearsedWrite): string {
  const where = [...(step === undefined ? [] : [`step ${JSON.stringify(step)}`]), upgradeId ?? "plugins"].join(" of ");
  return `- ${method} ${JSON.stringify(params)} in ${where}${isUnknown ? "; the method is not known" : ""}`;
}

function timeLine({ time: { requests, rateMs, sleepMs, minMs } }: Omit<RehearsalReport, "text">): string {
  const [atRate, asleep] = [seconds(rateMs), seconds(sleepMs)];
  return `Time: at least ${seconds(minMs)}: ${counted(requests, "request")} in ${atRate} at the portal's rate, ` +
    `and ${asleep} of sleeps`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function seconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}
