/**
 * A client of the REST API of portals, which keeps their limits and recovers from refused tokens: adds `b24` to every
 * context.
 *
 * @module
 */
import type { AnswerLimits, Plugin } from "../mod.ts";
import { abortable } from "./rest/abortable.ts";
import type { Answer } from "./rest/answers.ts";
import { type B24Failed, type B24Outcome, type B24Success, type CommandSender, runBatch } from "./rest/batches.ts";
import { type Call, type CallSettings, createCalls, type RunCall } from "./rest/calls.ts";
import { type B24Command, type B24Reference, resultOf } from "./rest/commands.ts";
import { allRows } from "./rest/list_batches.ts";
import { type B24Page, idOf, pageAt } from "./rest/lists.ts";
import { assertMethod, isBatch, isRead } from "./rest/methods.ts";
import { assertRate, type B24Rate, type B24Timer, createRequestQueues, SYSTEM_TIMER } from "./rest/pace.ts";

export { resultOf };
export type { B24Command, B24Failed, B24Outcome, B24Page, B24Rate, B24Reference, B24Success, B24Timer };

/** The members that {@linkcode rest} adds to a context. */
export interface HasB24 {
  /** The portal of the event. Its calls reject once the work on the event is aborted. */
  readonly b24: B24;
}

/** The REST API of one portal. */
export interface B24 {
  /**
   * Calls a method and resolves to its `result`. `params` are sent as JSON: an object with names, or an array for methods
   * whose parameters have an order instead.
   *
   * @throws {B24Error} if the portal refuses, or sends an unreadable answer (`ERROR_UNEXPECTED_ANSWER`)
   * @throws {UnreachableError} if the portal does not answer
   * @throws {RetryAfterError} if the method has used up its operating time for longer than `longestWaitMs`
   * @throws {NoCredentialsError} if no token of the portal can be used, or if the portal's license has ended
   * @throws {AddressError} if the portal is at, or has moved to, an address that may not be called
   */
  readonly call: <T = unknown>(method: string, params?: object, options?: B24Options) => Promise<T>;
  /**
   * Runs commands in their order, 50 in a request. Each command has its own outcome; a failed command does not reject. If
   * a request fails after another one was answered, its commands have that error, and the commands after it have
   * `BATCH_HALTED`.
   *
   * A parameter may be the result of an earlier command of the same request: see {@linkcode resultOf}. Any other value
   * arrives as it is: a command with a string such as `$result[x]`, which Bitrix24 would replace, has a request of its own.
   * Bitrix24 takes the parameters of commands as strings: `true` is sent as `1`, `false` as `0`, `null` as an empty string,
   * and empty lists are left out.
   *
   * A command whose method has used up its operating time is run again after `operating_reset_at`; if that is later than
   * `longestWaitMs`, or other commands use its result, its error says when to try again.
   *
   * @throws {TypeError} if a command is `batch`, or refers to one that is not an earlier command of the same request
   * @throws {B24Error} and everything else that `call` throws, if the first request fails as a whole
   */
  readonly batch: <Results extends object>(
    commands: { readonly [Name in keyof Results]: B24Command },
    options?: B24BatchOptions,
  ) => Promise<{ readonly [Name in keyof Results]: B24Outcome<Results[Name]> }>;
  /**
   * Returns one page of a list: for `pages()` of an upgrade, which continues at `next` after an interruption.
   *
   * `crm.item.list`, `tasks.task.list`, and `crm.*.list` of leads, deals, contacts, companies, quotes, activities and
   * products are paged by ID, unless `params` order them otherwise. Bitrix24 then does not count the rows, and no row is
   * skipped if others are deleted meanwhile. With the option `by`, so is any other method that filters by `>ID`, orders by
   * ID, and accepts `start: -1`. All other methods are paged by `start` and `next`, and Bitrix24 counts all rows for each
   * page.
   *
   * @throws {B24Error} and everything else that `call` throws; `ERROR_UNEXPECTED_ANSWER` also if the answer has no rows, or
   * the next page does not come after this one
   */
  readonly page: <T = unknown>(method: string, params?: object, options?: B24PageOptions) => Promise<B24Page<T>>;
  /** Yields all rows of a list, page by page; see `page`. The first call is made when the first row is requested. */
  readonly list: <T = unknown>(method: string, params?: object, options?: B24ListOptions) => AsyncIterable<T>;
}

