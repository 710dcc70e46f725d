/** The client of one portal: calls, batches and lists. */
import { checkOptions, option, type OptionRules } from "../../mod.ts";
import { abortable } from "./abortable.ts";
import type { Answer } from "./answers.ts";
import { type B24Outcome, type CommandSender, runBatch } from "./batches.ts";
import type { Call, RunCall } from "./calls.ts";
import type { B24Command } from "./commands.ts";
import { allRows } from "./list_batches.ts";
import { type B24Page, idOf, pageAt } from "./lists.ts";
import { assertMethod, isBatch, isRead } from "./methods.ts";

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
   * @throws {TypeError} if an option is unknown or invalid, or `method` is not the name of a method
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
   * @throws {TypeError} if a command is `batch`, or refers to one that is not an earlier command of the same request; also
   * if an option, or a member of a command, is unknown or invalid
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
  /**
   * Yields all rows of a list, which is paged as by `page`. The first request is made when the first row is requested, and
   * has the first page. Each further one is a batch of as many pages as the size of the first lets expect below 3 MiB, at
   * most 50. Paged by ID, Bitrix24 counts the rows once; if that fails, batches begin with 2 pages and double.
   *
   * - A batch that is too large for the portal or for `answerBytes` is halved.
   * - Paged by ID, a row is yielded once, also if others are added or deleted meanwhile. Paged by `start`, rows may be
   *   skipped if earlier ones are deleted meanwhile, and repeated if some are added.
   * - Page by page, without batches: lists whose `params` have booleans, `null`, empty lists in lists or maps, or strings
   *   such as `$result[x]`, which mean something else in a batch.
   *
   * @throws {TypeError} at once, if an option is unknown or invalid, or `method` is not the name of a method
   * @throws {B24Error} and everything else that `page` throws, after the rows before the failure
   */
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

const CALL_RULES: OptionRules<B24Options> = {
  signal: option.value(
    "an AbortSignal",
    (signal) => typeof (Object(signal) as Partial<AbortSignal>).throwIfAborted === "function",
  ),
  timeoutMs: option.duration(),
  repeatable: option.flag(),
};

/** Options of {@linkcode B24.batch}. */
export interface B24BatchOptions extends B24Options {
  /**
   * Stops at the first command that fails. The commands after it are not run and have the code `BATCH_HALTED`.
   *
   * @default false
   */
  readonly halt?: boolean;
}

const BATCH_RULES: OptionRules<B24BatchOptions> = { ...CALL_RULES, halt: option.flag() };

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

const LIST_RULES: OptionRules<B24ListOptions> = {
  ...CALL_RULES,
  by: option.text('the name of the ID in the filter, or "start"'),
  key: option.text("the key of the rows in the result"),
};

/** Options of {@linkcode B24.page}. */
export interface B24PageOptions extends B24ListOptions {
  /**
   * `next` of the page before. Minimum: 0.
   *
   * @default 0
   */
  readonly after?: number;
}

const PAGE_RULES: OptionRules<B24PageOptions> = { ...LIST_RULES, after: option.number({ min: 0, isWhole: true }) };

/** The request and the answer of a call of {@linkcode clientOf}. */
type Request<T> = Pick<Call<T>, "params" | "isRead" | "times" | "read">;

/** A portal, and how to call it. */
export interface ClientOptions {
  readonly run: RunCall;
  readonly memberId: string;
  /** Calls end once one of them is aborted. */
  readonly signals: readonly AbortSignal[];
  /** Maximum size of an answer in bytes, if the caller has set it. */
  readonly answerBytes: number | undefined;
}

/** Returns the client of one portal. */
export function clientOf({ run, memberId, signals, answerBytes }: ClientOptions): B24 {
  async function send<T>(
    method: string,
    request: Request<T>,
    { signal, timeoutMs, repeatable }: B24Options,
  ): Promise<T> {
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
    options: B24PageOptions = {},
  ): Promise<B24Page<T>> {
    checkCall(method, options, PAGE_RULES);
    const { after = 0, by = idOf(method, params), key, ...others } = options;
    const { items, next } = await pageAt<T>({ by, key }, params, after, (params) => ask(method, params, others));
    return { items, next };
  }

  function list<T>(method: string, params: object = {}, options: B24ListOptions = {}): AsyncIterable<T> {
    checkCall(method, options, LIST_RULES);
    const { by = idOf(method, params), key, ...others } = options;
    const once = { ...others, repeatable: false };
    return allRows<T>({
      ...{ method, params, paging: { by, key }, answerBytes },
      call: (params, isOnce) => ask(method, params, isOnce ? once : others),
      batch: (commands) => runBatch(commands, true, sender(once)),
    });
  }

  return {
    call: async <T>(method: string, params: object = {}, options: B24Options = {}) => {
      checkCall(method, options, CALL_RULES);
      if (isBatch(method)) throw new TypeError("cannot call batch by its name, wanted b24.batch()");
      return (await ask(method, params, options)).result as T;
    },
    batch: async (commands, options = {}) => {
      checkOptions("cannot call batch", options, BATCH_RULES);
      const { halt = false, ...others } = options;
      const outcomes = await runBatch(commands, halt, sender(others));
      return Object.fromEntries(outcomes) as never;
    },
    page,
    list,
  };
}

/** @throws {TypeError} if the method is not the name of one, or an option is unknown or invalid */
function checkCall<Options extends B24Options>(method: string, options: Options, rules: OptionRules<Options>): void {
  assertMethod(method);
  checkOptions(`cannot call ${method}`, options, rules);
}
