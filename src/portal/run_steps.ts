/** The steps of a run with their times, as its journals show them. */
import { defined } from "../defined.ts";
import type { EntryTime, JournalEntry } from "./journal.ts";

/** A step of a run. Times are in milliseconds since 1970. */
export interface RecordedStep {
  /** Name of the step; unique in its upgrade. */
  readonly name: string;
  /** The function of the handler that recorded it. */
  readonly kind: "step" | "pages" | "sleep";
  /** When the attempt began that finished the step, or the first of its pages; when the sleep began. */
  readonly startedAt: number;
  /** When it finished, or will finish if it is a sleep; absent while some of its pages are to come. */
  readonly finishedAt?: number;
  /** Number of attempts at the step, or at all of its pages, without those whose process ended; absent for a sleep. */
  readonly attempts?: number;
  /** Number of finished pages; absent unless `kind` is `pages`. */
  readonly pages?: number;
  /** When a rollback has undone it; absent if none has. */
  readonly undoneAt?: number;
}

/** Returns the steps in the entries of a journal, in the order in which they finished. */
export function stepsIn(entries: readonly JournalEntry[]): readonly RecordedStep[] {
  const steps = new Map<string, RecordedStep>();
  for (const entry of entries) {
    const [name] = entry;
    const known = steps.get(name);
    if (entry[2] === "undone") {
      if (known !== undefined) steps.set(name, { ...known, undoneAt: entry[1] });
      continue;
    }
    // The last one holds, and comes last.
    steps.delete(name);
    steps.set(name, { name, ...workIn(entry) });
  }
  return [...steps.values()];
}

function workIn(entry: Exclude<JournalEntry, { readonly 2: "undone" }>): Omit<RecordedStep, "name"> {
  if (entry[2] === "sleep") return { kind: "sleep", startedAt: entry[1], finishedAt: entry[3] };
  const { at, startedAt, failed } = timeOf(entry[1]);
  if (entry[2] === "step" || entry[2] === "large") {
    return { kind: "step", startedAt, finishedAt: at, attempts: 1 + failed };
  }
  const [, , kind, pages] = entry;
  const finishedAt = kind === "pages" ? at : undefined;
  return { kind: "pages", startedAt, ...defined({ finishedAt }), attempts: pages + failed, pages };
}

/** Returns the time of an entry of work. */
export function timeOf(time: EntryTime): { readonly at: number; readonly startedAt: number; readonly failed: number } {
  const [at, tookMs = 0, failed = 0] = typeof time === "number" ? [time] : time;
  return { at, startedAt: at - tookMs, failed };
}

/** Returns the time of an entry of work that has finished at `at`. */
export function entryTime(at: number, startedAt: number, failed: number): EntryTime {
  const tookMs = Math.max(0, at - startedAt);
  return failed === 0 ? [at, tookMs] : [at, tookMs, failed];
}
