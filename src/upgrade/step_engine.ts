/** The recorded parts of an upgrade: what is finished is not run again. */
import { isDuration, MAX_TIMER_MS, type Time } from "../async/time.ts";
import { withTimeout } from "../async/with_timeout.ts";
import type { PortalRecord, RunProgress, StepRecord } from "../portal/record.ts";
import { assertRetryPolicy, maxAttemptsOf, type RetryPolicy } from "../retry.ts";
import { NonRetriableError } from "../errors.ts";
import { digest } from "../secret.ts";
import type { Storage } from "../storage/storage.ts";
import type { Installation } from "./installation.ts";
import { keepResult, resultOf } from "./step_results.ts";
import type { PageResult, StepOptions, Steps, StepScope } from "./steps.ts";

/** A run that goes on later. */
export class Suspended extends Error {
  readonly until: number;

  constructor(until: number) {
    super(`this run sleeps until ${new Date(until).toISOString()}`);
    this.name = "Suspended";
    this.until = until;
  }
}

/** A finished step and how to take it back. */
export interface Undoable {
  readonly name: string;
  readonly undo?: (scope: StepScope) => void | Promise<void>;
}

/** One attempt at an upgrade. */
export interface Attempt {
  readonly steps: Steps;
  /** The step that threw `error`, or a cause of it. */
  readonly failedStep: (error: unknown) => { readonly name: string; readonly retry?: RetryPolicy } | undefined;
  /** Set once the attempt sleeps, whatever the handler made of that. */
  readonly suspended: () => Suspended | undefined;
  /** Finished steps that the handler has come by, in order. */
  readonly finished: readonly Undoable[];
  /** From now on no step begins: a handler that is not waited for any more may still be running. */
  readonly end: () => void;
}

/** What an attempt is about. */
export interface AttemptOptions {
  readonly storage: Storage;
  readonly clock: () => number;
  readonly random: () => string;
  readonly time: Pick<Time, "setTimer">;
  readonly held: Installation;
  readonly upgradeId: string;
  readonly retry: RetryPolicy;
  readonly signal: AbortSignal;
  /** Aborted when the app closes: what that ends is no attempt. */
  readonly closing?: AbortSignal;
  /** Nothing is run any more: at the first step that is not done the attempt ends. For rolling back. */
  readonly isReplay?: boolean;
  readonly started: (step: string, attempt: number) => void;
  readonly finishedStep: (step: string, attempt: number) => void;
}

/** Between two records of progress, in milliseconds. */
const PROGRESS_MS = 1000;
/** The end of the times that a date can be, in milliseconds since 1970. */
const LAST_MS = 8.64e15;

/** The end of a replay. */
export class ReplayEnd extends Error {}

