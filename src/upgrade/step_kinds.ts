/** The functions of an upgrade handler that are recorded: `step`, `pages`, `sleep` and `progress`. */
import { defined } from "../defined.ts";
import { isDone } from "../portal/journal.ts";
import type { RunProgress } from "../portal/portal.ts";
import { entryTime } from "../portal/run_steps.ts";
import { storedText } from "../portal/stored_text.ts";
import { runPages } from "./pages.ts";
import type { StepEngine } from "./step_engine.ts";
import { encodeStep, loadResult } from "./step_results.ts";
import { STEP_RULES, type StepOptions, type Steps, type StepScope } from "./steps.ts";

/** Returns the functions over an engine. */
export function createSteps(engine: StepEngine): Steps {
  return {
    step: (name, run, options = {}) => runStep(engine, name, run, options),
    pages: (name, start, page, options = {}) => runPages(engine, name, start, page, options),
    sleep: (name, ms) => sleep(engine, name, ms),
    progress: (done, total, note) =>
      engine.charged(saveProgress(engine, { done, ...defined({ total, note: note && storedText(note) }) })),
  };
}

async function saveProgress(engine: StepEngine, progress: RunProgress): Promise<void> {
  engine.assertActive("progress");
  engine.stageProgress(progress);
  await engine.saveProgress();
}

function runStep<T>(
  engine: StepEngine,
  name: string,
  run: (scope: StepScope) => T | Promise<T>,
  options: StepOptions<T>,
): Promise<T> {
  const { runtime: { storage, clock, random }, journal } = engine.options;
  return engine.runExclusively(name, async (recorded) => {
    engine.assertOptions(name, options, STEP_RULES);
    const { undo } = options;
    const finish = (value: T): T => {
      engine.finished.push({ name, ...(undo === undefined ? {} : { undo: (scope) => undo(value, scope) }) });
      return value;
    };
    if (recorded !== undefined && isDone(recorded, clock())) {
      return finish(await engine.refusing({ name, attempt: 1 }, () => loadResult(storage, journal.id, recorded)) as T);
    }
    if (engine.isTurnOver()) engine.suspend(clock());
    const attempt = engine.nextAttempt(name);
    const startedAt = clock();
    const value = await engine.runWork(name, attempt, options, run);
    const time = entryTime(clock(), startedAt, attempt - 1);
    const encoded = await engine.refusing(
      { name, attempt },
      () => encodeStep(storage, journal.id, { name, time, value, unique: random() }),
    );
    await engine.record(encoded.entry, encoded.before);
    engine.reportFinished(name, attempt);
    // The handler sees the same value at the first time as after an interruption.
    return finish(encoded.restored as T);
  });
}

/** The maximum time of a `Date`, in milliseconds since 1970. */
const MAX_DATE_MS = 8.64e15;

function sleep(engine: StepEngine, name: string, ms: number): Promise<void> {
  return engine.runExclusively(name, async (recorded) => {
    const now = engine.options.runtime.clock();
    const isOver = recorded !== undefined && isDone(recorded, now);
    const wakeAt = recorded?.[2] === "sleep" ? recorded[3] : now + ms;
    if (!(ms >= 0 && wakeAt <= MAX_DATE_MS)) {
      throw engine.refuse(
        { name, attempt: 1 },
        `cannot sleep "${name}" for ${ms} milliseconds, wanted a number from 0`,
      );
    }
    if (recorded?.[2] !== "sleep" && !isOver) await engine.record([name, now, "sleep", wakeAt]);
    if (!isOver && wakeAt > now) engine.suspend(wakeAt);
  });
}
