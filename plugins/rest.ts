/**
 * Calls the REST of portals, at their pace and by their rules: adds `b24` to every context.
 *
 * @module
 */
import { type Access, AddressError, B24Error, type Host, type Plugin, RetryAfter, UnreachableError } from "../mod.ts";

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
   * @throws {RetryAfter} when the method has used up its time on the portal for longer than `longestWaitMs`
   * @throws {NoAccessError} when there is no token to call it with
   * @throws {AddressError} when it is, or has moved to, where no token may go
   */
  readonly call: <T = unknown>(method: string, params?: object, options?: B24Options) => Promise<T>;
  /**
   * Calls methods, 50 in a request, one after the other. Resolves also when commands fail: each has its own outcome.
   * Commands with `$result[name]` get what earlier ones of the same request answered. Bitrix24 takes parameters of
   * commands as texts: `true` is sent as `1`, `false` as `0`, `null` as an empty text, and empty lists are left out.
   *
   * @throws {TypeError} when a command is `batch`, or when more than 50 are to have results of one another
   * @throws {B24Error} and all else that `call` throws, when a request as a whole fails
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

/** A method and its parameters. */
export type B24Command =
  | readonly [method: string, params?: object]
  | { readonly method: string; readonly params?: object };

/** How a command of a batch ended. Throw `error` to have the handler tried again, or wait, as its code demands. */
export type B24Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: B24Error };

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

/** A page of a list. */
export interface B24Page<T> {
  /** Its rows. */
  readonly items: readonly T[];
  /** What to give as `after` for the next one; `null`: this was the last. */
  readonly next: number | null;
}

/** How many requests a portal takes. */
export interface B24Rate {
  /** At once, after a pause; 50, and 250 for Enterprise. */
  readonly burst: number;
  /** Each second; 2, and 5 for Enterprise. */
  readonly perSecond: number;
}

