/** The screen of `onappupdate status`. */
import type { PortalCount } from "../portal/totals.ts";
import { compareVersions } from "../version.ts";
import { COUNTED_STATES } from "./portal_filter.ts";
import { placeOf, stateCell, styleOf } from "./portal_text.ts";
import type { ReasonGroup, Status } from "./read_status.ts";
import { isStopped, rolloutLine } from "./rollout_text.ts";
import type { Output } from "./terminal.ts";
import { bar, counted, duration, painter, safe, table, time, wrapped } from "./text.ts";

/** Space before the reasons, in which their count is. */
const INDENT = " ".repeat(9);

/** Reasons that are shown of each state. */
const MAX_GROUPS = 5;

/** Returns the screen. */
export function statusText(status: Status, output: Output): string {
  const paint = painter(output);
  const { app, at, counts, totals, pause, parked, blocked } = status;
  const lines = [`${paint("bold", safe(app))}  ${paint("dim", time(at))}`, ""];
  if (pause !== undefined) {
    const since = `since ${time(pause.since)}, by ${pause.by}: ${pause.reason}`;
    lines.push(paint("yellow", safe(`All work is paused ${since}. It goes on with: onappupdate resume`)), "");
  }
  if (status.rollout !== undefined) {
    const text = wrapped(rolloutLine(status.rollout, at), output.isTerminal ? output.columns : Infinity);
    lines.push(paint(isStopped(status.rollout) ? "yellow" : "cyan", text), "");
  }
  if (counts.length === 0) {
    lines.push(`No portal is known yet: ${whyUnknown(status)}.`);
    return lines.join("\n");
  }
  lines.push(countsTable(counts, output), "", summaryOf(totals));
  if (status.rate !== undefined) lines.push(rateText(status.rate));
  lines.push(...groupLines("Parked: failed for good, each waits for retry, skip or rollback", parked, output));
  lines.push(...groupLines("Blocked: each waits for the customer, or for you", blocked, output));
  return lines.join("\n");
}

function whyUnknown({ unverified = 0 }: Status): string {
  if (unverified === 0) return "no installation has been received and verified";
  return `${counted(unverified, "event")} ${unverified === 1 ? "waits" : "wait"} until Bitrix24 has verified ${
    unverified === 1 ? "it" : "them"
  }`;
}

function countsTable(counts: readonly PortalCount[], output: Output): string {
  const sum = counts.reduce((all, { count }) => all + count, 0);
  const columns = Math.min(Math.max(output.columns - OTHER_COLUMNS, 10), 40);
  const rows = [...counts].sort(byVersionAndState).map(({ version, status, count }) => [
    ...[version ?? "unknown", stateCell(status), number(count)],
    { text: bar(count / sum, columns), style: styleOf(status) },
  ]);
  return table(["VERSION", "STATE", ">PORTALS", ""], rows, output);
}

/** Columns of the table besides the bars, near enough. */
const OTHER_COLUMNS = 40;

/** The highest version first; those without one last. */
function byVersionAndState(a: PortalCount, b: PortalCount): number {
  if (a.version === b.version) return COUNTED_STATES.indexOf(a.status) - COUNTED_STATES.indexOf(b.status);
  if (a.version === undefined || b.version === undefined) return a.version === undefined ? 1 : -1;
  return compareVersions(b.version, a.version);
}

function summaryOf(totals: Status["totals"]): string {
  const installed = COUNTED_STATES.filter((state) => state !== "uninstalled");
  const sum = installed.reduce((all, state) => all + totals[state], 0);
  const states = installed.filter((state) => totals[state] > 0).map((state) => `${number(totals[state])} ${state}`);
  const gone = totals.uninstalled === 0 ? "" : `; ${number(totals.uninstalled)} uninstalled`;
  return `${counted(sum, "portal")}${states.length === 0 ? "" : `: ${states.join(", ")}`}${gone}`;
}

function rateText({ perMinute, remainingMs }: NonNullable<Status["rate"]>): string {
  if (perMinute === 0) return "None has become current since this began.";
  const left = remainingMs === undefined || remainingMs === 0 ? "" : `, about ${duration(remainingMs)} left`;
  return `${perMinute >= 10 ? Math.round(perMinute) : perMinute.toFixed(1)} a minute become current${left}`;
}

function groupLines(title: string, groups: readonly ReasonGroup[], output: Output): string[] {
  if (groups.length === 0) return [];
  const paint = painter(output);
  const lines = ["", paint("bold", title)];
  for (const group of groups.slice(0, MAX_GROUPS)) {
    const { count, fingerprint, blockedOn, example } = group;
    const text = `${blockedOn ?? placeOf(group)}: ${messageOf(group)}`;
    const [first = "", ...more] = wrapped(text, output.isTerminal ? output.columns - INDENT.length : Infinity).split(
      "\n",
    );
    lines.push(`${number(count).padStart(INDENT.length - 2)}  ${first}`, ...more.map((line) => INDENT + line));
    const details = [
      ...(fingerprint === undefined ? [] : [`--error ${fingerprint}`]),
      ...(example === undefined ? [] : [`such as ${example.domain}`]),
    ];
    if (details.length > 0) lines.push(paint("dim", safe(`${INDENT}${details.join(", ")}`)));
  }
  if (groups.length > MAX_GROUPS) lines.push(`${INDENT}and ${groups.length - MAX_GROUPS} other reasons: see --json`);
  return lines;
}

function messageOf({ message, example }: ReasonGroup): string {
  if (message !== undefined) return message;
  return example === undefined ? "its portals have gone on meanwhile" : "the handlers of an event have failed";
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
