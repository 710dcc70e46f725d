/** The history of a portal as one list. */
import type { PortalDelivery, PortalHistory, RecordedRun } from "../plugin/admin_history.ts";
import type { FailedAttempt } from "../portal/failed_attempts.ts";
import { placeOf } from "./portal_text.ts";
import { duration, type Style, time } from "./text.ts";

/** One line of a timeline. */
export interface TimelineEntry {
  /** In milliseconds since 1970. */
  readonly at: number;
  readonly what: "event" | "run" | "upgrade" | "step" | "failure";
  readonly text: string;
  readonly style?: Style;
}

/** Returns what happened, the latest first. */
export function timelineOf({ deliveries, runs, attempts }: PortalHistory): readonly TimelineEntry[] {
  const entries = [...deliveries.map(eventEntry), ...runs.flatMap(runEntries), ...attempts.map(failureEntry)];
  // Of one time, what is listed last here happened last.
  return entries.reverse().sort((a, b) => b.at - a.at);
}

function eventEntry({ name, receivedAt, state, doneAt, attempts, error, retryAt }: PortalDelivery): TimelineEntry {
  const parts = [`${name}: ${state}`];
  if (doneAt !== undefined) parts.push(` after ${duration(doneAt - receivedAt)}`);
  if (error !== undefined) parts.push(`, attempt ${attempts ?? 1} failed: ${error}`);
  if (retryAt !== undefined) parts.push(`, again at ${time(retryAt)}`);
  return { at: receivedAt, what: "event", text: parts.join(""), ...state === "parked" && { style: "red" } };
}

function runEntries(
  { from, to, startedAt, finishedAt, rolledBackAt, applied, upgrades }: RecordedRun,
): TimelineEntry[] {
  const entries: TimelineEntry[] = [{ at: startedAt, what: "run", text: `${from} → ${to} began` }];
  for (const { upgradeId, steps } of upgrades) {
    for (const { name, kind, startedAt, finishedAt, pages, attempts = 1, undoneAt } of steps) {
      const end = finishedAt === undefined ? "under way" : `took ${duration(finishedAt - startedAt)}`;
      // Each page is an attempt of its own.
      const failed = Math.max(attempts - (pages ?? 1), 0);
      const more = [pages === undefined ? "" : `, ${pages} pages`, failed === 0 ? "" : `, ${failed} failed attempts`];
      const what = kind === "sleep" ? `sleep ${JSON.stringify(name)}` : JSON.stringify(name);
      entries.push({
        at: finishedAt ?? startedAt,
        what: "step",
        text: `upgrade ${upgradeId}: ${what} ${end}${more.join("")}`,
      });
      if (undoneAt !== undefined) {
        entries.push({ at: undoneAt, what: "step", text: `upgrade ${upgradeId}: ${what} undone`, style: "yellow" });
      }
    }
  }
  for (const { id, at, skipped } of applied) {
    entries.push({ at, what: "upgrade", text: `${id} ${skipped === true ? "skipped" : "applied"}`, style: "green" });
  }
  if (finishedAt !== undefined) {
    const text = `${from} → ${to} finished after ${duration(finishedAt - startedAt)}`;
    entries.push({ at: finishedAt, what: "run", text, style: "green" });
  }
  if (rolledBackAt !== undefined) {
    entries.push({ at: rolledBackAt, what: "run", text: `${from} → ${to} rolled back`, style: "yellow" });
  }
  return entries;
}

function failureEntry(
  { failedAt, attempt, message, blockedOn, retryAt, event, ...place }: FailedAttempt,
): TimelineEntry {
  const where = event === undefined ? placeOf(place) : `handlers of ${event}`;
  const next = retryAt !== undefined
    ? `, again at ${time(retryAt)}`
    : blockedOn !== undefined
    ? `, blocked on ${blockedOn}`
    : ", parked";
  return { at: failedAt, what: "failure", text: `${where}, attempt ${attempt}${next}: ${message}`, style: "red" };
}