/** How time is told and waited for: for tests. */
export interface B24Timer {
  /** Milliseconds since any fixed time, which only rise. */
  readonly now: () => number;
  /** Resolves after `ms` milliseconds. Nobody waits for it any longer once the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
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
   * longer, it rejects with `RetryAfter`. Default 30000.
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
 * | `OPERATION_TIME_LIMIT` | waited for until the portal's `operating_reset_at`, or `RetryAfter` |
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
  const settings: Settings = { timer, timeoutMs, answerBytes, attempts, longestWaitMs };
  const lanes = createLanes(rateOf, timer);
  const closing = new AbortController();
  let caller: Caller | undefined;

  function portal(memberId: string, signal?: AbortSignal): B24 {
    if (caller === undefined) {
      throw new TypeError(`cannot call portal ${memberId} before the app has started; await app.start() first`);
    }
    return clientOf(caller, memberId, signal === undefined ? [closing.signal] : [closing.signal, signal]);
  }

  return {
    name: "rest",
    adds: ["b24"],
    setup: (host) => {
      if (typeof host.access?.get !== "function" || typeof host.portalFetch !== "function") {
        throw new TypeError("cannot start: rest() needs an app that gives access to portals");
      }
      caller = createCaller(host, lanes, settings);
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

function assertRate(rate: B24Rate): B24Rate {
  const { burst, perSecond } = rate;
  if (burst >= 1 && burst < Infinity && perSecond > 0 && perSecond < Infinity) return rate;
  throw new TypeError(
    `cannot call portals ${perSecond} times a second and ${burst} at once, wanted at least 1 at once`,
  );
}

const SYSTEM_TIMER: B24Timer = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    }),
};

// One portal's client

/** Rows of a page, everywhere in Bitrix24's REST. */
const PAGE = 50;
/** Commands of a batch. */
const BATCH = 50;

function clientOf(caller: Caller, memberId: string, signals: readonly AbortSignal[]): B24 {
  function abortable<T>({ signal }: B24Options, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return within(signal === undefined ? signals : [...signals, signal], undefined, work);
  }

  async function ask(method: string, params: object, options: B24Options, as?: Identity): Promise<Answer> {
    assertMethod(method);
    const { timeoutMs, repeatable = isRead(method) } = options;
    if (timeoutMs !== undefined) assertRange({ timeoutMs }, 1);
    const call = { memberId, method, params, repeatable, timeoutMs };
    return await abortable(options, (signal) => caller.ask({ ...call, signal }, as));
  }

  async function page<T>(
    method: string,
    params: object = {},
    { after = 0, by = idOf(method, params), key, ...options }: B24PageOptions = {},
  ): Promise<B24Page<T>> {
    if (by === "start") {
      const { result, next, status } = await ask(method, { ...params, start: after }, options);
      const items = rowsOf<T>(result, key, method, status);
      if (next === undefined || next === null) return { items, next: null };
      return { items, next: risen(Number(next), after, method, status) };
    }
    const { result, status } = await ask(method, byId(params, by, after), options);
    const items = rowsOf<T>(result, key, method, status);
    if (items.length < PAGE) return { items, next: null };
    const last: unknown = items.at(-1);
    const id = isMap(last) ? last[by] ?? last[by.toLowerCase()] : undefined;
    return { items, next: risen(Number(id), after, method, status) };
  }

  async function* list<T>(method: string, params?: object, options?: B24ListOptions): AsyncGenerator<T> {
    for (let after: number | null = 0; after !== null;) {
      const { items, next }: B24Page<T> = await page<T>(method, params, { ...options, after });
      yield* items;
      after = next;
    }
  }

  /** One request of a batch; what other users may do is asked of them. */
  async function run(commands: readonly Command[], { halt = false, ...options }: B24BatchOptions): Promise<Outcomes> {
    const outcomes: Outcomes = new Map();
    const identity: Identity = { tried: [] };
    for (let left = commands; left.length > 0;) {
      const cmd = Object.fromEntries(left.map(({ name, text }) => [name, text]));
      const repeatable = left.every(({ method }) => isRead(method));
      const answer = await ask("batch", { halt: halt ? 1 : 0, cmd }, { repeatable, ...options }, identity);
      for (const [name, outcome] of outcomesOf(left, answer, halt)) outcomes.set(name, outcome);
      left = left.filter(({ name }) => isDenied(outcomes.get(name)));
      // Results that such commands have of others, or others of them, were in the request that is over.
      if (halt || commands.some(({ isLinked }) => isLinked)) break;
      if (left.length === 0) break;
      if (!await abortable(options, (signal) => caller.another(memberId, identity, answer.by, signal))) break;
    }
    return outcomes;
  }

  return {
    call: async <T>(method: string, params: object = {}, options: B24Options = {}) => {
      if (method.toLowerCase() === "batch") throw new TypeError("cannot call batch by its name, wanted b24.batch()");
      return (await ask(method, params, options)).result as T;
    },
    batch: async (commands, options = {}) => {
      const all = Object.entries(commands).map(([name, command]) => commandOf(name, command as B24Command));
      if (all.length > BATCH && all.some(({ isLinked }) => isLinked)) {
        throw new TypeError(`cannot link ${all.length} commands by $result, wanted ${BATCH} at most: one request`);
      }
      const outcomes: Outcomes = new Map();
      for (let at = 0, isHalted = false; at < all.length; at += BATCH) {
        const some = all.slice(at, at + BATCH);
        const ended: Outcomes = isHalted ? new Map(some.map(notRun)) : await run(some, options);
        for (const [name, outcome] of ended) outcomes.set(name, outcome);
        isHalted ||= options.halt === true && Array.from(ended.values()).some(({ ok }) => !ok);
      }
      return Object.fromEntries(outcomes) as never;
    },
    page,
    list,
  };
}

/** Names of methods go into addresses. */
function assertMethod(method: string): void {
  if (/^[a-z]\w*(\.\w+)*$/i.test(method)) return;
  throw new TypeError(`cannot call ${JSON.stringify(method)}, wanted the name of a method, such as "crm.deal.list"`);
}

const READ = /(^|\.)(get|list|fields|getlist|getfields|current|info|profile|time|scope|methods|events)$/i;

/** Whether a method only reads. */
function isRead(method: string): boolean {
  // Takes the events that it gives off the queue.
  return READ.test(method) && method.toLowerCase() !== "event.offline.get";
}

// Lists

const BY_ID = /^crm\.(lead|deal|contact|company|quote|activity|product)\.list$|^tasks\.task\.list$/i;

/** The name of the ID in a method's filter, or `"start"`. */
function idOf(method: string, params: object): string {
  const order = Object.entries((params as Params)[nameIn(params, "order")] ?? {});
  const by = /^crm\.item\.list$/i.test(method) ? "id" : BY_ID.test(method) ? "ID" : "start";
  return order.every((one) => one.join(" ").toLowerCase() === `${by} asc`.toLowerCase()) ? by : "start";
}

type Params = Readonly<Record<string, unknown>>;

/** A parameter as the caller has written it: older methods take any case. */
function nameIn(params: object, name: string): string {
  return Object.keys(params).find((key) => key.toLowerCase() === name) ?? name;
}

function byId(params: object, by: string, after: number): object {
  const given = params as Params;
  const filter = nameIn(params, "filter");
  const select = nameIn(params, "select");
  const fields = given[select];
  const lacksId = Array.isArray(fields) && fields.length > 0 && !fields.includes(by) && !fields.includes("*");
  // The caller's own lower bound holds for the first page; after that, ours is the higher one.
  const bound = after === 0 ? {} : { [`>${by}`]: after };
  return {
    ...given,
    [filter]: { ...(given[filter] as object | undefined), ...bound },
    [nameIn(params, "order")]: { [by]: "ASC" },
    ...(lacksId ? { [select]: [...fields, by] } : {}),
    start: -1,
  };
}

/** A method that does not heed where a page begins would be listed for ever. */
function risen(next: number, after: number, method: string, status: number): number {
  if (next > after) return next;
  throw unexpected(method, status, `the page that begins at ${after} does not say where the next one does`);
}

function rowsOf<T>(result: unknown, key: string | undefined, method: string, status: number): readonly T[] {
  const held = key === undefined || Array.isArray(result) ? result : isMap(result) ? result[key] : undefined;
  if (Array.isArray(held)) return held;
  if (isMap(held)) {
    const values = Object.values(held);
    // Lists with gaps become maps in PHP.
    if (Object.keys(held).every((name) => /^\d+$/.test(name))) return values as T[];
    const [rows, ...others] = values.filter((value) => Array.isArray(value));
    if (key === undefined && rows !== undefined && others.length === 0) return rows;
  }
  throw unexpected(method, status, "no list of rows is in the result; give its key, if it has one");
}

// Batches

interface Command {
  readonly name: string;
  readonly method: string;
  /** As Bitrix24 takes it: the method and its parameters as a query. */
  readonly text: string;
  /** Has results of others. */
  readonly isLinked: boolean;
}

type Outcomes = Map<string, B24Outcome<unknown>>;

function commandOf(name: string, command: B24Command): Command {
  const { method, params = {} } = "method" in command ? command : { method: command[0], params: command[1] };
  assertMethod(method);
  if (method.toLowerCase() === "batch") throw new TypeError(`cannot call batch in a batch, as command ${name} does`);
  // As JSON has them: dates and the like become texts, and what is undefined goes.
  const json = JSON.stringify(params);
  const query = pairsOf(JSON.parse(json)).map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
  const text = query === "" ? method : `${method}?${query}`;
  return { name, method, text, isLinked: json.includes("$result[") };
}

/** The texts in a value, by their names in PHP's brackets. */
function pairsOf(value: unknown, name?: string): [name: string, text: string][] {
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, inner]) =>
      pairsOf(inner, name === undefined ? key : `${name}[${key}]`)
    );
  }
  return [[name!, typeof value === "boolean" ? String(Number(value)) : String(value ?? "")]];
}

