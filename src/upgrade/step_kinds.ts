/** The functions of an upgrade handler that are recorded: `step`, `pages`, `sleep` and `progress`. */
import { defined } from "../defined.ts";
import { NonRetriableError } from "../errors.ts";
import type { StepEngine } from "./step_engine.ts";
import { loadResult, storeResult } from "./step_results.ts";
import type { PageResult, StepOptions, Steps, StepScope } from "./steps.ts";

/** Returns the functions over an engine. */
export function createSteps(engine: StepEngine): Steps {
  return {
    step: (name, run, options = {}) => runStep(engine, name, run, options),
    pages: (name, start, page, options = {}) => runPages(engine, name, start, page, options),
    sleep: (name, ms) => sleep(engine, name, ms),
    progress: async (done, total, note) => {
      engine.assertActive("progress");
      engine.setProgress({ done, ...defined({ total, note }) });
      await engine.saveProgress();
    },
  };
}

function runStep<T>(
  engine: StepEngine,
  name: string,
  run: (scope: StepScope) => T | Promise<T>,
  { undo, ...options }: StepOptions<T>,
): Promise<T> {
  const { runtime: { storage, clock, random }, installation } = engine.options;
  return engine.runExclusively(name, async (recorded) => {
    engine.assertOptions(name, options);
    const finish = (value: T): T => {
      engine.finished.push({ name, ...(undo === undefined ? {} : { undo: (scope) => undo(value, scope) }) });
      return value;
    };
    if (recorded?.state === "done") {
      return finish(await loadResult<T>(storage, installation.record().memberId, name, recorded));
    }
    if (engine.isTurnOver()) engine.suspend(clock());
    const attempt = engine.nextAttempt(name, recorded, options);
    await engine.record(name, { state: "begun", attempts: attempt, at: clock() });
    const value = await engine.runWork(name, attempt, options, run);
    const { json, ...result } = await storeResult(storage, installation.record(), name, value, random)
      .catch((error) => {
        throw engine.failed(name, error, options.retry);
      });
    await engine.record(name, { state: "done", attempts: attempt, at: clock(), ...result });
    engine.reportFinished(name, attempt);
    // Parsed, so that the handler sees the same value at the first time as after an interruption.
    return finish(json === undefined ? value : JSON.parse(json));
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
    engine.assertOptions(name, options);
    if (recorded?.state === "done") {
      engine.finished.push({ name });
      return recorded.done ?? 0;
    }
    if (engine.isTurnOver()) engine.suspend(clock());
    let attempt = engine.nextAttempt(name, recorded, options);
    let cursor = recorded !== undefined && "cursor" in recorded ? recorded.cursor as C : start;
    let done = recorded?.done ?? 0;
    while (true) {
      await engine.record(name, { state: "begun", attempts: attempt, at: clock(), cursor, done });
      const current = cursor;
      const result = await engine.runWork(
        name,
        attempt,
        options,
        (scope) => page(current, scope),
        JSON.stringify(current),
      );
      done += result.done;
      engine.setProgress({ done, ...defined({ total: result.total }) });
      engine.reportFinished(name, attempt);
      if (result.next === null) break;
      cursor = result.next;
      attempt = 1;
      if (engine.isTurnOver()) {
        await engine.record(name, { state: "begun", attempts: 0, at: clock(), cursor, done });
        engine.suspend(clock());
      }
    }
    await engine.record(name, { state: "done", attempts: attempt, at: clock(), done });
    engine.finished.push({ name });
    return done;
  });
}

/** The maximum time of a `Date`, in milliseconds since 1970. */
const MAX_DATE_MS = 8.64e15;

function sleep(engine: StepEngine, name: string, ms: number): Promise<void> {
  return engine.runExclusively(name, async (recorded) => {
    const now = engine.options.runtime.clock();
    const wakeAt = recorded?.wakeAt ?? now + ms;
    if (!(ms >= 0 && wakeAt <= MAX_DATE_MS)) {
      const problem = `cannot sleep "${name}" for ${ms} milliseconds, wanted a number from 0`;
      throw engine.failed(name, new NonRetriableError(problem));
    }
    if (recorded?.state !== "done") {
      const isOver = wakeAt <= now;
      await engine.record(name, { state: isOver ? "done" : "begun", attempts: 1, at: now, wakeAt });
      if (!isOver) engine.suspend(wakeAt);
    }
    engine.finished.push({ name });
  });
}
