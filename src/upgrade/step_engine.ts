/** Runs the steps of one attempt at an upgrade, one at a time, and records them. `step_kinds.ts` has the kinds of steps. */
import { withTimeout } from "../async/with_timeout.ts";
import { checkOptions, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import { NonRetriableError } from "../errors.ts";
import { GRACE_MS } from "../plugin/handler_run.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { isDone, type Journal, type JournalEntry } from "../portal/journal.ts";
import type { PortalFailure, RunProgress } from "../portal/portal.ts";
import type { RetryPolicy } from "../retry.ts";
import type { WriteOperation } from "../storage/storage.ts";
import { runInStep } from "./current_step.ts";
import type { Installation } from "./installation.ts";
import { ReplayEnded, Suspended } from "./interruptions.ts";
import { withProgress } from "./run_record.ts";
import { createStagedValue } from "./staged_value.ts";
import { stepScope } from "./step_scope.ts";
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
  /** Number of the attempt at the step. */
  readonly attempt: number;
  /** When the attempt began, in milliseconds since 1970; absent if its work did not. */
  readonly startedAt?: number;
  /** The retry policy of the step, if it has its own. */
  readonly retry?: RetryPolicy;
}

/** Does the work of a step, and reports it to the plugin that traces. */
export type TraceStep = <T>(step: string, attempt: number, work: () => Promise<T>) => Promise<T>;

export interface StepEngineOptions {
  readonly runtime: Pick<AppRuntime, "storage" | "clock" | "random" | "time" | "digest" | "signal" | "turn">;
  readonly installation: Installation;
  /** The journal of the upgrade. */
  readonly journal: Journal;
  /** The last failure of the portal. */
  readonly failure?: PortalFailure | undefined;
  /** The retry policy of steps that have none of their own. */
  readonly retry: RetryPolicy;
  /** Number of attempts before this one whose process ended at the first unfinished step. */
  readonly deaths?: number;
  /** Ends the attempt. */
  readonly signal: AbortSignal;
  /** Ends the attempt with an error, whatever the handler catches. */
  readonly abort: (reason: unknown) => void;
  /** Aborted when the app closes or the lease is lost: then nothing waits for work to end. */
  readonly cutOff: AbortSignal;
  /** Runs no step: the handler ends at its first unfinished one. */
  readonly isReplay?: boolean;
  /** Traces the work of a step. */
  readonly traceStep?: TraceStep;
  readonly onStepStarted?: (step: string, attempt: number) => void;
  readonly onStepFinished?: (step: string, attempt: number) => void;
}

/** Maximum length of the name of a step, which is in its entry of the journal and in failures. */
const MAX_NAME_LENGTH = 500;

/** Maximum number of steps of an upgrade: all their entries are read when a handler runs again. */
const MAX_STEPS = 10_000;

/** Minimum time (ms) between two records of progress. */
const PROGRESS_INTERVAL_MS = 1000;

export class StepEngine {
  readonly options: StepEngineOptions;
  /** Sets the progress, which is saved with the next write of the portal's record. */
  readonly stageProgress: (progress: RunProgress) => void;
  /** Finished steps that the handler has reached, without sleeps, in this order. */
  readonly finished: FinishedStep[] = [];
  readonly #names = new Set<string>();
  readonly #failures = new Map<unknown, FailedStep>();
  /** Names of the steps that this attempt has recorded, also in part. */
  readonly #recorded = new Set<string>();
  #running: { readonly name: string; readonly ended: Promise<void> } | undefined;
  #suspended: Suspended | undefined;
  #refusal: NonRetriableError | undefined;
  #hasReturned = false;
  #hasRun = false;
  #hasFinishedOne = false;
  #progressSavedAt = -Infinity;

  constructor(options: StepEngineOptions) {
    this.options = options;
    this.stageProgress = createStagedValue(options.installation, withProgress);
  }

  /** Set once the attempt sleeps, even if the handler has caught the error. */
  get suspended(): Suspended | undefined {
    return this.#suspended;
  }

