/** A rollout on a screen. */
import type {
  RolloutBreaker,
  RolloutFailure,
  RolloutStageStatus,
  RolloutStatus,
  RolloutWait,
} from "../plugin/rollout.ts";
import type { Output, Terminal } from "./terminal.ts";
import { counted, duration, painter, safe, table, time, wrapped } from "./text.ts";

/** Returns the screen of `onappupdate rollout status`. */
export function rolloutText(rollout: RolloutStatus, { stdout, now }: Pick<Terminal, "stdout" | "now">): string {
  const { stages, counts, breakers, failures } = rollout;
  const paint = painter(stdout);
  const sections = [
    [paint("bold", headOf(rollout)), `began ${time(rollout.startedAt)}`, ...waitLines(rollout, now(), stdout)],
    stages.length === 0 ? [] : [stageTable(rollout, stdout)],
    [countsText(counts), paceText(rollout, now())],
    breakers.length === 0 ? [] : [breakerTable(breakers, stdout)],
    failures.length === 0 ? [] : [paint("bold", "Failures"), ...failures.flatMap((one) => failureLines(one, stdout))],
  ];
  return sections.filter((lines) => lines.length > 0).map((lines) => lines.filter((line) => line !== "").join("\n"))
    .join("\n\n");
}

/** Returns one line about a rollout, for `onappupdate status`. */
export function rolloutLine(rollout: RolloutStatus, now: number): string {
  const wait = rollout.waitsFor === undefined ? "" : `: ${waitText(rollout.waitsFor, now)}`;
  return safe(`${headOf(rollout)}${wait}`);
}

function headOf(rollout: RolloutStatus): string {
  const { target, state, stages } = rollout;
  const present = stages.findIndex((stage) => stage.state === "present");
  const stage = present < 0 ? "" : `, stage ${present + 1} of ${stages.length}`;
  return `Rollout of ${target} is ${isStopped(rollout) ? "paused" : state}${stage}`;
}

/** Returns whether somebody has to act before it goes on. */
export function isStopped({ waitsFor }: RolloutStatus): boolean {
  return waitsFor?.on === "failures" || waitsFor?.on === "resume";
}

function waitLines(rollout: RolloutStatus, now: number, output: Output): string[] {
  const { waitsFor } = rollout;
  if (waitsFor === undefined) return [];
  const text = wrapped(waitText(waitsFor, now), output.isTerminal ? output.columns : Infinity);
  return [painter(output)(isStopped(rollout) ? "yellow" : "cyan", text)];
}

/** Returns what a rollout waits for, and what to do. */
function waitText(wait: RolloutWait, now: number): string {
  const until = (at: number): string => `${time(at)}${at > now ? `, in ${duration(at - now)}` : ""}`;
  switch (wait.on) {
    case "resume":
      return `${wait.by} has paused it since ${time(wait.since)}: ${wait.reason}. ` +
        "It goes on with: onappupdate rollout resume";
    case "failures":
      return `failures of upgrade ${wait.upgradeIds.join(", ")} have paused it since ${time(wait.since)}. Next: ` +
        "onappupdate rollout resume, or abort";
    case "window":
      return `waits for its window at ${until(wait.until)}`;
    case "time":
      return `the portals of this stage are done; the next one begins at ${until(wait.until)}`;
    case "promote":
      return "the portals of this stage are done. The next one begins with: onappupdate rollout promote";
    case "set":
      return "the portals of the last stage are done, and it has not all portals. Add stages with: onappupdate rollout set";
    case "portals":
      return "portals of this stage are not done";
  }
}

function stageTable({ stages, stageSince }: RolloutStatus, output: Output): string {
  const rows = stages.map((stage, i) => [
    ...[String(i + 1), sizeOf(stage), lengthOf(stage, i === stages.length - 1)],
    stage.state === "present"
      ? { text: `since ${time(stageSince)}`, style: "cyan" as const }
      : { text: stage.state, style: "dim" as const },
  ]);
  return table([">STAGE", ">PORTALS", "LASTS", "STATE"], rows, output);
}

function sizeOf({ portals, percent }: RolloutStageStatus): string {
  return portals === undefined ? `${percent}%` : String(portals);
}

function lengthOf({ forMs }: RolloutStageStatus, isLast: boolean): string {
  if (isLast) return "-";
  return forMs === undefined ? "until promote" : duration(forMs);
}

function countsText({ current, upgrading, blocked, parked, held }: RolloutStatus["counts"]): string {
  const all = { current, upgrading, blocked, parked, held };
  const sum = Object.values(all).reduce((sum, count) => sum + count, 0);
  const states = Object.entries(all).filter(([, count]) => count > 0).map(([state, count]) =>
    `${count.toLocaleString("en-US")} ${state}`
  );
  return `${counted(sum, "portal")}${states.length === 0 ? "" : `: ${states.join(", ")}`}`;
}

/** Time (ms) after which portals that have reached a version are counted in storage. */
const COUNTED_MS = 60_000;

function paceText({ perMinute, remainingMs, state, startedAt }: RolloutStatus, now: number): string {
  if (state !== "running") return "";
  if (perMinute === 0) {
    // Started processes store what they count with their next tick.
    return now - startedAt < COUNTED_MS ? "" : "None has reached the version in the last ten minutes.";
  }
  const left = remainingMs === undefined ? "" : `, about ${duration(remainingMs)} left`;
  return `${perMinute >= 10 ? Math.round(perMinute) : perMinute.toFixed(1)} a minute reach the version${left}`;
}

function breakerTable(breakers: readonly RolloutBreaker[], output: Output): string {
  const rows = breakers.map(({ upgradeId, inFlight, finished, failed, pausesAt, trippedAt }) => [
    ...[upgradeId, String(inFlight), String(finished), String(failed)],
    trippedAt === undefined
      ? String(pausesAt)
      : { text: `${pausesAt}, paused ${time(trippedAt)}`, style: "yellow" as const },
  ]);
  return table(["UPGRADE", ">IN FLIGHT", ">FINISHED", ">FAILED", "PAUSES AT"], rows, output);
}

/** Space before the causes, in which their count is. */
const INDENT = " ".repeat(9);

function failureLines({ count, upgradeId, message, fingerprint, memberIds }: RolloutFailure, output: Output): string[] {
  const place = upgradeId === undefined ? "before an upgrade" : `upgrade ${upgradeId}`;
  const columns = output.isTerminal ? output.columns - INDENT.length : Infinity;
  const [first = "", ...more] = wrapped(`${place}: ${message}`, columns).split("\n");
  return [
    `${count.toLocaleString("en-US").padStart(INDENT.length - 2)}  ${first}`,
    ...more.map((line) => INDENT + line),
    painter(output)("dim", safe(`${INDENT}--error ${fingerprint}, such as ${memberIds[0] ?? ""}`)),
  ];
}