/** What became of each command. */
function outcomesOf(commands: readonly Command[], { result, status, clean }: Answer, halt: boolean): Outcomes {
  const [values, errors] = ["result", "result_error"].map((key) => {
    const held = isMap(result) ? result[key] : undefined;
    if (!isMap(held) && !Array.isArray(held)) throw unexpected("batch", status, `no ${key} is in the result`);
    // Empty maps come as lists, and so do those whose names are 0, 1 and so on.
    return new Map(Object.entries(held));
  }) as [Map<string, unknown>, Map<string, unknown>];
  const isHalted = halt && errors.size > 0;
  return new Map(commands.map((command): NamedOutcome => {
    const { name, method } = command;
    if (errors.has(name)) {
      const { code, description } = failureOf(errors.get(name)) ?? UNKNOWN;
      return failed(name, new B24Error({ code: codeOf(code, clean), description: clean(description), status, method }));
    }
    if (values.has(name)) return [name, { ok: true, value: values.get(name) }];
    if (isHalted) return notRun(command);
    return failed(name, unexpected(method, status, "the batch has no answer to this command"));
  }));
}

type NamedOutcome = [name: string, outcome: B24Outcome<unknown>];

function failed(name: string, error: B24Error): NamedOutcome {
  return [name, { ok: false, error }];
}