/** Options of {@linkcode B24}'s functions. */
export interface B24Options {
  /** If it is aborted, the call rejects with its reason. */
  readonly signal?: AbortSignal;
  /**
   * Timeout of one request in milliseconds. Minimum: 1.
   *
   * @default `timeoutMs` of {@linkcode RestOptions}
   */
  readonly timeoutMs?: number;
  /**
   * Whether the call may run twice: then it is repeated if it may or may not have run.
   *
   * @default true for methods that only read by their name (`*.get`, `*.list`, `*.fields`, `app.info`, `profile` and the
   * like)
   */
  readonly repeatable?: boolean;
}

/** Options of {@linkcode B24.batch}. */
export interface B24BatchOptions extends B24Options {
  /**
   * Stops at the first command that fails. The commands after it are not run and have the code `BATCH_HALTED`.
   *
   * @default false
   */
  readonly halt?: boolean;
}

/** Options of {@linkcode B24.list}. */
export interface B24ListOptions extends B24Options {
  /**
   * Name of the ID in the method's filter and order, such as `"ID"` or `"id"`; `"start"` pages by row numbers instead.
   *
   * @default depends on the method; see {@linkcode B24.page}
   */
  readonly by?: string;
  /**
   * Key of the rows in the result, such as `"items"`.
   *
   * @default the result itself, or the only list in it
   */
  readonly key?: string;
}

/** Options of {@linkcode B24.page}. */
export interface B24PageOptions extends B24ListOptions {
  /**
   * `next` of the page before.
   *
   * @default 0
   */
  readonly after?: number;
}

/** Options of {@linkcode rest}. */
export interface RestOptions extends AnswerLimits {
  /**
   * Rate at which this process calls a portal. Use `{ burst: 250, perSecond: 5 }` for Enterprise portals; a function returns
   * the rate of each portal. The default leaves 5 of the 50 requests that Bitrix24 allows at once to the app's own
   * questions about unverified events.
   *
   * @default { burst: 45, perSecond: 2 }
   */
  readonly rate?: B24Rate | ((memberId: string) => B24Rate);
  /**
   * Timeout of one request in milliseconds. Bitrix24 itself stops after 60 seconds. Minimum: 1.
   *
   * @default 70000
   */
  readonly timeoutMs?: number;
  /**
   * Maximum number of requests for a call that may run twice, if it may or may not have run. Minimum: 1.
   *
   * @default 3
   */
  readonly attempts?: number;
  /**
   * Maximum time in milliseconds that a call waits for a method that has used up its operating time; if it takes longer,
   * the call rejects with `RetryAfterError`. Minimum: 0.
   *
   * @default 30000
   */
  readonly longestWaitMs?: number;
  /**
   * Clock and timer, to be replaced in tests.
   *
   * @default the system's
   */
  readonly timer?: B24Timer;
}

/** The plugin, with clients for code outside of handlers. */
export interface Rest extends Plugin<object, HasB24> {
  /**
   * Returns a client of a stored portal, for example for the vendor's own routes.
   *
   * @throws {TypeError} before the app has started
   */
  readonly portal: (memberId: string) => B24;
}