/** Begins an attempt. */
export function beginAttempt(options: AttemptOptions): Attempt {
  const { storage, clock, random, held, upgradeId, signal } = options;
  const { memberId } = held.record();
  const names = new Set<string>();
  const failures = new Map<unknown, { name: string; retry?: RetryPolicy }>();
  const finished: Undoable[] = [];
  let active: string | undefined;
  let suspended: Suspended | undefined;
  let ended = false;
  let progress: RunProgress | undefined;
  let progressAt = -Infinity;

  /** Records `step`, with the progress that is not recorded yet. */
  async function record(name: string, step: StepRecord): Promise<void> {
    assertGoesOn(name);
    const told = progress;
    progress = undefined;
    await held.update((record) => withProgress(withStep(record, upgradeId, name, step), told));
  }

  function assertGoesOn(name: string): void {
    signal.throwIfAborted();
    if (ended) throw new Error(`cannot go on with step "${name}" of upgrade "${upgradeId}": this attempt is over`);
    if (suspended !== undefined) throw suspended;
  }

  /** Runs `work` as the step `name`; `known` is what was recorded of it. */
  async function only<T>(name: string, work: (known: StepRecord | undefined) => Promise<T>): Promise<T> {
    const what = `step "${name}" of upgrade "${upgradeId}"`;
    assertGoesOn(name);
    if (names.has(name)) throw new NonRetriableError(`cannot begin ${what}: the name is used twice`);
    if (active !== undefined) throw new NonRetriableError(`cannot begin ${what}: step "${active}" is still running`);
    names.add(name);
    active = name;
    try {
      const known = stepOf(held.record(), upgradeId, name);
      if (options.isReplay && known?.state !== "done") throw new ReplayEnd();
      return await work(known);
    } finally {
      active = undefined;
    }
  }

  /** An attempt that neither ended nor failed took its process with it. */
  function assertNotDeadly(name: string, attempt: number, retry: RetryPolicy = options.retry): void {
    if (attempt <= maxAttemptsOf(retry)) return;
    throw failed(
      name,
      new NonRetriableError(`step "${name}" was begun ${attempt - 1} times, and its process ended each time`),
    );
  }

  /** Trying again would not help. */
  function assertOptions(name: string, { retry, timeoutMs }: StepOptions<never>): void {
    try {
      if (timeoutMs !== undefined && !isDuration(timeoutMs)) {
        throw new TypeError(`timeoutMs is ${timeoutMs}, wanted 1 to ${MAX_TIMER_MS}`);
      }
      if (retry !== undefined) assertRetryPolicy("it", retry);
    } catch (error) {
      const { message } = error as TypeError;
      throw failed(name, new NonRetriableError(`cannot run step "${name}": ${message}`));
    }
  }

  function failed(name: string, error: unknown, retry?: RetryPolicy): unknown {
    failures.set(error, { name, ...(retry === undefined ? {} : { retry }) });
    return error;
  }

  async function attemptAt<T>(
    name: string,
    attempt: number,
    { retry, timeoutMs }: StepOptions<never>,
    run: (scope: StepScope) => T | Promise<T>,
    part?: string,
  ): Promise<T> {
    options.started(name, attempt);
    try {
      // Before the time begins to count: what begins after it is over could not hear of that.
      const scope = await scopeOf(held, upgradeId, name, { attempt, signal, part });
      return await withTimeout(options.time, signal, timeoutMs, async (own) => await run({ ...scope, signal: own }));
    } catch (error) {
      if (options.closing?.aborted) await takeBack(name, attempt);
      throw failed(name, error, retry);
    }
  }

  /** Has an attempt not counted. Where that cannot be stored, it counts. */
  async function takeBack(name: string, attempts: number): Promise<void> {
    await held.update((record) => {
      const step = stepOf(record, upgradeId, name);
      if (step?.state !== "begun" || step.attempts !== attempts) return record;
      return withStep(record, upgradeId, name, { ...step, attempts: attempts - 1 });
    }).catch(() => {});
  }

  const steps: Steps = {
    step: <T>(name: string, run: (scope: StepScope) => T | Promise<T>, stepOptions: StepOptions<T> = {}) =>
      only(name, async (known) => {
        assertOptions(name, stepOptions as StepOptions<never>);
        const { undo } = stepOptions;
        const remember = (value: T): T => {
          finished.push({ name, ...(undo === undefined ? {} : { undo: (scope) => undo(value, scope) }) });
          return value;
        };
        if (known?.state === "done") return remember(await resultOf<T>(storage, memberId, name, known));
        const attempts = (known?.attempts ?? 0) + 1;
        assertNotDeadly(name, attempts, stepOptions.retry);
        await record(name, { state: "begun", attempts, at: clock() });
        const value = await attemptAt(name, attempts, stepOptions as StepOptions<never>, run);
        const { text, ...kept } = await keepResult(storage, held.record(), name, value, random).catch((error) => {
          throw failed(name, error, stepOptions.retry);
        });
        await record(name, { state: "done", attempts, at: clock(), ...kept });
        options.finishedStep(name, attempts);
        // As it comes back from the storage: what works at the first time must work after an interruption.
        return remember(text === undefined ? value : JSON.parse(text));
      }),
    pages: (name, start, page, stepOptions = {}) =>
      only(name, async (known) => {
        assertOptions(name, stepOptions as StepOptions<never>);
        if (known?.state === "done") {
          finished.push({ name });
          return known.done ?? 0;
        }
        let cursor: typeof start | null = known !== undefined && "cursor" in known
          ? known.cursor as typeof start
          : start;
        let done = known?.done ?? 0;
        let attempts = (known?.attempts ?? 0) + 1;
        assertNotDeadly(name, attempts, stepOptions.retry);
        await record(name, { state: "begun", attempts, at: clock(), cursor, done });
        while (true) {
          const at = cursor as typeof start;
          const result: PageResult<typeof start> = await attemptAt(
            name,
            attempts,
            stepOptions as StepOptions<never>,
            (scope) => page(at, scope),
            JSON.stringify(at),
          );
          done += result.done;
          progress = { done, ...(result.total === undefined ? {} : { total: result.total }) };
          options.finishedStep(name, attempts);
          cursor = result.next;
          if (cursor === null) break;
          attempts = 1;
          await record(name, { state: "begun", attempts, at: clock(), cursor, done });
        }
        await record(name, { state: "done", attempts, at: clock(), done });
        finished.push({ name });
        return done;
      }),
    sleep: (name, ms) =>
      only(name, async (known) => {
        const now = clock();
        const wakeAt = known?.wakeAt ?? now + ms;
        if (!(ms >= 0 && wakeAt <= LAST_MS)) {
          throw failed(
            name,
            new NonRetriableError(`cannot sleep "${name}" for ${ms} milliseconds, wanted a number from 0`),
          );
        }
        if (known?.state !== "done") {
          const isOver = wakeAt <= now;
          await record(name, { state: isOver ? "done" : "begun", attempts: 1, at: now, wakeAt });
          if (!isOver) throw suspended = new Suspended(wakeAt);
        }
        finished.push({ name });
      }),
    progress: async (done, total, note) => {
      assertGoesOn("progress");
      progress = { done, ...(total === undefined ? {} : { total }), ...(note === undefined ? {} : { note }) };
      if (clock() - progressAt < PROGRESS_MS) return;
      progressAt = clock();
      const told = progress;
      progress = undefined;
      await held.update((record) => withProgress(record, told));
    },
  };

  return {
    steps,
    failedStep: (error) => {
      let cause = error;
      for (
        let depth = 0;
        cause !== undefined && depth < 10;
        depth++, cause = cause instanceof Error ? cause.cause : undefined
      ) {
        const failed = failures.get(cause);
        if (failed !== undefined) return failed;
      }
      return undefined;
    },
    suspended: () => suspended,
    finished,
    end: () => void (ended = true),
  };
}

