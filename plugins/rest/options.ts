/** Options of the client's functions. */
import type { OnAppUpdateError } from "../../mod.ts";

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
