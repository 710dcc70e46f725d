/** Whole lists, many pages in a request. */
import { B24Error } from "../../mod.ts";
import { UnreachableError } from "../../errors.ts";
import type { Answer } from "./answers.ts";
import { MAX_COMMANDS, type Outcomes } from "./batches.ts";
import { type B24Command, isLikeReference, resultOf } from "./commands.ts";
import { endIfRepeated, type ListPage, PAGE_ROWS, pageParams, type Paging, readPage } from "./lists.ts";
import { createWalkBound } from "./walk_bound.ts";

/** A list, and the functions that read it. */
export interface List {
  readonly method: string;
  readonly params: object;
  readonly paging: Paging;
  /** Calls the method. `isOnce`: only once, also if the portal fails. */
  readonly call: (params: object, isOnce?: boolean) => Promise<Answer>;
  /** Runs commands up to the first failure, in one request that is sent only once. */
  readonly batch: (commands: Readonly<Record<string, B24Command>>) => Promise<Outcomes>;
  /** Maximum size of an answer in bytes, if the caller has set it. */
  readonly answerBytes: number | undefined;
}

/** Expected size of the answer to a batch, in bytes; less if answers may not be that large. */
const BATCH_BYTES = 3 * 2 ** 20;

/** The state of a list while it is read. */
interface Progress {
  /** Maximum number of pages in a request. */
  limit: number;
  /** Number of pages in the next request if Bitrix24 has not counted the rows: it doubles with each one. */
  guess: number;
  /** Number of all rows, if Bitrix24 has counted them. */
  total: number | undefined;
  /** Number of rows so far. */
  seen: number;
}

/** Yields all rows of a list. The first page has a request of its own: its size says how many pages fit into a batch. */
export async function* allRows<T>(list: List): AsyncGenerator<T> {
  const { method, params, answerBytes = Infinity } = list;
  const canBatch = isSameInBatch(params);
  const assertEnding = createWalkBound(method);
  const { page: first, bytes } = await firstPage<T>(list, canBatch);
  assertEnding(first);
  yield* first.items;
  const fitting = Math.floor(Math.min(BATCH_BYTES, answerBytes * 3 / 4) / bytes);
  const limit = canBatch ? Math.min(Math.max(fitting, 1), MAX_COMMANDS) : 1;
  const progress: Progress = { limit, guess: 1, total: first.total, seen: first.items.length };
  for (let last = first; last.next !== null;) {
    for (const page of await nextPages(list, last, progress)) {
      assertEnding(page);
      yield* page.items;
      progress.seen += page.items.length;
      // Not counted, the rows of a list by ID are 0.
      if (list.paging.by === "start") progress.total = page.total ?? progress.total;
      last = page;
    }
  }
}

/** Returns the first page and the size of its answer. Rows of a list by ID are counted if that does not take too long. */
async function firstPage<T>(
  { params, paging, call }: List,
  isCounted: boolean,
): Promise<{ readonly page: ListPage<T>; readonly bytes: number }> {
  const read = (answer: Answer): { readonly page: ListPage<T>; readonly bytes: number } => ({
    page: readPage<T>(answer, paging, 0),
    bytes: new TextEncoder().encode(answer.text).length,
  });
  if (paging.by !== "start" && isCounted) {
    try {
      return read(await call(pageParams(paging, params, 0, true), true));
    } catch (error) {
      if (!isOverload(error)) throw error;
    }
  }
  return read(await call(pageParams(paging, params, 0)));
}

/** Returns the pages after `last` that one request brings; none if a smaller request may bring some. */
async function nextPages<T>(list: List, last: ListPage<T>, progress: Progress): Promise<readonly ListPage<T>[]> {
  const { call, params, paging } = list;
  const left = pagesLeft(paging, last, progress);
  const canFollow = paging.by === "start" || last.lastId !== undefined;
  const count = canFollow ? Math.min(left ?? progress.guess, progress.limit) : 1;
  if (left === undefined) progress.guess *= 2;
  if (count > 1) {
    try {
      const { pages, failure } = pagesIn(list, last, await list.batch(commandsOf(list, last, count)));
      // Perhaps only another user may read the list. A method that waits for operating time can be in a batch later.
      const isLimited = failure instanceof B24Error && failure.limit !== undefined;
      if (failure !== undefined && !isLimited) progress.limit = 1;
      if (pages.length > 0) return pages;
    } catch (error) {
      if (!isOverload(error)) throw error;
      progress.limit = Math.floor(count / 2);
      return [];
    }
  }
  const page = readPage<T>(await call(pageParams(paging, params, last.next!)), paging, last.next!);
  return [endIfRepeated(page, last)];
}

/** Returns the number of further pages; `undefined` if Bitrix24 has not counted them, or has counted wrong. */
function pagesLeft(
  { by }: Paging,
  { after, next }: ListPage<unknown>,
  { total = 0, seen }: Progress,
): number | undefined {
  if (by === "start") return total > next! ? Math.ceil((total - next!) / (next! - after)) : undefined;
  // The list ends with a page that is not full.
  return total > seen ? Math.floor((total - seen) / PAGE_ROWS) + 1 : undefined;
}

/** Returns the commands for `count` pages after `last`, in their order. */
function commandsOf(
  { method, params, paging }: List,
  { after, next, lastId }: ListPage<unknown>,
  count: number,
): Readonly<Record<string, B24Command>> {
  const position = (i: number): number | object => {
    if (paging.by === "start") return next! + i * (next! - after);
    return i === 0 ? next! : resultOf(`page${i - 1}`, ...lastId!);
  };
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`page${i}`, [method, pageParams(paging, params, position(i))]]),
  );
}

/** Returns the pages in the outcomes of a batch that follow one another, and the failure that ends them. */
function pagesIn<T>(
  { method, paging }: List,
  last: ListPage<T>,
  outcomes: Outcomes,
): { readonly pages: readonly ListPage<T>[]; readonly failure?: unknown } {
  const pages: ListPage<T>[] = [];
  let before = last;
  for (const outcome of outcomes.values()) {
    const after = before.next;
    const requested = last.next! + pages.length * (last.next! - last.after);
    // Rows were deleted meanwhile, or pages are not all alike: what was requested is not what comes next.
    if (after === null || (paging.by === "start" && after !== requested)) break;
    if (!outcome.ok) return { pages, failure: outcome.error };
    const { value: result, next, total } = outcome;
    try {
      const page = readPage<T>({ method, status: 200, result, next, total }, paging, after);
      pages.push(before = endIfRepeated(page, before));
    } catch (failure) {
      // As the first page of a request, it may be another one.
      return { pages, failure };
    }
  }
  return { pages };
}

/** Whether a request failed so that a smaller one may succeed: the answer is too large, or the portal takes too long. */
function isOverload(error: unknown): boolean {
  return error instanceof UnreachableError || (error instanceof B24Error && error.mayHaveTakenEffect);
}

/**
 * Whether parameters mean the same in a batch, where they are strings. Pages that are requested in two ways must be those
 * of one list.
 */
function isSameInBatch(params: object): boolean {
  const isSame = (value: unknown, depth: number): boolean => {
    if (typeof value === "string") return !isLikeReference(value) && value.isWellFormed();
    if (typeof value !== "object" || value === null) return typeof value === "number";
    const entries = Object.entries(value);
    return (entries.length > 0 || depth < 2) &&
      entries.every(([key, inner]) => !/[[\]]/.test(key) && isSame(inner, depth + 1));
  };
  return isSame(JSON.parse(JSON.stringify(params)), 0);
}