function notRun({ name, method }: Command): NamedOutcome {
  return failed(
    name,
    new B24Error({ code: "BATCH_HALTED", description: "a command before it failed", status: 200, method }),
  );
}

function isDenied(outcome: B24Outcome<unknown> | undefined): boolean {
  return outcome?.ok === false && outcome.error.waitsFor === "administrator";
}

// Requests and what to make of their answers

type Settings = Required<Omit<RestOptions, "rate">>;

interface Call {
  readonly memberId: string;
  readonly method: string;
  readonly params: object;
  readonly repeatable: boolean;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal;
}

/** As whom calls are done: `tried` may not, and `now` may. */
interface Identity {
  readonly tried: Access[];
  now?: Access;
}

interface Answer {
  readonly result: unknown;
  readonly next: unknown;
  readonly status: number;
  /** As whom it was asked. */
  readonly by: Access;
  /** Takes tokens out of texts of the portal. */
  readonly clean: Clean;
}

type Clean = (text: string) => string;

interface Failed {
  readonly error: B24Error | UnreachableError;
  /** Seconds since 1970. */
  readonly resetAt?: number;
  /** Would be the same again. */
  readonly isLasting?: true;
}

type Ended = Omit<Answer, "by" | "clean"> | Failed | { readonly location: string };

interface Caller {
  readonly ask: (call: Call, identity?: Identity) => Promise<Answer>;
  /** Takes another user; `false`: all were tried. */
  readonly another: (memberId: string, identity: Identity, denied: Access, signal: AbortSignal) => Promise<boolean>;
}

/** How often a call follows its portal, and comes back to one that has too much to do. */
const MOVES = 2;
const LIMITED = 6;
const BLOCKED = 3;
/** Bitrix24 counts the time of methods in windows of this length, in milliseconds. */
const WINDOW_MS = 10 * 60 * 1000;

/** Milliseconds, twice as long each time, less up to a half by chance: processes must not come back together. */
function backOff(attempt: number): number {
  return 1000 * 2 ** (attempt - 1) * (1 - Math.random() / 2);
}

