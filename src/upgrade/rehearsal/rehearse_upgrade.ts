/** Rehearses one upgrade: runs its handler as a run would, with steps in memory and sleeps that are over at once. */
import { delay } from "../../async/time.ts";
import { NotRehearsedError } from "../../errors.ts";
import type { HandlerContext } from "../../plugin/context.ts";
import { createHandlerRun } from "../../plugin/handler_run.ts";
import type { VersionChange } from "../../plugin/observers.ts";
import { type AppRuntime, safeError } from "../../plugin/runtime.ts";
import { isDone, type JournalEntry } from "../../portal/journal.ts";
import { failedAttempts } from "../../portal/record.ts";
import { blockedReasonOf } from "../../retry.ts";
import { makeUpgradeContext } from "../attempt.ts";
import type { Upgrade, UpgradeContext } from "../definition.ts";
import type { Installation } from "../installation.ts";
import { missingScopes } from "../next_action.ts";
import { withApplied, withRun, withStart } from "../run_record.ts";
import { StepEngine } from "../step_engine.ts";
import { inMemoryJournal, type LargeResults, withLargeResults } from "./in_memory.ts";
import type { Recorder } from "./recorder.ts";
import type { RehearsedStep, RehearsedUpgrade } from "./report.ts";

/** Number of sleeps without a turn of the event loop. */
const SLEEPS_IN_A_ROW = 100;

/** The parts of a rehearsal in which an upgrade is rehearsed. */
export interface UpgradeRehearsal {
  readonly runtime: AppRuntime;
  readonly recorder: Recorder;
  readonly installation: Installation;
  /** The context of the portal, extended by plugins. */
  readonly ctx: HandlerContext;
  /** Adds members to the context of the handler. */
  readonly extendContext: (context: object) => void;
  readonly change: VersionChange;
  /** The recorded steps of the portal's current run, by upgrade. */
  readonly journals: ReadonlyMap<string, readonly JournalEntry[]>;
  readonly fetch: typeof fetch;
  /** Ends the rehearsal. */
  readonly signal: AbortSignal;
}

/** An upgrade that was rehearsed, and the time in milliseconds that it sleeps. */
export interface UpgradeResult {
  readonly upgrade: RehearsedUpgrade;
  readonly sleepMs: number;
}

/** Rehearses an upgrade. Never rejects. */
export async function rehearseUpgrade(rehearsal: UpgradeRehearsal, upgrade: Upgrade): Promise<UpgradeResult> {
  const { recorder, installation, journals, change } = rehearsal;
  const { id, range } = upgrade;
  const missing = missingScopes(installation.record(), upgrade);
  if (missing.length > 0) {
    const why = `it needs the scopes ${missing.join(", ")}, which the portal has not granted`;
    return { upgrade: { id, range, outcome: "blocked", why, steps: [] }, sleepMs: 0 };
  }
  const recorded = journals.get(id) ?? [];
  const now = rehearsal.runtime.clock();
  await installation.update((record) => withStart(withRun(record, now), id, { finished: 0, isAlone: false }));
  const { memberId, run } = installation.record();
  const large: LargeResults = new Map();
  const journal = inMemoryJournal({ memberId, runId: run!.id, upgradeId: id }, recorded, large);
  const attempts = createAttempts(rehearsal, upgrade, journal, large);
  const refusedBefore = recorder.notRehearsed().length;
  recorder.enterUpgrade(id);
  let end: Pick<RehearsedUpgrade, "outcome" | "why"> = { outcome: "rehearsed" };
  try {
    await attempts.run();
    installation.stage((record) => ({ record: withApplied(record, id, change.from, change.to, now) }));
  } catch (error) {
    end = endOf(rehearsal, error, refusedBefore);
  } finally {
    recorder.enterUpgrade(undefined);
  }
  const begun = new Map(recorded.map((entry) => [entry[0], entry]));
  const steps: RehearsedStep[] = journal.entries().filter((entry) => entry[2] !== "undone").map((entry) => {
    const before = begun.get(entry[0]);
    return { ...stepOf(entry), ...(before !== undefined && isDone(before, now) && { wasDone: true }) };
  });
  const unfinished = attempts.unfinishedStep();
  if (unfinished !== undefined && journal.get(unfinished.name) === undefined) steps.push(unfinished);
  return { upgrade: { id, range, ...end, steps }, sleepMs: sleepMsOf(journal.entries(), begun, now) };
}

