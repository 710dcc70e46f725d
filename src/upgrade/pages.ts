/** `pages` of upgrade handlers: walks from one cursor to the next, and records each. */
import { defined } from "../defined.ts";
import { isDone } from "../portal/journal.ts";
import { entryTime, timeOf } from "../portal/run_steps.ts";
import type { FailedStep, StepEngine } from "./step_engine.ts";
import { encodeStored } from "./step_results.ts";
import { type PageResult, PAGES_RULES, type StepOptions, type StepScope } from "./steps.ts";

/** A cursor as an attempt after an interruption receives it. */
interface Cursor<C> {
  readonly value: C;
  readonly json: string | undefined;
}

/** Part of the maximum size of a value that a cursor may have: its chunk of the journal has entries of other steps. */
const CURSOR_SHARE = 1 / 2;

/** Runs `page` with one cursor after the other; see `Steps.pages`. */
export function runPages<C>(
  engine: StepEngine,
  name: string,
  start: C,
  page: (cursor: C, scope: StepScope) => PageResult<C> | Promise<PageResult<C>>,
  options: Omit<StepOptions<number>, "undo">,
): Promise<number> {
  const { runtime: { clock } } = engine.options;
  return engine.runExclusively(name, async (recorded) => {
    engine.assertOptions(name, options, PAGES_RULES);
    const before = recorded?.[2] === "page" || recorded?.[2] === "pages" ? recorded : undefined;
    let [number, done] = before === undefined ? [0, 0] : [before[3], before[4]];
    let { startedAt, failed } = timeOf(before?.[1] ?? clock());
    const first: unknown = recorded?.[2] === "page" ? recorded[5] : start;
    const isFinished = recorded !== undefined && isDone(recorded, clock());
    let cursor = isFinished ? undefined : await storedCursor<C>(engine, { name, attempt: 1 }, first);
    /** The cursor of the last page whose number is a power of two: a walk in a circle meets it, however long the circle is. */
    let earlier = cursor;
    while (cursor !== undefined) {
      if (engine.isTurnOver()) engine.suspend(clock());
      const step = { name, attempt: engine.nextAttempt(name) };
      const { value, json } = cursor;
      const result = await engine.runWork(name, step.attempt, options, (scope) => page(value, scope), json);
      number++;
      failed += step.attempt - 1;
      assertPage(engine, step, result);
      done += result.done;
      engine.stageProgress({ done, ...defined({ total: result.total }) });
      cursor = await nextCursor(engine, step, result.next, [json, earlier?.json]);
      const time = entryTime(clock(), startedAt, failed);
      await engine.record(
        cursor === undefined ? [name, time, "pages", number, done] : [name, time, "page", number, done, cursor.value],
      );
      engine.reportFinished(name, step.attempt);
      if (Number.isInteger(Math.log2(number))) earlier = cursor;
      await engine.saveProgress();
    }
    engine.finished.push({ name });
    return done;
  });
}

function assertPage(engine: StepEngine, step: FailedStep, page: unknown): void {
  const { done } = (page ?? {}) as { readonly done?: unknown };
  if (typeof done === "number" && Number.isFinite(done)) return;
  const problem = `its done is ${describe(done)}, wanted a number`;
  throw engine.refuse(step, `cannot continue step "${step.name}" after its page: ${problem}`);
}

/** Returns the cursor of the next page; `undefined` after the last one. `earlier`: the JSON of cursors of earlier pages. */
async function nextCursor<C>(
  engine: StepEngine,
  step: FailedStep,
  next: C | null | undefined,
  earlier: readonly (string | undefined)[],
): Promise<Cursor<C> | undefined> {
  if (next === null || next === undefined) return undefined;
  const cursor = await storedCursor<C>(engine, step, next);
  if (!earlier.includes(cursor.json)) return cursor;
  const problem = "it returned the cursor of an earlier page, wanted the next one, or null after the last page";
  throw engine.refuse(step, `cannot continue step "${step.name}" after its page: ${problem}`);
}

/** Returns a cursor as it is after an interruption. Only that of the first page may be `undefined` or null. */
async function storedCursor<C>(engine: StepEngine, step: FailedStep, cursor: unknown): Promise<Cursor<C>> {
  if (cursor === undefined) return { value: cursor as C, json: undefined };
  const what = `the cursor of step "${step.name}"`;
  const { storage } = engine.options.runtime;
  const { json } = await engine.refusing(step, () => encodeStored(storage, what, cursor, CURSOR_SHARE));
  // JSON has no NaN and no Infinity.
  if (json === "null" && cursor !== null) {
    throw engine.refuse(
      step,
      `cannot store ${what}: it is ${describe(cursor)}, wanted a value that JSON can represent`,
    );
  }
  return { value: JSON.parse(json), json };
}

function describe(value: unknown): string {
  return typeof value === "number" || value === undefined ? String(value) : `of type ${typeof value}`;
}
