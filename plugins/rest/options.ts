/** Options of the client's functions. */
import { type OnAppUpdateError, option, type OptionRules } from "../../mod.ts";

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

/** Options of {@linkcode B24.batchEach}. */
export interface B24BatchEachOptions<Item> extends B24Options {
  /**
   * Called for each command that failed, before the commands of the next request are sent. The errors are those of the outcomes
   * of {@linkcode B24.batch}.
   *
   * @default the first failure rejects
   */
  readonly onFailure?: (error: OnAppUpdateError, item: Item) => void;
}

/** Options of {@linkcode B24.addOnce}. */
export interface B24AddOnceOptions extends Omit<B24Options, "repeatable"> {
  /**
   * By what the entity is found again: the `idempotencyKey` of the step, or something that begins with it if the step adds
   * several entities of a kind. 1 to 255 printable ASCII characters without spaces. Bitrix24 ignores the case of letters.
   */
  readonly key: string;
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

/** Options of {@linkcode B24V3.call}. */
export interface B24V3Options extends B24Options {
  /**
   * By what Bitrix24 recognizes a repeated call: 1 to 255 printable ASCII characters.
   *
   * @default derived from the step that the call is made in, if it may write; none outside of steps
   */
  readonly idempotencyKey?: string;
}

/** The rules of {@linkcode B24Options}. */
export const CALL_RULES: OptionRules<B24Options> = {
  signal: option.signal(),
  timeoutMs: option.duration(),
  repeatable: option.flag(),
};

/** The rules of {@linkcode B24BatchOptions}. */
export const BATCH_RULES: OptionRules<B24BatchOptions> = { ...CALL_RULES, halt: option.flag() };

/** The rules of {@linkcode B24BatchEachOptions}. */
export const BATCH_EACH_RULES: OptionRules<B24BatchEachOptions<unknown>> = {
  ...CALL_RULES,
  onFailure: option.function(),
};

/** The rules of {@linkcode B24ListOptions}. */
export const LIST_RULES: OptionRules<B24ListOptions> = {
  ...CALL_RULES,
  by: option.text('the name of the ID in the filter, or "start"'),
  key: option.text("the key of the rows in the result"),
};

/** The rules of {@linkcode B24PageOptions}. */
export const PAGE_RULES: OptionRules<B24PageOptions> = {
  ...LIST_RULES,
  after: option.number({ min: 0, isWhole: true }),
};

/** The rules of {@linkcode B24AddOnceOptions}. */
export const ADD_ONCE_RULES: OptionRules<B24AddOnceOptions> = {
  ...{ signal: option.signal(), timeoutMs: option.duration() },
  key: option.required(
    option.value("1 to 255 printable ASCII characters, no spaces", (key) => isText(key, /^[\x21-\x7e]{1,255}$/)),
  ),
};

/** The rules of {@linkcode B24V3Options}. */
export const V3_RULES: OptionRules<B24V3Options> = {
  ...CALL_RULES,
  idempotencyKey: option.value("1 to 255 printable ASCII characters", (key) => isText(key, /^[\x20-\x7e]{1,255}$/)),
};

function isText(value: unknown, pattern: RegExp): boolean {
  return typeof value === "string" && pattern.test(value);
}