function createCaller(host: Host, lanes: Lanes, settings: Settings): Caller {
  const { access, log } = host;
  const { timer, attempts, longestWaitMs } = settings;
  const pause = (ms: number, signal: AbortSignal): Promise<void> =>
    within([signal], undefined, (signal) => timer.sleep(ms, signal));

  async function moved(memberId: string, from: Access, location: string, signal: AbortSignal): Promise<Access> {
    const to = URL.canParse(location, from.clientEndpoint) ? new URL(location, from.clientEndpoint) : undefined;
    const token = from.accessToken.reveal().toLowerCase();
    // Whoever has our token may have put it in there, and what is refused is quoted.
    if (to === undefined || to.username !== "" || to.password !== "" || to.host.includes(token)) {
      throw new AddressError(`cannot follow portal ${memberId}: it redirects to what is no address of a portal`);
    }
    return await access.moved(memberId, from, `${to.protocol}//${to.host}/rest/`, { signal });
  }

  async function remember(memberId: string, error: B24Error): Promise<void> {
    try {
      await access.refused(memberId, error);
    } catch (failure) {
      log.warn("what a portal refused could not be stored", { memberId, error: failure });
    }
  }

  async function another(memberId: string, identity: Identity, by: Access, signal: AbortSignal): Promise<boolean> {
    identity.tried.push(by);
    const next = await access.another(memberId, identity.tried, { signal });
    if (next !== undefined) identity.now = next;
    return next !== undefined;
  }

  async function ask(call: Call, identity: Identity = { tried: [] }): Promise<Answer> {
    const { memberId, method, repeatable, signal } = call;
    const secrets = new Set<string>();
    const clean = cleaner(secrets);
    let known = identity.now;
    let [moves, attempt, limited, blocked, isRenewed] = [0, 1, 0, 0, false];
    while (true) {
      const [ended, by] = await lanes.run(memberId, signal, async (fill) => {
        // Not before its turn: by then, the call before it may have renewed the token.
        const by = known ?? await access.get(memberId, { signal });
        secrets.add(by.accessToken.reveal());
        const ended = await send(host, by, call, settings, clean);
        if ("error" in ended && isCode(ended.error, "query_limit_exceeded")) fill(backOff(++limited));
        return [ended, by] as const;
      });
      known = by;
      if ("result" in ended) return { ...ended, by, clean };
      if ("location" in ended) {
        if (moves++ === MOVES) {
          throw new AddressError(`cannot follow portal ${memberId}: it has redirected more than ${MOVES} times`);
        }
        known = await moved(memberId, by, ended.location, signal);
        continue;
      }
      const { error, resetAt, isLasting } = ended;
      if (isCode(error, "expired_token", "invalid_token", "no_auth_found")) {
        if (isRenewed) throw error;
        isRenewed = true;
        known = await access.renew(memberId, by, { signal });
      } else if (isCode(error, "user_access_error", "access_denied")) {
        if (!await another(memberId, identity, by, signal)) throw error;
        isRenewed = false;
        known = identity.now!;
      } else if (isCode(error, "query_limit_exceeded")) {
        if (limited === LIMITED) throw error;
      } else if (isCode(error, "operation_time_limit")) {
        const untilMs = resetAt === undefined ? WINDOW_MS / 10 : resetAt * 1000 - host.clock();
        const waitMs = Math.min(Math.max(untilMs, 1000), WINDOW_MS) * (1 + Math.random() / 10);
        if (waitMs > longestWaitMs || ++blocked > BLOCKED) {
          const message = `${method} has used up its time on portal ${memberId}`;
          throw new RetryAfter(Math.ceil(waitMs), message, { cause: error });
        }
        await pause(waitMs, signal);
      } else if (error instanceof UnreachableError || isCode(error, "internal_server_error", UNEXPECTED)) {
        if (!repeatable || isLasting || attempt >= attempts) throw error;
        log.info("a call is repeated", { memberId, method, attempt, error: error.message });
        await pause(backOff(attempt++), signal);
      } else {
        if (isCode(error, "payment_required", "not_installed")) await remember(memberId, error as B24Error);
        throw error;
      }
    }
  }

  return { ask, another };
}

const UNEXPECTED = "error_unexpected_answer";

function isCode(error: Error & { readonly code: string }, ...codes: readonly string[]): boolean {
  return codes.includes(error.code.toLowerCase());
}

