/** Runs the steps of one attempt at an upgrade, one at a time, and records them. `step_kinds.ts` has the kinds of steps. */
import { withTimeout } from "../async/with_timeout.ts";
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import { NonRetriableError } from "../errors.ts";
import { GRACE_MS } from "../plugin/handler_run.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import type { RunProgress } from "../portal/portal.ts";
import type { StepRecord } from "../portal/record.ts";
import { maxAttemptsOf, RETRY_RULES, type RetryPolicy } from "../retry.ts";
import type { Installation } from "./installation.ts";
import { ReplayEnded, Suspended } from "./interruptions.ts";
import { stepOf, withoutStepAttempt, withProgress, withStep } from "./run_record.ts";
import type { StepOptions, StepScope } from "./steps.ts";

/** The options that all kinds of steps share. */
export type WorkOptions = Pick<StepOptions<unknown>, "retry" | "timeoutMs">;

/** A finished step, and the work that undoes it. */
export interface FinishedStep {
  readonly name: string;
  readonly undo?: (scope: StepScope) => void | Promise<void>;
}

/** A step that threw an error. */
export interface FailedStep {
  readonly name: string;
  /** The retry policy of the step, if it has its own. */
  readonly retry?: RetryPolicy;
}

export interface StepEngineOptions {
  readonly runtime: Pick<AppRuntime, "storage" | "clock" | "random" | "time" | "digest" | "signal" | "turn">;
  readonly installation: Installation;
  readonly upgradeId: string;
  /** The retry policy of steps that have none of their own. */
  readonly retry: RetryPolicy;
  /** Number of attempts before this one whose process ended at the first unfinished step. */
  readonly deaths?: number;
  /** Ends the attempt. */
  readonly signal: AbortSignal;
  /** Runs no step: the handler ends at its first unfinished one. */
  readonly isReplay?: boolean;
  readonly onStepStarted?: (step: string, attempt: number) => void;
  readonly onStepFinished?: (step: string, attempt: number) => void;
}

const WORK_RULES: OptionRules<WorkOptions> = { retry: option.object(RETRY_RULES), timeoutMs: option.duration() };

/** Minimum time (ms) between two records of progress. */
const PROGRESS_INTERVAL_MS = 1000;

export class StepEngine {
  readonly options: StepEngineOptions;
  /** Finished steps that the handler has reached, in this order. */
  readonly finished: FinishedStep[] = [];
  readonly #names = new Set<string>();
  readonly #failures = new Map<unknown, FailedStep>();
  #runningStep: string | undefined;
  #suspended: Suspended | undefined;
  #hasEnded = false;
  #hasRun = false;
  #hasFinishedOne = false;
  #unsavedProgress: RunProgress | undefined;
  #progressSavedAt = -Infinity;

  constructor(options: StepEngineOptions) {
    this.options = options;
  }

  /** Set once the attempt sleeps, even if the handler has caught the error. */
  get suspended(): Suspended | undefined {
    return this.#suspended;
  }

  /** Lets no further step start: a handler that timed out may still be running. */
  end(): void {
    this.#hasEnded = true;
  }

  /** Returns the step that threw `error` or one of its causes. */
  failedStep(error: unknown): FailedStep | undefined {
    // Causes may be circular.
    for (let cause = error, depth = 0; cause !== undefined && depth < 10; depth++) {
      const step = this.#failures.get(cause);
      if (step !== undefined) return step;
      cause = cause instanceof Error ? cause.cause : undefined;
    }
    return undefined;
  }

