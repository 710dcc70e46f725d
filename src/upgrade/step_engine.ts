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
  /** The retry policy of the step, if it has its own. */
  readonly retry?: RetryPolicy;
}

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
  /** Runs no step: the handler ends at its first unfinished one. */
  readonly isReplay?: boolean;
  readonly onStepStarted?: (step: string, attempt: number) => void;
  readonly onStepFinished?: (step: string, attempt: number) => void;
}

/** Minimum time (ms) between two records of progress. */
const PROGRESS_INTERVAL_MS = 1000;

export class StepEngine {
  readonly options: StepEngineOptions;
  /** Finished steps that the handler has reached, without sleeps, in this order. */
  readonly finished: FinishedStep[] = [];
  readonly #names = new Set<string>();
  readonly #failures = new Map<unknown, FailedStep>();
  /** Names of the steps that this attempt has recorded, also in part. */
  readonly #recorded = new Set<string>();
  #runningStep: string | undefined;
  #suspended: Suspended | undefined;
  #hasEnded = false;
  #hasRun = false;
  #hasFinishedOne = false;
  #progress: RunProgress | undefined;
  #isProgressStaged = false;
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
  async runExclusively<T>(name: string, work: (recorded: JournalEntry | undefined) => Promise<T>): Promise<T> {
    const { installation, journal, isReplay, runtime } = this.options;
    this.assertActive(name);
    const step = `step "${name}" of upgrade "${journal.id.upgradeId}"`;
    if (this.#names.has(name)) throw new NonRetriableError(`cannot start ${step}: the name is used twice`);
    if (this.#runningStep !== undefined) {
      throw new NonRetriableError(`cannot start ${step}: step "${this.#runningStep}" is still running`);
    }
    this.#names.add(name);
    this.#runningStep = name;
    try {
      // Throws if the app was removed from the portal.
      installation.record();
      const recorded = journal.get(name);
      if (isReplay && (recorded === undefined || !isDone(recorded, runtime.clock()))) throw new ReplayEnded();
      return await work(recorded);
    } finally {
      this.#runningStep = undefined;
    }
  }

  /** Throws if the options of a step are unknown or invalid. */
  assertOptions<Options extends object>(name: string, options: Options, rules: OptionRules<Options>): void {
    try {
      checkOptions(`cannot run step ${JSON.stringify(name)}`, options, rules);
    } catch (error) {
      throw this.failed({ name, attempt: 1 }, new NonRetriableError((error as TypeError).message));
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
    const { runtime, installation, journal, signal, onStepStarted } = this.options;
    // Made before the timeout starts.
    const repeats = this.#hasRun ? 0 : this.options.deaths ?? 0;
    this.#hasRun = true;
    const scope = await stepScope(runtime, installation, journal.id.upgradeId, name, {
      ...{ attempt: attempt + repeats, signal, part },
    });
    // A step starts without a write: after a pause of this process, another one may have taken over.
    await installation.ensureHeld();
    this.assertActive(name);
    onStepStarted?.(name, attempt);
    try {
      const limits = { timeoutMs, graceMs: GRACE_MS };
      return await withTimeout(
        runtime.time,
        signal,
        limits,
        async (signal) => await runInStep({ ...scope, signal }, work),
      );
    } catch (error) {
      throw this.failed({ name, attempt, ...defined({ retry }) }, error);
    }
  }

  /** Records a finished step or page. `before`: see {@linkcode Journal.append}. */
  async record(entry: JournalEntry, before: readonly WriteOperation[] = []): Promise<void> {
    const [name] = entry;
    this.assertActive(name);
    await this.options.journal.append(entry, before);
    this.#recorded.add(name);
  }

  /** Sets the progress, which is saved with the next write of the portal's record. */
  stageProgress(progress: RunProgress): void {
    this.#progress = progress;
    if (this.#isProgressStaged) return;
    this.#isProgressStaged = true;
    let written = progress;
    this.options.installation.stage(
      (record) => ({ record: withProgress(record, written = this.#progress!) }),
      () => {
        this.#isProgressStaged = false;
        if (written !== this.#progress) this.stageProgress(this.#progress!);
      },
    );
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
    throw this.#suspended = new Suspended(wakeAt);
  }

  /** Remembers that the step threw `error`, and returns it. */
  failed(step: FailedStep, error: unknown): unknown {
    this.#failures.set(error, step);
    return error;
  }

  /** Throws if the attempt is over. */
  assertActive(name: string): void {
    this.options.signal.throwIfAborted();
    if (this.#hasEnded) {
      throw new Error(
        `cannot continue with step "${name}" of upgrade "${this.options.journal.id.upgradeId}": this attempt has ended`,
      );
    }
    if (this.#suspended !== undefined) throw this.#suspended;
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
