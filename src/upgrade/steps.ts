/** The recorded parts of an upgrade, as its handler sees them. */
import type { RetryPolicy } from "../retry.ts";

/** What the work of a step is given. */
export interface StepScope {
  /**
   * The same for every attempt at this step on this portal, and for no other step: hand it to whatever you call, so that
   * it can tell a repetition. A page of `pages` has one of its own.
   */
  readonly idempotencyKey: string;
  /** 1 at the first time, and one more for each time that it was begun since. */
  readonly attempt: number;
  /** Rises each time that a worker takes the portal: whoever has seen a higher one can refuse a lower one. */
  readonly fencingToken: number;
  /** Aborted at the time-out of the step or of the upgrade, when the app closes, and when another worker takes over. */
  readonly signal: AbortSignal;
}

/** Options of a step. `T` is what it gives. */
export interface StepOptions<T> {
  /** Instead of the upgrade's. */
  readonly retry?: RetryPolicy;
  /** Milliseconds after which an attempt has failed and its `signal` is aborted; default none. */
  readonly timeoutMs?: number;
  /** Takes back what the step did; run by `app.admin.rollback`, at least once, with what the step gave. */
  readonly undo?: (result: T, scope: StepScope) => void | Promise<void>;
}

/** What one page did, and where the next one begins; `next: null` after the last one. */
export interface PageResult<C> {
  /** Where the next page begins; `null`: this was the last. */
  readonly next: C | null;
  /** How much this page did, of whatever is counted. */
  readonly done: number;
  /** How much there is in all, if that is known. */
  readonly total?: number;
}

/**
 * The recorded parts of an upgrade. A name is used once in an upgrade, and one step runs at a time. Steps are known by
 * their names: a deploy may reorder them; one that is gone from the code is left out, one that is new is run.
 */
export interface Steps {
  /**
   * Runs `run` at least once, and records what it gave (anything that JSON can say, or nothing): from then on it is not
   * run again, and what it gave is given again.
   *
   * @throws {NonRetriableError} when the name is used twice, or while another step runs
   */
  readonly step: <T>(
    name: string,
    run: (scope: StepScope) => T | Promise<T>,
    options?: StepOptions<T>,
  ) => Promise<T>;
  /**
   * Runs `page` for one cursor after the other, from `start` until `next` is `null`, each at least once; after an
   * interruption from the cursor that was recorded last. Resolves to all that was done.
   */
  readonly pages: <C>(
    name: string,
    start: C,
    page: (cursor: C, scope: StepScope) => PageResult<C> | Promise<PageResult<C>>,
    options?: Omit<StepOptions<number>, "undo">,
  ) => Promise<number>;
  /**
   * Goes on after this many milliseconds, or later, at a `tick()`, possibly in another process: the handler runs again
   * from its beginning, and its finished steps give what they gave.
   */
  readonly sleep: (name: string, ms: number) => Promise<void>;
  /** Tells how far the upgrade is; recorded about once a second, and with the next step. */
  readonly progress: (done: number, total?: number, note?: string) => Promise<void>;
}