  /** Runs `work` as the step `name`. `recorded` is what earlier attempts have recorded about the step. */
  async runExclusively<T>(name: string, work: (recorded: StepRecord | undefined) => Promise<T>): Promise<T> {
    const { installation, upgradeId, isReplay } = this.options;
    this.assertActive(name);
    const step = `step "${name}" of upgrade "${upgradeId}"`;
    if (this.#names.has(name)) throw new NonRetriableError(`cannot start ${step}: the name is used twice`);
    if (this.#runningStep !== undefined) {
      throw new NonRetriableError(`cannot start ${step}: step "${this.#runningStep}" is still running`);
    }
    this.#names.add(name);
    this.#runningStep = name;
    try {
      const recorded = stepOf(installation.record(), upgradeId, name);
      if (isReplay && recorded?.state !== "done") throw new ReplayEnded();
      return await work(recorded);
    } finally {
      this.#runningStep = undefined;
    }
  }

  /** Throws if the options of a step are invalid. */
  assertOptions(name: string, { retry, timeoutMs }: WorkOptions): void {
    try {
      checkOptions(`cannot run step ${JSON.stringify(name)}`, defined({ retry, timeoutMs }), WORK_RULES);
    } catch (error) {
      throw this.failed(name, new NonRetriableError((error as TypeError).message));
    }
  }

  /** Returns the number of the next attempt at a step. Throws if no attempt is left. */
  nextAttempt(name: string, recorded: StepRecord | undefined, { retry }: WorkOptions): number {
    const attempt = (recorded?.attempts ?? 0) + 1;
    if (attempt <= maxAttemptsOf(retry ?? this.options.retry)) return attempt;
    // Had the last attempt failed, the run would be parked: its process must have ended.
    throw this.failed(
      name,
      new NonRetriableError(`step "${name}" was started ${attempt - 1} times, and its process ended each time`),
    );
  }

  /** Runs one attempt at the work of a step. `part` distinguishes the pages of a step. */
  async runWork<T>(
    name: string,
    attempt: number,
    { retry, timeoutMs }: WorkOptions,
    work: (scope: StepScope) => T | Promise<T>,
    part?: string,
  ): Promise<T> {
    const { runtime, installation, upgradeId, signal, onStepStarted } = this.options;
    onStepStarted?.(name, attempt);
    try {
      // Made before the timeout starts.
      const repeats = this.#hasRun ? 0 : this.options.deaths ?? 0;
      this.#hasRun = true;
      const scope = await stepScope(runtime, installation, upgradeId, name, {
        ...{ attempt: attempt + repeats, signal, part },
      });
      const limits = { timeoutMs, graceMs: GRACE_MS };
      return await withTimeout(runtime.time, signal, limits, async (signal) => await work({ ...scope, signal }));
    } catch (error) {
      if (runtime.signal.aborted) await this.#uncountAttempt(name, attempt);
      throw this.failed(name, error, retry);
    }
  }

  /** Records a step, and the progress that is not saved yet. */
  async record(name: string, step: StepRecord): Promise<void> {
    this.assertActive(name);
    const { installation, upgradeId } = this.options;
    const progress = this.#takeProgress();
    await installation.update((record) => withProgress(withStep(record, upgradeId, name, step), progress));
  }

  /** Sets the progress that the next record saves. */
  setProgress(progress: RunProgress): void {
    this.#unsavedProgress = progress;
  }

  /** Saves the progress, at most once a second. */
  async saveProgress(): Promise<void> {
    const now = this.options.runtime.clock();
    if (now - this.#progressSavedAt < PROGRESS_INTERVAL_MS) return;
    this.#progressSavedAt = now;
    const progress = this.#takeProgress();
    await this.options.installation.update((record) => withProgress(record, progress));
  }

  /** Reports that a step or a page is finished and recorded. */
  reportFinished(name: string, attempt: number): void {
    this.#hasFinishedOne = true;
    this.options.onStepFinished?.(name, attempt);
  }

  /** Returns whether other portals have to get their turn now. Never before this attempt has finished a step or a page. */
  isTurnOver(): boolean {
    return this.#hasFinishedOne && this.options.runtime.turn?.yields() === true;
  }

  /** Ends the attempt until `wakeAt`. */
  suspend(wakeAt: number): never {
    throw this.#suspended = new Suspended(wakeAt);
  }

  /** Remembers that the step threw `error`, and returns it. */
  failed(name: string, error: unknown, retry?: RetryPolicy): unknown {
    this.#failures.set(error, { name, ...defined({ retry }) });
    return error;
  }

  /** Throws if the attempt is over. */
  assertActive(name: string): void {
    this.options.signal.throwIfAborted();
    if (this.#hasEnded) {
      throw new Error(
        `cannot continue with step "${name}" of upgrade "${this.options.upgradeId}": this attempt has ended`,
      );
    }
    if (this.#suspended !== undefined) throw this.#suspended;
  }

  #takeProgress(): RunProgress | undefined {
    const progress = this.#unsavedProgress;
    this.#unsavedProgress = undefined;
    return progress;
  }

  /** A shutdown of the app cut the attempt off. If that cannot be stored, the attempt counts. */
  async #uncountAttempt(name: string, attempt: number): Promise<void> {
    const { installation, upgradeId } = this.options;
    await installation.update((record) => {
      const step = stepOf(record, upgradeId, name);
      if (step?.state !== "begun" || step.attempts !== attempt) return record;
      return withoutStepAttempt(record, upgradeId, name);
    }).catch(() => {});
  }
}

/** Returns the argument of a step's work. `part` distinguishes the pages of a step, and its undo. */
export async function stepScope(
  { digest }: Pick<AppRuntime, "digest">,
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
  const identity = [memberId, generation, rollbacks, upgradeId, name, ...(part === undefined ? [] : [part])];
  return { idempotencyKey: await digest(JSON.stringify(identity)), attempt, fencingToken, signal };
}