function unexpected(method: string, status: number, description: string): B24Error {
  return new B24Error({ code: UNEXPECTED.toUpperCase(), description, status, method });
}

/** One request. */
async function send(host: Host, by: Access, call: Call, settings: Settings, clean: Clean): Promise<Ended> {
  const { method, params, signal } = call;
  const { timeoutMs = settings.timeoutMs } = call;
  const body = JSON.stringify({ ...params, auth: by.accessToken.reveal() });
  const url = `${by.clientEndpoint}${method}`;
  const headers = { "content-type": "application/json", accept: "application/json" };
  try {
    return await within([signal], timeoutMs, async (signal) => {
      const response = await host.portalFetch(url, { method: "POST", headers, body, redirect: "manual", signal });
      const { status } = response;
      const location = response.headers.get("location");
      if ([301, 302, 307, 308].includes(status) && location !== null) {
        response.body?.cancel().catch(() => {});
        return { location };
      }
      const type = clean(response.headers.get("content-type") ?? "");
      const kind = /^[\w.+-]{1,40}\/[\w.+-]{1,60}/.exec(type)?.[0] ?? "something without a type";
      const bytes = await readBytes(response, settings.answerBytes, signal);
      if (bytes === undefined) {
        const error = unexpected(method, status, `more than ${settings.answerBytes} bytes`);
        return { error, isLasting: true };
      }
      return understood(bytes, { method, status, kind, clean });
    });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AddressError) throw error;
    return { error: unreachable(by, method, timeoutMs, error, clean) };
  }
}

async function readBytes(response: Response, limit: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
  const reader = response.body?.getReader();
  if (reader === undefined) return new Uint8Array();
  const stop = (): void => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (true) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size > limit) return void stop();
    chunks.push(value);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

function understood(
  bytes: Uint8Array,
  { method, status, kind, clean }: {
    readonly method: string;
    readonly status: number;
    readonly kind: string;
    readonly clean: Clean;
  },
): Ended {
  let answer: unknown;
  try {
    answer = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // Of a proxy, a login page or half an answer; what it says is nobody's business here.
  }
  if (!isMap(answer)) return { error: unexpected(method, status, `${kind} that is no JSON object`) };
  const failure = failureOf(answer);
  if (failure !== undefined) {
    const { code, description } = failure;
    const error = new B24Error({ code: codeOf(code, clean), description: clean(description), status, method });
    const resetAt = isMap(answer.time) ? Number(answer.time.operating_reset_at) : NaN;
    return resetAt > 0 ? { error, resetAt } : { error };
  }
  if (status >= 300 || !Object.hasOwn(answer, "result")) {
    return { error: unexpected(method, status, "JSON without result or error") };
  }
  return { result: answer.result, next: answer.next, status };
}

const UNKNOWN = { code: "", description: "" };

/** The error in an answer. They come with any status, and some without a code. */
function failureOf(answer: unknown): { readonly code: string; readonly description: string } | undefined {
  if (!isMap(answer)) return undefined;
  const { error, error_description: description } = answer;
  if (isMap(error)) return { code: textOf(error.code), description: textOf(error.message) };
  const isSaid = typeof error === "number" || typeof error === "string";
  if (!isSaid || (error === "" && Object.hasOwn(answer, "result"))) return undefined;
  return { code: textOf(error), description: textOf(description) };
}

function textOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/** Codes are words, and what is none may be anything. */
function codeOf(code: string, clean: Clean): string {
  return /^[\w .:-]{1,80}$/.exec(clean(code))?.[0] ?? "UNKNOWN_ERROR";
}