/**
 * Adds `b24` to every context, a client of the REST API of the event's portal. It sends requests to a portal in the
 * order of the calls and no faster than `rate`. Up to four requests that only read, judged by the names of their methods,
 * are in flight at a time; any other one runs alone, so that the writes of a step happen in the order of the calls. A call
 * that is repeated may be overtaken. Portals do not wait for one another. Tokens come from `host.credentials` and are sent in bodies of
 * requests only: they are never part of a URL, an error or a log line.
 *
 * | Bitrix24 answers | reaction |
 * |---|---|
 * | `expired_token`, `invalid_token`, `NO_AUTH_FOUND` | the token pair is refreshed once, and the call repeated |
 * | `user_access_error`, `ACCESS_DENIED`, `INVALID_CREDENTIALS` | the call is repeated as every other user whose tokens are stored |
 * | `PAYMENT_REQUIRED`, `NOT_INSTALLED` and the like | the portal is marked as blocked, and the error thrown |
 * | `QUERY_LIMIT_EXCEEDED` | the portal gets no requests for a while, longer each time, and the call is repeated |
 * | `OPERATION_TIME_LIMIT` | the call waits until the portal's `operating_reset_at`, or rejects with `RetryAfterError` |
 * | `INTERNAL_SERVER_ERROR`, `ERROR_UNEXPECTED_ANSWER`, no answer, no JSON | the call is repeated if it may run twice (`repeatable`) |
 * | a redirect to another host | the call is repeated at the new address, if it is confirmed to be the portal's; at most twice |
 * | more than `answerBytes` or `answerContainers` | the answer is not parsed, and `ERROR_UNEXPECTED_ANSWER` is thrown, which names the limit |
 * | a redirect to the same host | the portal's license has ended: it is marked as blocked on `payment`, and `NoCredentialsError` thrown |
 * | any other error, also with HTTP 200 | it is thrown as `B24Error`, with the code `UNKNOWN_ERROR` if it has none |
 *
 * @throws {TypeError} if an option is out of its range; at start, if the app provides no credentials of portals
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { rest } from "@b24/onappupdate/rest";
 * import assert from "node:assert/strict";
 *
 * const portals = rest();
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", clientSecret: "…" })
 *   .use(applicationToken())
 *   .use(portals)
 *   .upgrade("2.0.0", async ({ b24, pages, step }) => {
 *     await step("field", () => b24.call("crm.deal.userfield.add", { fields: { FIELD_NAME: "RATING" } }));
 *     await pages("deals", 0, async (cursor) => {
 *       const { items, next } = await b24.page<{ ID: string }>("crm.deal.list", {}, { after: cursor });
 *       const fields = { UF_CRM_RATING: 5 };
 *       const done = await b24.batch(
 *         Object.fromEntries(items.map(({ ID: id }) => [id, { method: "crm.deal.update", params: { id, fields } }])),
 *       );
 *       for (const outcome of Object.values(done)) if (!outcome.ok) throw outcome.error;
 *       return { next, done: items.length };
 *     });
 *   });
 * await app.start();
 *
 * const unknown = portals.portal("a223c6b3710f85df22e9377d6c4f7553");
 * await assert.rejects(unknown.call("profile"), { name: "UnknownPortalError" });
 * await app.close();
 * ```
 */
export function rest(options: RestOptions = {}): Rest {
  const { rate = { burst: 45, perSecond: 2 }, timer = SYSTEM_TIMER } = options;
  const { timeoutMs = 70_000, attempts = 3, longestWaitMs = 30_000, answerBytes, answerContainers } = options;
  assertRange({ timeoutMs, attempts, answerBytes, answerContainers }, 1);
  assertRange({ longestWaitMs }, 0);
  const rateOf = (memberId: string): B24Rate => assertRate(typeof rate === "function" ? rate(memberId) : rate);
  if (typeof rate !== "function") assertRate(rate);
  const settings: CallSettings = { timer, timeoutMs, limits: options, attempts, longestWaitMs };
  const queues = createRequestQueues(rateOf, timer);
  const closing = new AbortController();
  let run: RunCall | undefined;

  function portal(memberId: string, signal?: AbortSignal): B24 {
    if (run === undefined) {
      throw new TypeError(`cannot call portal ${memberId} before the app has started; await app.start() first`);
    }
    const signals = signal === undefined ? [closing.signal] : [closing.signal, signal];
    return clientOf({ run, memberId, signals, answerBytes });
  }

  return {
    name: "rest",
    adds: ["b24"],
    setup: (host) => {
      if (typeof host.credentials?.call !== "function" || typeof host.portalFetch !== "function") {
        throw new TypeError("cannot start: rest() needs an app that provides credentials of portals");
      }
      run = createCalls(host, queues, settings);
    },
    extend: ({ event, signal }) => ({ b24: portal(event.auth.memberId, signal) }),
    portal: (memberId) => portal(memberId),
    close: () => closing.abort(new DOMException("the app is closing", "AbortError")),
  };
}

