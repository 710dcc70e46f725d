/** The recorded functions of upgrade handlers, as handlers see them. */
import { option, type OptionRules } from "../check_options.ts";
import { RETRY_RULES, type RetryPolicy } from "../retry.ts";

/** The argument of a step's work. */
export interface StepScope {
  /**
   * The same for every attempt at this step on this portal, and for nothing else. Pass it to the services that you call,
   * so that they recognize a repeat. Each page of `pages` has its own.
   */
  readonly idempotencyKey: string;
  /** Number of this attempt at the step, from 1. Attempts whose process ended count, also if it ended just before the step. */
  readonly attempt: number;
  /** Rises whenever a worker takes the lease of the portal. A service can refuse a lower token than it has seen. */
  readonly fencingToken: number;
  /** Aborted at the timeout of the step or the upgrade, when the lease is lost to another worker, and at a shutdown. */
  readonly signal: AbortSignal;
}

/** Options of a step. `T` is the type of its result. */
export interface StepOptions<T> {
  /**
   * When failed attempts are retried.
   *
   * @default the retry policy of the upgrade
   */
  readonly retry?: RetryPolicy;
  /**
   * Milliseconds after which an attempt fails and its `signal` is aborted. Minimum: 1. Maximum: 2147483647.
   *
   * @default no timeout
   */
  readonly timeoutMs?: number;
  /**
   * Undoes the step, given its result. `app.admin.rollback` runs it at least once.
   *
   * @default none: a rollback reports the step as not undone
   */
  readonly undo?: (result: T, scope: StepScope) => void | Promise<void>;
}

/** The rules of the options of `pages`. */
export const PAGES_RULES: OptionRules<Omit<StepOptions<unknown>, "undo">> = {
  retry: option.object(RETRY_RULES),
  timeoutMs: option.duration(),
};

/** The rules of {@linkcode StepOptions}. */
export const STEP_RULES: OptionRules<StepOptions<unknown>> = { ...PAGES_RULES, undo: option.function() };

/** The result of one page of `pages`. */
export interface PageResult<C> {
  /** Cursor of the next page, a JSON value that no page has had before; `null` or `undefined` after the last page. */
  readonly next: C | null | undefined;
  /** Number of items that this page has processed. A finite number. */
  readonly done: number;
  /** Number of items of all pages, if it is known. */
  readonly total?: number;
}

/**
 * The recorded functions of an upgrade handler. After an interruption the handler runs again from its start, and finished
 * steps return their recorded results.
 *
 * A step is identified by its name, which must be unique in the upgrade and has at most 500 characters. One step runs at a
 * time, and an upgrade has at most 10,000 steps; the pages of `pages` are one step. A deploy may add, remove and reorder
 * steps: removed steps are ignored, and new ones run.
 *
 * Await each of them. A handler that returns while a step is running, and a `NonRetriableError` of one of these functions,
 * park the run, whatever the handler catches.
 */
export interface Steps {
  /**
   * Runs `run` and records its result. Once recorded, the step never runs again, and its result is returned.
   *
   * `run` runs at least once: a crash between its end and the record repeats it. The result must be a JSON value or
   * `undefined`, and is returned as JSON restores it: a `Date` becomes a string.
   *
   * @throws {NonRetriableError} if the name is used twice, another step is running, an option is unknown or invalid, or the
   * result cannot be stored
   * @throws the error of `run`
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   *
   * createApp({ storage: memoryStorage() }).upgrade("2.0.0", async ({ step, fetch }) => {
   *   const id = await step("create the board", async ({ idempotencyKey }) => {
   *     const headers = { "idempotency-key": idempotencyKey }; // the service recognizes a repeat by it
   *     const answer = await fetch("https://vendor.example/boards", { method: "POST", headers });
   *     if (!answer.ok) throw new Error(`the service answered ${answer.status}`); // the step is retried
   *     return (await answer.json()).id as number;
   *   }, { timeoutMs: 60_000, retry: { maxAttempts: 3 }, undo: (id) => console.log(`delete board ${id}`) });
   *   await step("fill it", () => console.log(`filling board ${id}`));
   * });
   * ```
   */
  readonly step: <T>(
    name: string,
    run: (scope: StepScope) => T | Promise<T>,
    options?: StepOptions<T>,
  ) => Promise<T>;
  /**
   * Runs `page` with one cursor after the other, from `start` until a page returns `next: null` or `undefined`. Resolves to
   * the sum of `done`.
   *
   * The cursor is recorded after each page, and an interrupted step resumes there. So each page runs at least once, and
   * each has its own attempts and idempotency key. Like the result of a step, a cursor must be a JSON value, and is passed
   * as JSON restores it.
   *
   * @throws {NonRetriableError} if the name is used twice, another step is running, an option is unknown or invalid, a cursor
   * is one of an earlier page or cannot be stored, or `done` is not a number
   * @throws the error of `page`
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import { rest } from "@b24/onappupdate/rest";
   *
   * createApp({ storage: memoryStorage() }).use(rest()).upgrade("2.0.0", async ({ b24, pages, log }) => {
   *   const rated = await pages("rate the deals", 0, async (cursor) => {
   *     const { items, next } = await b24.page<{ ID: string }>("crm.deal.list", {}, { after: cursor });
   *     await b24.batchEach(items, ({ ID }) => ["crm.deal.update", { id: ID, fields: { UF_CRM_RATING: 5 } }]);
   *     return { next, done: items.length }; // an interrupted run resumes at the page after this one
   *   });
   *   log.info("deals rated", { rated });
   * });
   * ```
   */
  readonly pages: <C>(
    name: string,
    start: C,
    page: (cursor: C, scope: StepScope) => PageResult<C> | Promise<PageResult<C>>,
    options?: Omit<StepOptions<number>, "undo">,
  ) => Promise<number>;
  /**
   * Suspends the run for `ms` milliseconds. Minimum: 0.
   *
   * It throws to end the attempt: let the error pass. A later `tick()`, possibly in another process, runs the handler
   * again, and then `sleep` returns.
   *
   * @throws {NonRetriableError} if the name is used twice, another step is running, or `ms` is not a duration
   */
  readonly sleep: (name: string, ms: number) => Promise<void>;
  /**
   * Reports the progress of the upgrade, as `portal.run.progress`: `done` of `total` items, and a note for people, of
   * which 4,000 characters are kept. Saved at most once a second, and with the next write of the portal's record.
   */
  readonly progress: (done: number, total?: number, note?: string) => Promise<void>;
}
