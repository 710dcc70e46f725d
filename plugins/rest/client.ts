/** The client of one portal: calls, batches and lists. */
import { checkOptions, isReadMethod, type OptionRules } from "../../mod.ts";
import { abortable } from "./abortable.ts";
import { addOnce } from "./add_once.ts";
import type { Answer } from "./answers.ts";
import { batchEach } from "./batch_each.ts";
import { type B24Outcome, type CommandSender, type Outcomes, runBatch } from "./batches.ts";
import type { Call, RunCall } from "./calls.ts";
import type { B24Command } from "./commands.ts";
import { allRows } from "./list_batches.ts";
import { type B24Page, idOf, pageAt } from "./lists.ts";
import { assertMethod, isBatch, isV3Read } from "./methods.ts";
import {
  ADD_ONCE_RULES,
  type B24AddOnceOptions,
  type B24BatchEachOptions,
  type B24BatchOptions,
  type B24ListOptions,
  type B24Options,
  type B24PageOptions,
  BATCH_EACH_RULES,
  BATCH_RULES,
  CALL_RULES,
  LIST_RULES,
  PAGE_RULES,
} from "./options.ts";
import type { V3Request } from "./request.ts";
import { type B24V3, type StepKeys, v3Client } from "./v3.ts";
import { createWalkBound } from "./walk_bound.ts";

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
   * arrives as it is: a command with a string such as `$result[x]`, which Bitrix24 would replace, has a request of its own, and
   * so has one with `auth_connector`, which Bitrix24 would ignore.
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
   * Runs the command that `command` returns for each item, in the order of the items, 50 in a request: 10,000 items take 200
   * requests instead of 10,000. `items` may be a list of `b24.list`, which is read as the requests need its rows. Resolves
   * to the results in the order of the items.
   *
   * Without `onFailure`, it rejects with the first command that failed, once the request that had it is answered; with it, the
   * result of such an item is `undefined`. What holds for the commands of `batch` holds for these, except that they cannot
   * refer to one another.
   *
   * @throws {TypeError} if an option is unknown or invalid
   * @throws {B24Error} and everything else that `batch` throws, and the errors of commands
   *
   * @example
   * ```ts
   * import type { B24 } from "@b24/onappupdate/rest";
   *
   * export async function rateDeals(b24: B24): Promise<void> {
   *   const deals = b24.list<{ ID: string }>("crm.deal.list", { select: ["ID"] });
   *   await b24.batchEach(deals, ({ ID }) => ["crm.deal.update", { id: ID, fields: { UF_CRM_RATING: 5 } }]);
   * }
   * ```
   */
  readonly batchEach: <Item, Result = unknown>(
    items: Iterable<Item> | AsyncIterable<Item>,
    command: (item: Item, index: number) => B24Command,
    options?: B24BatchEachOptions<Item>,
  ) => Promise<Result[]>;
  /**
   * Returns one page of a list: for `pages()` of an upgrade, which continues at `next` after an interruption.
   *
   * `crm.item.list`, `tasks.task.list`, and `crm.*.list` of leads, deals, contacts, companies, quotes, activities and
   * products are paged by ID, unless `params` order them otherwise. Bitrix24 then does not count the rows, and no row is
   * skipped if others are deleted meanwhile. With the option `by`, so is any other method that filters by `>ID`, orders by
   * ID, and accepts `start: -1`. All other methods are paged by `start` and `next`, and Bitrix24 counts all rows for each
   * page. Only the last page can be empty: after an empty one, it reads on.
   *
   * @throws {B24Error} and everything else that `call` throws; `ERROR_UNEXPECTED_ANSWER` also if the answer has no rows,
   * the next page does not come after this one, or 200 pages in a row are empty
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
   * @throws {B24Error} and everything else that `page` throws, after the rows before the failure; `ERROR_UNEXPECTED_ANSWER`
   * also after 100,000 pages, and if 200 pages in a row begin and end with the same IDs
   */
  readonly list: <T = unknown>(method: string, params?: object, options?: B24ListOptions) => AsyncIterable<T>;
  /**
   * Adds an entity, unless one that was added with the same `key` is there, and resolves to what the method returns. It writes
   * the key into a field of the entity, and looks for it first: for calls of a step that must not add anything twice.
   *
   * | method | field |
   * |---|---|
   * | `crm.lead.add`, `crm.deal.add`, `crm.contact.add`, `crm.company.add`, `crm.activity.add` | `ORIGIN_ID` |
   * | `crm.item.add` of leads, deals, contacts and companies (`entityTypeId` 1 to 4) | `originId` |
   * | `crm.item.add` of invoices (31) and smart processes (128 and more) | `xmlId` |
   * | `crm.product.add` | `XML_ID` |
   * | `catalog.product.add`, `sale.order.add` | `xmlId` |
   *
   * An entity that was deleted meanwhile, or that the user of the token may not see, is added again. So is one whose first call
   * is still running: pass a `key` to one call at a time.
   *
   * @throws {TypeError} if it is another method, `params.fields` is missing or has the field, or an option is unknown or invalid
   * @throws {B24Error} and everything else that `call` throws
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import { rest } from "@b24/onappupdate/rest";
   *
   * createApp({ storage: memoryStorage() }).use(rest()).upgrade("2.0.0", async ({ b24, step }) => {
   *   await step("deal", ({ idempotencyKey }) =>
   *     b24.addOnce<number>("crm.deal.add", { fields: { TITLE: "Try version 2" } }, { key: idempotencyKey }));
   *   await step("contacts", async ({ idempotencyKey }) => {
   *     for (const NAME of ["Ada", "Grace"]) {
   *       await b24.addOnce("crm.contact.add", { fields: { NAME } }, { key: `${idempotencyKey}-${NAME}` });
   *     }
   *   });
   * });
   * ```
   */
  readonly addOnce: <T = unknown>(method: string, params: object, options: B24AddOnceOptions) => Promise<T>;
  /** REST 3.0, a version of the API with methods of its own, which repeated calls do not harm. */
  readonly v3: B24V3;
}