function isMap(value: unknown): value is Params {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Takes `secrets` out of texts, and what may be other tokens. */
function cleaner(secrets: ReadonlySet<string>): Clean {
  return (text) => {
    for (const secret of secrets) if (secret.length >= 8) text = text.replaceAll(secret, "[redacted]");
    return text.replaceAll(/[\da-f]{32,}/gi, "[redacted]").slice(0, 500);
  };
}

function unreachable(by: Access, method: string, timeoutMs: number, thrown: unknown, clean: Clean): UnreachableError {
  const { host } = new URL(by.clientEndpoint);
  const { name, cause } = thrown instanceof Error ? thrown : new Error();
  if (name === "TimeoutError") return new UnreachableError(`${host} did not answer ${method} in ${timeoutMs} ms`);
  // Neither the message nor the cause: they may quote what was sent.
  const code = isMap(cause) ? textOf(cause.code) : "";
  const why = [code, name].map(clean).find((word) => /^\w{1,40}$/.test(word)) ?? "Error";
  return new UnreachableError(`${host} gave no answer to ${method} (${why})`);
}

/** Runs `work` with a signal that any of `outer` and the time-out abort, and then waits for it no longer. */
async function within<T>(
  outer: readonly AbortSignal[],
  timeoutMs: number | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  for (const one of outer) one.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  const expire = (): void => controller.abort(new DOMException(`it took longer than ${timeoutMs} ms`, "TimeoutError"));
  const timer = timeoutMs === undefined ? undefined : setTimeout(expire, timeoutMs);
  const links = outer.map((one) => ({ one, stop: (): void => controller.abort(one.reason) }));
  for (const { one, stop } of links) one.addEventListener("abort", stop, { once: true });
  try {
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    return await Promise.race([work(signal), aborted]);
  } finally {
    clearTimeout(timer);
    for (const { one, stop } of links) one.removeEventListener("abort", stop);
  }
}

// The pace

interface Lanes {
  /**
   * Runs `work`, a request, once those of the portal that came before are over and the portal takes it. `fill`: the
   * portal takes none for so many milliseconds.
   */
  readonly run: <T>(
    memberId: string,
    signal: AbortSignal,
    work: (fill: (ms: number) => void) => Promise<T>,
  ) => Promise<T>;
}

/** What goes to one portal. */
interface Lane {
  isBusy: boolean;
  /** In the order in which they came. */
  readonly waiting: Set<() => void>;
  /** When Bitrix24 has forgotten all requests so far, if its bucket leaks as fast as ours. */
  emptyAt: number;
}

function createLanes(rateOf: (memberId: string) => B24Rate, timer: B24Timer): Lanes {
  const lanes = new Map<string, Lane>();

  async function turn(lane: Lane, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!lane.isBusy) return void (lane.isBusy = true);
    await new Promise<void>((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const stop = (): void => {
        lane.waiting.delete(go);
        reject(signal.reason);
      };
      lane.waiting.add(go);
      signal.addEventListener("abort", stop, { once: true });
    });
  }

  function leave(memberId: string, lane: Lane): void {
    const [next] = lane.waiting;
    if (next === undefined) lane.isBusy = false;
    else {
      lane.waiting.delete(next);
      next();
    }
    // The longest unused are first, and an idle one with an empty bucket is as good as none.
    lanes.delete(memberId);
    lanes.set(memberId, lane);
    for (const [idle, { isBusy, emptyAt }] of lanes) {
      if (isBusy || emptyAt > timer.now()) break;
      lanes.delete(idle);
    }
  }

  return {
    run: async (memberId, signal, work) => {
      const { burst, perSecond } = rateOf(memberId);
      const gapMs = 1000 / perSecond;
      const roomMs = (burst - 1) * gapMs;
      const lane = lanes.get(memberId) ?? { isBusy: false, waiting: new Set(), emptyAt: -Infinity };
      lanes.set(memberId, lane);
      await turn(lane, signal);
      try {
        const waitMs = lane.emptyAt - roomMs - timer.now();
        if (waitMs > 0) await within([signal], undefined, (signal) => timer.sleep(waitMs, signal));
        lane.emptyAt = Math.max(lane.emptyAt, timer.now()) + gapMs;
        return await work((ms) => lane.emptyAt = Math.max(lane.emptyAt, timer.now() + ms + roomMs));
      } finally {
        leave(memberId, lane);
      }
    },
  };
}
