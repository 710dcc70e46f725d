/**
 * A client of the REST API of portals, which keeps their limits and recovers from refused tokens: adds `b24` to every
 * context.
 *
 * @module
 */
import {
  type AnswerLimits,
  checkOptions,
  currentRehearsal,
  option,
  type OptionRules,
  type Plugin,
  rehearsalSnapshot,
} from "../mod.ts";
import type { B24Failed, B24Outcome, B24Success } from "./rest/batches.ts";
import { type CallSettings, createCalls } from "./rest/calls.ts";
import { type B24, clientOf, type ClientOptions } from "./rest/client.ts";
import { type B24Command, type B24Reference, resultOf } from "./rest/commands.ts";
import type { B24Page } from "./rest/lists.ts";
import type {
  B24AddOnceOptions,
  B24BatchEachOptions,
  B24BatchOptions,
  B24ListOptions,
  B24Options,
  B24PageOptions,
  B24V3Options,
} from "./rest/options.ts";
import { type B24Rate, type B24Timer, createRequestQueues, RATE_RULES, SYSTEM_TIMER } from "./rest/pace.ts";
import { type B24V3, createStepKeys } from "./rest/v3.ts";

export { resultOf };
export type {
  B24,
  B24AddOnceOptions,
  B24BatchEachOptions,
  B24BatchOptions,
  B24Command,
  B24Failed,
  B24ListOptions,
  B24Options,
  B24Outcome,
  B24Page,
  B24PageOptions,
  B24Rate,
  B24Reference,
  B24Success,
  B24Timer,
  B24V3,
  B24V3Options,
};

/** The members that {@linkcode rest} adds to a context. */
export interface HasB24 {
  /** The portal of the event. Its calls reject once the work on the event is aborted. */
  readonly b24: B24;
}

/** Options of {@linkcode rest}. */
export interface RestOptions extends AnswerLimits {
  /**
   * Rate at which this process calls a portal. Use `{ burst: 245, perSecond: 5 }` for Enterprise portals; a function returns
   * the rate of each portal. The default leaves 5 of the 50 requests that Bitrix24 allows at once to the app's own
   * questions about unverified events.
   *
   * @default { burst: 45, perSecond: 2 }, and no limit for the portals of `fakeBitrix24()` that have none
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

const OPTION_RULES: OptionRules<RestOptions> = {
  rate: (value, path) => typeof value === "function" ? undefined : option.object(RATE_RULES)(value, path),
  timeoutMs: option.duration(),
  attempts: option.number({ min: 1, isWhole: true }),
  longestWaitMs: option.duration({ min: 0 }),
  timer: option.value("a timer with now() and sleep()", (timer) => {
    const { now, sleep } = Object(timer) as Partial<B24Timer>;
    return typeof now === "function" && typeof sleep === "function";
  }),
  answerBytes: option.number({ min: 1, max: Infinity }),
  answerContainers: option.number({ min: 1, max: Infinity }),
};

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
 * Adds `b24` to every context, a client of the REST API of the event's portal. Portals do not wait for one another. Tokens
 * come from `host.credentials` and are sent in the body of a request, or in a header to REST 3.0: they are never part of a URL,
 * an error or a log line.
 *
 * Requests to a portal start in the order of the calls, and no faster than `rate`. Up to four that only read, judged by the
 * names of their methods, are in flight at a time. Any other one runs alone, so that writes happen in the order of the
 * calls; a call that is repeated may be overtaken.
 *
 * | Bitrix24 answers | reaction |
 * |---|---|
 * | `expired_token`, `invalid_token`, `NO_AUTH_FOUND` | the token pair is refreshed once, and the call repeated |
 * | `user_access_error`, `ACCESS_DENIED`, `INVALID_CREDENTIALS` | the call is repeated as every other user whose tokens are stored |
 * | `PAYMENT_REQUIRED`, `NOT_INSTALLED` and the like | the portal is marked as blocked, and the error thrown |
 * | `QUERY_LIMIT_EXCEEDED` | the portal gets no requests for a while, longer each time, and the call is repeated |
 * | `OPERATION_TIME_LIMIT` | the call waits until the `operating_reset_at` of the method's last answer, or rejects with `RetryAfterError` |
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
 *     await step("field", async () => {
 *       const known = await b24.call<unknown[]>("crm.deal.userfield.list", { filter: { FIELD_NAME: "UF_CRM_RATING" } });
 *       if (known.length === 0) await b24.call("crm.deal.userfield.add", { fields: { FIELD_NAME: "RATING" } });
 *     });
 *     await pages("deals", 0, async (cursor) => {
 *       const { items, next } = await b24.page<{ ID: string }>("crm.deal.list", {}, { after: cursor });
 *       await b24.batchEach(items, ({ ID }) => ["crm.deal.update", { id: ID, fields: { UF_CRM_RATING: 5 } }]);
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
  checkOptions("cannot call portals", options, OPTION_RULES);
  const { rate, timer = SYSTEM_TIMER } = options;
  const { timeoutMs = 70_000, attempts = 3, longestWaitMs = 30_000, answerBytes } = options;
  const rateOf = (memberId: string): B24Rate => {
    if (rate === undefined) return fakeRateOf?.(memberId) ?? DEFAULT_RATE;
    if (typeof rate !== "function") return rate;
    const found = rate(memberId);
    checkOptions(`cannot call portal ${memberId}`, found, RATE_RULES);
    return found;
  };
  const settings: CallSettings = { timer, timeoutMs, limits: options, attempts, longestWaitMs };
  const queues = createRequestQueues(rateOf, timer);
  const closing = new AbortController();
  let client: Pick<ClientOptions, "run" | "stepKeys"> | undefined;
  let fakeRateOf: FakeRate | undefined;

  function portal(memberId: string, signal?: AbortSignal, here?: ReturnType<typeof rehearsalSnapshot>): B24 {
    if (client === undefined) {
      throw new TypeError(`cannot call portal ${memberId} before the app has started; await app.start() first`);
    }
    const signals = signal === undefined ? [closing.signal] : [closing.signal, signal];
    const { run, stepKeys } = client;
    const runHere: typeof run = here === undefined ? run : (call) => here(() => run(call));
    return clientOf({ run: runHere, stepKeys, memberId, signals, answerBytes });
  }

  return {
    name: "rest",
    adds: ["b24"],
    setup: (host) => {
      if (typeof host.credentials?.call !== "function" || typeof host.portalFetch !== "function") {
        throw new TypeError("cannot start: rest() needs an app that provides credentials of portals");
      }
      fakeRateOf = (host.fetch as { readonly [PORTAL_RATE]?: FakeRate } | undefined)?.[PORTAL_RATE];
      client = { run: createCalls(host, queues, settings), stepKeys: createStepKeys(host.digest) };
    },
    extend: ({ event, signal }) => {
      const { memberId } = event.auth;
      currentRehearsal()?.setRate(rateOf(memberId));
      return { b24: portal(memberId, signal, rehearsalSnapshot()) };
    },
    rehearsal: true,
    portal: (memberId) => portal(memberId),
    close: () => closing.abort(new DOMException("the app is closing", "AbortError")),
  };
}

const DEFAULT_RATE: B24Rate = { burst: 45, perSecond: 2 };

/** Member of the `fetch` of `fakeBitrix24()`: the rate of its portals. */
const PORTAL_RATE = Symbol.for("@b24/onappupdate/portal-rate");
type FakeRate = (memberId: string) => B24Rate | undefined;