/** The maximum delay of a timer, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function assertRange(values: Readonly<Record<string, number | undefined>>, min: number): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || (value >= min && value <= MAX_TIMER_MS)) continue;
    throw new TypeError(`cannot call portals with ${name} ${value}, wanted a number from ${min} to ${MAX_TIMER_MS}`);
  }
}

/** The request and the answer of a call of {@linkcode clientOf}. */
type Request<T> = Pick<Call<T>, "params" | "isRead" | "times" | "read">;

interface ClientOptions {
  readonly run: RunCall;
  readonly memberId: string;
  /** Calls end once one of them is aborted. */
  readonly signals: readonly AbortSignal[];
  /** Maximum size of an answer in bytes, if the caller has set it. */
  readonly answerBytes: number | undefined;
}

/** Returns the client of one portal. */
function clientOf({ run, memberId, signals, answerBytes }: ClientOptions): B24 {
  async function send<T>(
    method: string,
    request: Request<T>,
    { signal, timeoutMs, repeatable }: B24Options,
  ): Promise<T> {
    assertMethod(method);
    if (timeoutMs !== undefined) assertRange({ timeoutMs }, 1);
    const isRepeatable = repeatable === undefined ? request.isRead : () => repeatable;
    const call = { ...request, memberId, method, isRepeatable, timeoutMs };
    const all = signal === undefined ? signals : [...signals, signal];
    return await abortable({ signals: all }, (signal) => run({ ...call, signal }));
  }

  async function ask(method: string, params: object, options: B24Options): Promise<Answer> {
    return await send(method, {
      params: () => params,
      isRead: () => isRead(method),
      times: ({ time }) => [[method, time]],
      read: (answer: Answer) => answer,
    }, options);
  }

  const sender = (options: B24Options): CommandSender => ({
    batch: (request) => send("batch", request, options),
    call: (method, params) => ask(method, params, options),
  });

  async function page<T>(
    method: string,
    params: object = {},
    { after = 0, by = idOf(method, params), key, ...options }: B24PageOptions = {},
  ): Promise<B24Page<T>> {
    const { items, next } = await pageAt<T>({ by, key }, params, after, (params) => ask(method, params, options));
    return { items, next };
  }

  function list<T>(
    method: string,
    params: object = {},
    { by = idOf(method, params), key, ...options }: B24ListOptions = {},
  ): AsyncIterable<T> {
    const once = { ...options, repeatable: false };
    return allRows<T>({
      ...{ method, params, paging: { by, key }, answerBytes },
      call: (params, isOnce) => ask(method, params, isOnce ? once : options),
      batch: (commands) => runBatch(commands, true, sender(once)),
    });
  }

  return {
    call: async <T>(method: string, params: object = {}, options: B24Options = {}) => {
      if (isBatch(method)) throw new TypeError("cannot call batch by its name, wanted b24.batch()");
      return (await ask(method, params, options)).result as T;
    },
    batch: async (commands, { halt = false, ...options } = {}) => {
      const outcomes = await runBatch(commands, halt, sender(options));
      return Object.fromEntries(outcomes) as never;
    },
    page,
    list,
  };
}
