/**
 * Calls the REST of portals, at their pace and by their rules: adds `b24` to every context.
 *
 * @module
 */
import type { Plugin } from "../mod.ts";
import type { Answer } from "./rest/answers.ts";
import { type B24Command, type B24Outcome, type BatchPortal, runBatch } from "./rest/batches.ts";
import { type Calls, type CallSettings, createCalls } from "./rest/calls.ts";
import { allRows, type B24Page, idOf, pageAt } from "./rest/lists.ts";
import { assertMethod, isBatch, isRead } from "./rest/methods.ts";
import { assertRate, type B24Rate, type B24Timer, createLanes, SYSTEM_TIMER } from "./rest/pace.ts";
import { within } from "./rest/within.ts";

export type { B24Command, B24Outcome, B24Page, B24Rate, B24Timer };

/** What {@linkcode rest} adds to a context. */
export interface HasB24 {
  /** The portal of the event. Its calls end when the event's work is aborted. */
  readonly b24: B24;
}

/** Calls the REST of one portal. */
export interface B24 {
  /**
   * Calls a method and resolves to its `result`. `params` by name, or an array for methods that know them by their
   * order; they are sent as JSON.
   *
   * @throws {B24Error} when the portal refuses, or answers what cannot be read (`ERROR_UNEXPECTED_ANSWER`)
   * @throws {UnreachableError} when it does not answer
   * @throws {RetryAfterError} when the method has used up its time on the portal for longer than `longestWaitMs`
   * @throws {NoCredentialsError} when there is no token to call it with
   * @throws {AddressError} when it is, or has moved to, where no token may go
   */
  readonly call: <T = unknown>(method: string, params?: object, options?: B24Options) => Promise<T>;
  /**
   * Calls methods, 50 in a request, one after the other. Resolves also when commands fail: each has its own outcome. When
   * a request fails after others were answered, its commands have that error, and those after it `BATCH_HALTED`.
   * Commands with `$result[name]` get what earlier ones of the same request answered. Bitrix24 takes parameters of
   * commands as texts: `true` is sent as `1`, `false` as `0`, `null` as an empty text, and empty lists are left out.
   *
   * @throws {TypeError} when a command is `batch`, or when more than 50 are to have results of one another
   * @throws {B24Error} and all else that `call` throws, when the first request as a whole fails
   */
  readonly batch: <Results extends object>(
    commands: { readonly [Name in keyof Results]: B24Command },
    options?: B24BatchOptions,
  ) => Promise<{ readonly [Name in keyof Results]: B24Outcome<Results[Name]> }>;
  /**
   * One page of a list, for `pages()` of an upgrade, which goes on at `next` after an interruption.
   *
   * By ID, without counting and without leaving out rows when others are deleted meanwhile: `crm.item.list`,
   * `tasks.task.list` and `crm.*.list` of leads, deals, contacts, companies, quotes, activities and products, unless
   * `params` orders them otherwise; and with the option `by` any method that filters by `>ID`, orders by ID, and takes
   * `start: -1`. All others by `start` and `next`, which makes Bitrix24 count all rows for each page.
   *
   * @throws {B24Error} and all else that `call` throws; `ERROR_UNEXPECTED_ANSWER` also when no rows come, or the same
   * again
   */
  readonly page: <T = unknown>(method: string, params?: object, options?: B24PageOptions) => Promise<B24Page<T>>;
  /** All rows of a list, page by page: see `page`. Nothing is called before the first row is asked for. */
  readonly list: <T = unknown>(method: string, params?: object, options?: B24ListOptions) => AsyncIterable<T>;
}

/** Options of {@linkcode B24}'s functions. */
export interface B24Options {
  /** The call rejects with its reason once it is aborted. */
  readonly signal?: AbortSignal;
  /** Milliseconds that one request may take; default that of {@linkcode RestOptions}. */
  readonly timeoutMs?: number;
  /**
   * Whether the call may be done twice, so that it can be repeated when nobody knows whether it was done. Default: what
   * only reads, by its name (`*.get`, `*.list`, `*.fields`, `app.info`, `profile` and the like).
   */
  readonly repeatable?: boolean;
}

/** Options of {@linkcode B24.batch}. */
export interface B24BatchOptions extends B24Options {
  /** Stops at the first command that fails; those after it fail with the code `BATCH_HALTED`. Default false. */
  readonly halt?: boolean;
}

/** Options of {@linkcode B24.list}. */
export interface B24ListOptions extends B24Options {
  /** Name of the ID in the method's filter and order, such as `"ID"` or `"id"`; `"start"`: not by ID. */
  readonly by?: string;
  /** Where in the result the rows are, such as `"items"`. Default: the result itself, or the only list in it. */
  readonly key?: string;
}

/** Options of {@linkcode B24.page}. */
export interface B24PageOptions extends B24ListOptions {
  /** `next` of the page before; default 0. */
  readonly after?: number;
}

/** Options of {@linkcode rest}. */
export interface RestOptions {
  /**
   * How fast portals are called by this process; default `{ burst: 50, perSecond: 2 }`, what Bitrix24 allows. For
   * Enterprise portals `{ burst: 250, perSecond: 5 }`; a function says it for each portal.
   */
  readonly rate?: B24Rate | ((memberId: string) => B24Rate);
  /** Milliseconds that one request may take; default 70000: Bitrix24 itself gives up after 60 seconds. */
  readonly timeoutMs?: number;
  /** How many bytes one answer may have; default 33554432, 32 MiB. */
  readonly answerBytes?: number;
  /** How often in all is called what may be repeated when nobody knows whether it was done; default 3. */
  readonly attempts?: number;
  /**
   * Milliseconds for which a call waits at most when Bitrix24 has blocked its method for the time it takes; where it is
   * longer, it rejects with `RetryAfterError`. Default 30000.
   */
  readonly longestWaitMs?: number;
  /** Default the system's. */
  readonly timer?: B24Timer;
}

