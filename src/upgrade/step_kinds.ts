/** The functions of an upgrade handler that are recorded: `step`, `pages`, `sleep` and `progress`. */
import { defined } from "../defined.ts";
import { NonRetriableError } from "../errors.ts";
import { isDone } from "../portal/journal.ts";
import type { StepEngine } from "./step_engine.ts";
import { type EncodedStep, encodeStep, loadResult } from "./step_results.ts";
import { type PageResult, PAGES_RULES, STEP_RULES, type StepOptions, type Steps, type StepScope } from "./steps.ts";

/** Returns the functions over an engine. */
export function createSteps(engine: StepEngine): Steps {
  return {
    step: (name, run, options = {}) => runStep(engine, name, run, options),
    pages: (name, start, page, options = {}) => runPages(engine, name, start, page, options),
    sleep: (name, ms) => sleep(engine, name, ms),
    progress: async (done, total, note) => {
      engine.assertActive("progress");
      engine.stageProgress({ done, ...defined({ total, note }) });
      await engine.saveProgress();
    },
  };
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
      return finish(await loadResult(storage, journal.id, recorded) as T);
    }
    if (engine.isTurnOver()) engine.suspend(clock());
    const attempt = engine.nextAttempt(name);
    const value = await engine.runWork(name, attempt, options, run);
    let encoded: EncodedStep;
    try {
      encoded = encodeStep(storage, journal.id, { name, at: clock(), value, unique: random() });
    } catch (error) {
      throw engine.failed({ name, attempt, ...defined({ retry: options.retry }) }, error);
    }
    await engine.record(encoded.entry, encoded.before);
    engine.reportFinished(name, attempt);
    // The handler sees the same value at the first time as after an interruption.
    return finish(encoded.restored as T);
  });
}

function runPages<C>(
  engine: StepEngine,
  name: string,
  start: C,
  page: (cursor: C, scope: StepScope) => PageResult<C> | Promise<PageResult<C>>,
  options: Omit<StepOptions<number>, "undo">,
): Promise<number> {
  const { runtime: { clock } } = engine.options;
  return engine.runExclusively(name, async (recorded) => {
    engine.assertOptions(name, options, PAGES_RULES);
    let number = 0;
    let done = 0;
    let cursor = start;
    if (recorded?.[2] === "page" || recorded?.[2] === "pages") {
      [, , , number, done] = recorded;
      if (recorded[2] === "page") cursor = recorded[5] as C;
    }
    let isLast = recorded !== undefined && isDone(recorded, clock());
    while (!isLast) {
      if (engine.isTurnOver()) engine.suspend(clock());
      const attempt = engine.nextAttempt(name);
      const current = cursor;
      const work = (scope: StepScope) => page(current, scope);
      const result = await engine.runWork(name, attempt, options, work, JSON.stringify(current));
      number++;
      done += result.done;
      engine.stageProgress({ done, ...defined({ total: result.total }) });
      isLast = result.next === null;
      await engine.record(
        result.next === null
          ? [name, clock(), "pages", number, done]
          : [name, clock(), "page", number, done, result.next],
      );
      engine.reportFinished(name, attempt);
      if (result.next !== null) cursor = result.next;
      await engine.saveProgress();
    }
    engine.finished.push({ name });
    return done;
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
      const problem = `cannot sleep "${name}" for ${ms} milliseconds, wanted a number from 0`;
      throw engine.failed({ name, attempt: 1 }, new NonRetriableError(problem));
    }
    if (recorded?.[2] !== "sleep" && !isOver) await engine.record([name, now, "sleep", wakeAt]);
    if (!isOver && wakeAt > now) engine.suspend(wakeAt);
  });
}