/** What the work of a step is given; `part` tells its pages, and its `undo`, apart. */
export async function scopeOf(
  { record, fencingToken }: Pick<Installation, "record" | "fencingToken">,
  upgradeId: string,
  name: string,
  { attempt, signal, part }: {
    readonly attempt: number;
    readonly signal: AbortSignal;
    readonly part?: string | undefined;
  },
): Promise<StepScope> {
  const { memberId, generation, rollbacks = 0 } = record();
  const place = [memberId, generation, rollbacks, upgradeId, name, ...(part === undefined ? [] : [part])];
  return { idempotencyKey: await digest(JSON.stringify(place)), attempt, fencingToken, signal };
}

function withProgress(record: PortalRecord, progress: RunProgress | undefined): PortalRecord {
  if (progress === undefined || record.run === undefined) return record;
  return { ...record, run: { ...record.run, progress } };
}

/** What is recorded of a step of the upgrade that is under way. */
export function stepOf(record: PortalRecord, upgradeId: string, name: string): StepRecord | undefined {
  const journal = record.run?.journal.find((one) => one.upgradeId === upgradeId);
  return journal !== undefined && Object.hasOwn(journal.steps, name) ? journal.steps[name] : undefined;
}

/** The record with `step` in the journal of its run. */
export function withStep(record: PortalRecord, upgradeId: string, name: string, step: StepRecord): PortalRecord {
  const { run } = record;
  if (run === undefined) return record;
  const journal = run.journal.map((one) => {
    if (one.upgradeId !== upgradeId) return one;
    // As an own property, whatever the name: `__proto__` must not vanish.
    const steps = Object.fromEntries([...Object.entries(one.steps).filter(([key]) => key !== name), [name, step]]);
    return { ...one, steps };
  });
  return { ...record, run: { ...run, journal } };
}