/** Runs the handler of an upgrade until it returns: again after each sleep, as a run does. */
function createAttempts(
  { runtime, recorder, installation, ctx, extendContext, change, fetch, signal: outer }: UpgradeRehearsal,
  upgrade: Upgrade,
  journal: StepEngine["options"]["journal"],
  large: LargeResults,
): {
  readonly run: () => Promise<void>;
  readonly unfinishedStep: () => RehearsedStep | undefined;
} {
  let sleptMs = 0;
  let unfinished: RehearsedStep | undefined;
  /** Names of the steps that `pages` runs. */
  const paged = new Set<string>();
  const { turn: _, ...rest } = runtime;
  const ahead: AppRuntime = {
    ...{ ...rest, storage: withLargeResults(runtime.storage, large) },
    clock: () => runtime.clock() + sleptMs,
  };
  const record = installation.record();

  /** Returns when the handler wakes, in milliseconds since 1970; `undefined` if it has returned. */
  async function attempt(): Promise<number | undefined> {
    const name = { memberId: change.memberId, upgradeId: upgrade.id };
    const { signal, abort, restart, run } = createHandlerRun(ahead, name, outer, upgrade.timeoutMs);
    const engine = new StepEngine({
      ...{ runtime: ahead, installation, journal, retry: upgrade.retry ?? runtime.retry },
      ...{ signal, abort, cutOff: outer, failure: record.failure },
      onStepStarted: (step) => {
        unfinished = { name: step, kind: paged.has(step) ? "pages" : "step" };
        recorder.enterStep(step);
      },
      onStepFinished: () => {
        unfinished = undefined;
        restart();
      },
    });
    const attempt = failedAttempts(record, upgrade.id) + 1;
    const made = makeUpgradeContext(ctx, engine, record, change, { attempt, mode: "rehearsal", fetch });
    const pages: UpgradeContext["pages"] = (name, ...rest) => {
      paged.add(name);
      return made.pages(name, ...rest);
    };
    const context = { ...made, pages };
    extendContext(context);
    try {
      await run(() => engine.runHandler(() => upgrade.handler(context)));
    } catch (error) {
      if (engine.suspended === undefined) throw error;
    }
    return engine.suspended?.until;
  }

  return {
    run: async () => {
      for (let [wakeAt, sleeps] = [await attempt(), 1]; wakeAt !== undefined; wakeAt = await attempt(), sleeps++) {
        outer.throwIfAborted();
        // A handler that sleeps again and again: the timer that ends the rehearsal must have its turn.
        if (sleeps % SLEEPS_IN_A_ROW === 0) await delay(runtime.time, 0, outer);
        sleptMs += Math.max(0, wakeAt - ahead.clock());
      }
    },
    unfinishedStep: () => unfinished,
  };
}

/** Returns how an upgrade has ended whose handler threw `thrown`. `refusedBefore`: the number of refusals before it began. */
function endOf(
  { runtime, recorder, installation, ctx }: UpgradeRehearsal,
  thrown: unknown,
  refusedBefore: number,
): Pick<RehearsedUpgrade, "outcome" | "why"> {
  const stopped = recorder.stopped();
  if (stopped !== undefined) return { outcome: "incomplete", why: `not rehearsed further: ${stopped}` };
  const { message } = safeError(runtime, thrown, ctx.event, installation.record());
  const refusal = recorder.notRehearsed()[refusedBefore];
  if (refusal !== undefined) {
    const why = `${refusal.what}: ${refusal.why}`;
    // An SDK may have made an error of its own of the refusal. Or the handler has caught it, and has failed later.
    return { outcome: "incomplete", why: message.includes(why) ? why : `${why}; then it failed: ${message}` };
  }
  if (thrown instanceof NotRehearsedError) return { outcome: "incomplete", why: message };
  const on = blockedReasonOf(thrown);
  return on === undefined ? { outcome: "failed", why: message } : { outcome: "blocked", why: `on ${on}: ${message}` };
}

/** Returns the time of all sleeps, and of those that had begun before, what is left of them at `now`. */
function sleepMsOf(entries: readonly JournalEntry[], begunBefore: ReadonlyMap<string, unknown>, now: number): number {
  let sum = 0;
  for (const entry of entries) {
    if (entry[2] === "sleep") sum += Math.max(0, entry[3] - (begunBefore.has(entry[0]) ? now : entry[1]));
  }
  return sum;
}

function stepOf(entry: JournalEntry): RehearsedStep {
  const [name] = entry;
  if (entry[2] === "page" || entry[2] === "pages") return { name, kind: "pages", pages: entry[3], done: entry[4] };
  if (entry[2] === "sleep") return { name, kind: "sleep", ms: Math.max(0, entry[3] - entry[1]) };
  return { name, kind: "step" };
}