/** The request and the answer of a call of {@linkcode clientOf}. */
type Request<T> = Pick<Call<T>, "params" | "isRead" | "times" | "read" | "v3">;

/** A portal, and how to call it. */
export interface ClientOptions {
  readonly run: RunCall;
  readonly stepKeys: StepKeys;
  readonly memberId: string;
  /** Calls end once one of them is aborted. */
  readonly signals: readonly AbortSignal[];
  /** Maximum size of an answer in bytes, if the caller has set it. */
  readonly answerBytes: number | undefined;
}

/** Returns the client of one portal. */
export function clientOf({ run, stepKeys, memberId, signals, answerBytes }: ClientOptions): B24 {
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

  async function ask(method: string, params: object, options: B24Options, v3?: V3Request): Promise<Answer> {
    return await send(method, {
      params: () => params,
      isRead: () => v3 === undefined ? isReadMethod(method) : isV3Read(method),
      times: ({ time }) => [[method, time]],
      read: (answer: Answer) => answer,
      ...(v3 === undefined ? {} : { v3 }),
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
    const assertEnding = createWalkBound(method);
    for (let at = after;;) {
      const read = await pageAt<T>({ by, key }, params, at, (params) => ask(method, params, others));
      assertEnding(read);
      const { items, next } = read;
      if (items.length > 0 || next === null) return { items, next };
      at = next;
    }
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
    batchEach: async <Item, Result>(
      items: Iterable<Item> | AsyncIterable<Item>,
      command: (item: Item, index: number) => B24Command,
      options: B24BatchEachOptions<Item> = {},
    ) => {
      checkOptions("cannot run a batch for each item", options, BATCH_EACH_RULES);
      const { onFailure, ...others } = options;
      const batch = (commands: Readonly<Record<string, B24Command>>): Promise<Outcomes> =>
        runBatch(commands, false, sender(others));
      return await batchEach({ items, command, onFailure, batch }) as Result[];
    },
    page,
    list,
    addOnce: async <T>(method: string, params: object, options: B24AddOnceOptions) => {
      checkCall(method, options, ADD_ONCE_RULES);
      const call = async (method: string, params: object, options: B24Options): Promise<unknown> =>
        (await ask(method, params, options)).result;
      return await addOnce(call, method, params, options) as T;
    },
    v3: v3Client({ stepKeys, ask: (method, params, v3, options) => ask(method, params, options, v3) }),
  };
}

/** @throws {TypeError} if the method is not the name of one, or an option is unknown or invalid */
function checkCall<Options extends B24Options>(method: string, options: Options, rules: OptionRules<Options>): void {
  assertMethod(method);
  checkOptions(`cannot call ${method}`, options, rules);
}