/** The plugin, and its clients for other code than handlers. */
export interface Rest extends Plugin<object, HasB24> {
  /**
   * Calls a stored portal from the vendor's own routes, for example.
   *
   * @throws {TypeError} before the app has started
   */
  readonly portal: (memberId: string) => B24;
}

/**
 * Adds `b24` to every context, a client of the REST of the event's portal. One request at a time goes to a portal, and
 * not more than it takes (`rate`); portals do not wait for one another. Tokens come from `host.access` and go into
 * bodies of requests only, never into addresses, errors or logs.
 *
 * | Bitrix24 answers | what happens |
 * |---|---|
 * | `expired_token`, `invalid_token`, `NO_AUTH_FOUND` | the token is renewed once, and the call repeated |
 * | `user_access_error`, `ACCESS_DENIED` | it is repeated as each other user whose tokens there are |
 * | `PAYMENT_REQUIRED`, `NOT_INSTALLED` | it is remembered of the portal, and thrown |
 * | `QUERY_LIMIT_EXCEEDED` | the portal is left alone for a while, longer each time, and the call repeated |
 * | `OPERATION_TIME_LIMIT` | waited for until the portal's `operating_reset_at`, or `RetryAfterError` |
 * | `INTERNAL_SERVER_ERROR`, `ERROR_UNEXPECTED_ANSWER`, nothing, no JSON | repeated if it only reads (`repeatable`) |
 * | a redirect | asked of `host.access` whether the portal has moved there, and repeated there, twice at most |
 * | any other error, also with HTTP 200 | thrown as `B24Error`; `UNKNOWN_ERROR` where it has no code |
 *
 * @throws {TypeError} when an option is out of its range; and at start, when the app gives no access to portals
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
  const { rate = { burst: 50, perSecond: 2 }, timer = SYSTEM_TIMER } = options;
  const { timeoutMs = 70_000, answerBytes = 32 * 2 ** 20, attempts = 3, longestWaitMs = 30_000 } = options;
  assertRange({ timeoutMs, answerBytes, attempts }, 1);
  assertRange({ longestWaitMs }, 0);
  const rateOf = (memberId: string): B24Rate => assertRate(typeof rate === "function" ? rate(memberId) : rate);
  if (typeof rate !== "function") assertRate(rate);
  const settings: CallSettings = { timer, timeoutMs, answerBytes, attempts, longestWaitMs };
  const lanes = createLanes(rateOf, timer);
  const closing = new AbortController();
  let calls: Calls | undefined;

  function portal(memberId: string, signal?: AbortSignal): B24 {
    if (calls === undefined) {
      throw new TypeError(`cannot call portal ${memberId} before the app has started; await app.start() first`);
    }
    return clientOf(calls, memberId, signal === undefined ? [closing.signal] : [closing.signal, signal]);
  }

  return {
    name: "rest",
    adds: ["b24"],
    setup: (host) => {
      if (typeof host.credentials?.get !== "function" || typeof host.portalFetch !== "function") {
        throw new TypeError("cannot start: rest() needs an app that gives access to portals");
      }
      calls = createCalls(host, lanes, settings);
    },
    extend: ({ event, signal }) => ({ b24: portal(event.auth.memberId, signal) }),
    portal: (memberId) => portal(memberId),
    close: () => closing.abort(new DOMException("the app is closing", "AbortError")),
  };
}

/** The longest that a timer can wait. */
const LONGEST_MS = 2 ** 31 - 1;

function assertRange(values: Readonly<Record<string, number>>, least: number): void {
  for (const [name, value] of Object.entries(values)) {
    if (value >= least && value <= LONGEST_MS) continue;
    throw new TypeError(`cannot call portals with ${name} ${value}, wanted a number from ${least} to ${LONGEST_MS}`);
  }
}

/** One portal's client; its calls end when one of `signals` is aborted. */
function clientOf(calls: Calls, memberId: string, signals: readonly AbortSignal[]): B24 {
  /** The portal, called with these options. */
  function portalWith({ signal, timeoutMs, repeatable }: B24Options): BatchPortal {
    const all = signal === undefined ? signals : [...signals, signal];
    return {
      ask: async (method, params, reads, identity) => {
        assertMethod(method);
        if (timeoutMs !== undefined) assertRange({ timeoutMs }, 1);
        const call = { memberId, method, params, repeatable: repeatable ?? reads, timeoutMs };
        return await within(all, undefined, (signal) => calls.ask({ ...call, signal }, identity));
      },
      another: (identity) => within(all, undefined, (signal) => calls.another(memberId, identity, signal)),
    };
  }

  async function ask(method: string, params: object, options: B24Options): Promise<Answer> {
    return await portalWith(options).ask(method, params, isRead(method), { tried: [] });
  }

  async function page<T>(
    method: string,
    params: object = {},
    { after = 0, by = idOf(method, params), key, ...options }: B24PageOptions = {},
  ): Promise<B24Page<T>> {
    return await pageAt<T>({ after, by, key }, params, (params) => ask(method, params, options));
  }

  return {
    call: async <T>(method: string, params: object = {}, options: B24Options = {}) => {
      if (isBatch(method)) throw new TypeError("cannot call batch by its name, wanted b24.batch()");
      return (await ask(method, params, options)).result as T;
    },
    batch: async (commands, { halt = false, ...options } = {}) =>
      Object.fromEntries(await runBatch(commands, halt, portalWith(options))) as never,
    page,
    list: <T>(method: string, params?: object, options?: B24ListOptions) =>
      allRows((after) => page<T>(method, params, { ...options, after })),
  };
}