  /**
   * Runs the handler. Once it has ended, no further step starts, and the one that is still running is waited for.
   *
   * @throws {NonRetriableError} if the handler returns while a step is running
   * @throws the error of the handler
   */
  async runHandler(handler: () => void | Promise<void>): Promise<void> {
    try {
      await handler();
      if (this.#running !== undefined) {
        const { name } = this.#running;
        const problem = `its handler returned while step "${name}" was still running; add the missing "await"`;
        throw this.refuse(
          { name, attempt: 1 },
          `upgrade "${this.options.journal.id.upgradeId}" is not done: ${problem}`,
        );
      }
    } finally {
      this.#hasReturned = true;
      await this.#running?.ended;
    }
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
  runExclusively<T>(name: string, work: (recorded: JournalEntry | undefined) => Promise<T>): Promise<T> {
    return this.charged(this.#runExclusively(name, work));
  }

  async #runExclusively<T>(name: string, work: (recorded: JournalEntry | undefined) => Promise<T>): Promise<T> {
    const { installation, journal, isReplay, runtime } = this.options;
    this.assertActive(name);
    const problem = this.#problemOf(name);
    if (problem !== undefined) {
      const step = `step "${name.slice(0, MAX_NAME_LENGTH)}" of upgrade "${journal.id.upgradeId}"`;
      throw this.refuse({ name, attempt: 1 }, `cannot start ${step}: ${problem}`);
    }
    this.#names.add(name);
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    this.#running = { name, ended };
    try {
      // Throws if the app was removed from the portal.
      installation.record();
      const recorded = journal.get(name);
      if (isReplay && (recorded === undefined || !isDone(recorded, runtime.clock()))) throw new ReplayEnded();
      return await work(recorded);
    } finally {
      this.#running = undefined;
      end();
    }
  }

  /** Returns why the step must not start; `undefined` if it may. */
  #problemOf(name: string): string | undefined {
    if (name.length > MAX_NAME_LENGTH) {
      return `its name has ${name.length} characters, wanted at most ${MAX_NAME_LENGTH}`;
    }
    if (this.#names.has(name)) return "the name is used twice";
    if (this.#running !== undefined) return `step "${this.#running.name}" is still running`;
    return this.#names.size < MAX_STEPS
      ? undefined
      : `the upgrade has ${MAX_STEPS} steps already; use pages() for long lists`;
  }

  /**
   * Returns the promise of a function of the handler. A handler that leaves its rejection unhandled is charged with it, unless
   * the outcome of the attempt is certain already.
   */
  charged<T>(promise: Promise<T>): Promise<T> {
    const charged = promise.catch((error) => {
      const { signal, isReplay } = this.options;
      const isCertain = signal.aborted || this.#hasReturned || this.#suspended !== undefined || isReplay === true;
      if (isCertain) charged.catch(() => {});
      throw error;
    });
    return charged;
  }

  /** Throws if the options of a step are unknown or invalid. */
  assertOptions<Options extends object>(name: string, options: Options, rules: OptionRules<Options>): void {
    try {
      checkOptions(`cannot run step ${JSON.stringify(name)}`, options, rules);
    } catch (error) {
      throw this.refuse({ name, attempt: 1 }, (error as TypeError).message);
    }
  }

  /** Returns the number of the next attempt at a step or page. Attempts whose process ended do not count. */
  nextAttempt(name: string): number {
    const { failure, journal } = this.options;
    // A failure of an earlier page is over.
    const isFailed = failure?.upgradeId === journal.id.upgradeId && failure.step === name && !this.#recorded.has(name);
    return (isFailed ? failure.attempts : 0) + 1;
  }

  /** Runs one attempt at the work of a step. `part` distinguishes the pages of a step. */
  async runWork<T>(
    name: string,
    attempt: number,
    { retry, timeoutMs }: WorkOptions,
    work: (scope: StepScope) => T | Promise<T>,
    part?: string,
  ): Promise<T> {
    const { runtime, installation, journal, signal, cutOff, onStepStarted, traceStep } = this.options;
    // Made before the timeout starts.
    const repeats = this.#hasRun ? 0 : this.options.deaths ?? 0;
    this.#hasRun = true;
    const scope = await stepScope(runtime, installation, journal.id.upgradeId, name, {
      ...{ attempt: attempt + repeats, signal, part },
    });
    // A step starts without a write: after a pause of this process, another one may have taken over.
    await installation.ensureHeld();
    this.assertActive(name);
    const startedAt = runtime.clock();
    onStepStarted?.(name, attempt);
    try {
      const limits = { timeoutMs, graceMs: GRACE_MS, cutOff };
      const run = (): Promise<T> =>
        withTimeout(runtime.time, signal, limits, async (signal) => await runInStep({ ...scope, signal }, work));
      return await (traceStep === undefined ? run() : traceStep(name, attempt, run));
    } catch (error) {
      throw this.failed({ name, attempt, startedAt, ...defined({ retry }) }, error);
    }
  }

  /** Records a finished step or page. `before`: see {@linkcode Journal.append}. */
  async record(entry: JournalEntry, before: readonly WriteOperation[] = []): Promise<void> {
    this.options.signal.throwIfAborted();
    await this.options.journal.append(entry, before);
    this.#recorded.add(entry[0]);
  }

  /** Saves the progress, at most once a second. */
  async saveProgress(): Promise<void> {
    const now = this.options.runtime.clock();
    if (now - this.#progressSavedAt < PROGRESS_INTERVAL_MS) return;
    this.#progressSavedAt = now;
    await this.options.installation.flush();
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
    this.options.signal.throwIfAborted();
    throw this.#suspended = new Suspended(wakeAt);
  }

  /** Remembers that the step threw `error`, and returns it. */
  failed(step: FailedStep, error: unknown): unknown {
    // The step that was running is aborted with it.
    if (error !== this.#refusal) this.#failures.set(error, step);
    return error;
  }

  /**
   * Returns the error of a mistake in the handler, with which the attempt has ended: the run is parked, whatever the handler
   * catches.
   */
  refuse(step: FailedStep, mistake: string | NonRetriableError): NonRetriableError {
    const error = typeof mistake === "string" ? new NonRetriableError(mistake) : mistake;
    this.failed({ ...step, name: step.name.slice(0, MAX_NAME_LENGTH) }, error);
    this.#refusal ??= error;
    this.options.abort(error);
    return error;
  }

  /** Returns the result of `work`, and refuses the step if that is a mistake in the handler. */
  async refusing<T>(step: FailedStep, work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw error instanceof NonRetriableError ? this.refuse(step, error) : error;
    }
  }

  /** Throws if the attempt is over. */
  assertActive(name: string): void {
    this.options.signal.throwIfAborted();
    if (this.#hasReturned) {
      throw new Error(
        `cannot continue with step "${name}" of upgrade "${this.options.journal.id.upgradeId}": this attempt has ended`,
      );
    }
    if (this.#suspended !== undefined) throw this.#suspended;
  }
}
