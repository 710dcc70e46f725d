/** Pages of lists. */
import { type Answer, isMap, numberOf, unexpected } from "./answers.ts";

/** A page of a list. */
export interface B24Page<T> {
  /** The rows of the page. */
  readonly items: readonly T[];
  /** `after` of the next page; `null` if this was the last one. */
  readonly next: number | null;
}

/** Rows of a full page, in all of Bitrix24's REST API. */
export const PAGE_ROWS = 50;

/** The way in which a list is read. */
export interface Paging {
  /** Name of the ID in the method's filter and order; `"start"` pages by row numbers instead. */
  readonly by: string;
  /** Key of the rows in the result. */
  readonly key: string | undefined;
}

/** The answer to a request of a page, or to a command of a batch. */
export type PageAnswer = Pick<Answer, "method" | "status" | "result" | "next" | "total">;

/** A page with what is known about its list. */
export interface ListPage<T> extends B24Page<T> {
  /** Position of the page. */
  readonly after: number;
  /** Number of all rows, if Bitrix24 has counted them. */
  readonly total?: number;
  /** The answer does not say whether there is another page, and may be the same for every `start`. */
  readonly isUnsure: boolean;
  /** Keys that lead from the result to the ID of the last row, if the rows are a list and have IDs. */
  readonly lastId?: readonly (string | number)[];
}

/** Returns a page of the list that `call` returns for parameters. */
export async function pageAt<T>(
  paging: Paging,
  params: object,
  after: number,
  call: (params: object) => Promise<PageAnswer>,
): Promise<ListPage<T>> {
  const read = async (after: number): Promise<ListPage<T>> =>
    readPage<T>(await call(pageParams(paging, params, after)), paging, after);
  const page = await read(after);
  return page.isUnsure && after > 0 ? endIfRepeated(page, await read(after - PAGE_ROWS)) : page;
}

/**
 * Returns the parameters of the page at a position: an ID, or a row number. Paged by ID, Bitrix24 counts the rows only if
 * they are to be `counted`.
 */
export function pageParams({ by }: Paging, params: object, after: number | object, counted = false): object {
  return by === "start" ? { ...params, start: after } : byId(params, by, after, counted);
}

/**
 * Returns the page in an answer.
 *
 * @throws {B24Error} if no rows are in it, or if the next page does not come after this one
 */
export function readPage<T>(answer: PageAnswer, { by, key }: Paging, after: number): ListPage<T> {
  const { rows: items, path } = rowsIn<T>(answer, key);
  const page = { items, after, isUnsure: false, ...numberOf("total", answer.total) };
  const isFull = items.length === PAGE_ROWS;
  if (by !== "start") {
    const [first, last] = [idIn(items[0], by), idIn(items.at(-1), by)];
    if (first !== undefined && Number(first.id) <= after) {
      throw unexpected(answer, `the page after ${after} begins before it`);
    }
    if (items.length < PAGE_ROWS) return { ...page, next: null };
    const next = checkedNext(Number(last?.id), after, answer);
    const lastId = [...path ?? [], items.length - 1, last!.field];
    const isPath = isFull && path !== undefined && lastId.every((key) => /^[^\s[\]]+$/.test(String(key)));
    return { ...page, next, ...(isPath ? { lastId } : {}) };
  }
  const { total } = page;
  if (answer.next !== undefined && answer.next !== null) {
    const next = checkedNext(Number(answer.next), after, answer);
    // Some lists answer empty pages for ever. Others leave out rows that the user may not see.
    return { ...page, next: items.length > 0 || after < (total ?? 0) ? next : null };
  }
  // Some lists have more rows, and answer `total: 50` and no `next`.
  const isUnsure = isFull && !(after > 0 && total === after + items.length);
  return { ...page, isUnsure, next: isUnsure ? after + PAGE_ROWS : null };
}

/** Returns the ID of a row, and the name of its field. */
function idIn(row: unknown, by: string): { readonly id: unknown; readonly field: string } | undefined {
  const field = isMap(row) ? [by, by.toLowerCase()].find((name) => name in row) : undefined;
  return field === undefined ? undefined : { field, id: (row as Params)[field] };
}

/** Returns a page, or the end of its list if it repeats the one before: then the method does not know `start`. */
export function endIfRepeated<T>(page: ListPage<T>, before: B24Page<T>): ListPage<T> {
  if (!page.isUnsure || JSON.stringify(page.items) !== JSON.stringify(before.items)) return page;
  return { ...page, items: [], next: null, isUnsure: false };
}

const BY_ID = /^crm\.(lead|deal|contact|company|quote|activity|product)\.list$|^tasks\.task\.list$/i;

type Params = Readonly<Record<string, unknown>>;

/** Returns the name of the ID to page a method by, or `"start"` if it cannot be paged by ID with these parameters. */
export function idOf(method: string, params: object): string {
  const order = Object.entries((params as Params)[nameIn(params, "order")] ?? {});
  // In a filter with LOGIC, which tasks spell ::LOGIC, the bound on the ID would be one more alternative.
  const filter = (params as Params)[nameIn(params, "filter")] ?? {};
  const hasLogic = Object.keys(filter).some((key) => /^(::)?logic$/i.test(key));
  if (hasLogic) return "start";
  const by = /^crm\.item\.list$/i.test(method) ? "id" : BY_ID.test(method) ? "ID" : "start";
  return order.every((entry) => entry.join(" ").toLowerCase() === `${by} asc`.toLowerCase()) ? by : "start";
}

/** Returns the name of a parameter as the caller has written it: older methods accept any case. */
function nameIn(params: object, name: string): string {
  return Object.keys(params).find((key) => key.toLowerCase() === name) ?? name;
}

/** Returns the parameters for the rows after an ID, which may be a reference. */
function byId(params: object, by: string, after: number | object, counted: boolean): object {
  const original = params as Params;
  const filter = nameIn(params, "filter");
  const select = nameIn(params, "select");
  const fields = original[select];
  const lacksId = Array.isArray(fields) && fields.length > 0 && !fields.includes(by) && !fields.includes("*");
  // The first page keeps the caller's own lower bound; after it, ours is the higher one.
  const bound = after === 0 ? {} : { [`>${by}`]: after };
  return {
    ...original,
    [filter]: { ...(original[filter] as object | undefined), ...bound },
    [nameIn(params, "order")]: { [by]: "ASC" },
    ...(lacksId ? { [select]: [...fields, by] } : {}),
    // With -1, Bitrix24 does not count all rows.
    start: counted ? 0 : -1,
  };
}

/** @throws {B24Error} if the next page does not come after this one: the list would never end */
function checkedNext(next: number, after: number, answer: PageAnswer): number {
  if (next > after) return next;
  throw unexpected(answer, `the page after ${after} does not say where the next page begins`);
}

/** Returns the rows in an answer, and the keys that lead to them, if they are a list. */
function rowsIn<T>(
  answer: PageAnswer,
  key: string | undefined,
): { readonly rows: readonly T[]; readonly path?: readonly string[] } {
  const { result } = answer;
  const isKeyed = key !== undefined && !Array.isArray(result);
  const rows = isKeyed ? isMap(result) ? result[key] : undefined : result;
  const path = isKeyed ? [key] : [];
  if (Array.isArray(rows)) return { rows, path };
  if (isMap(rows)) {
    // PHP sends a list with gaps as a map.
    if (Object.keys(rows).every((name) => /^\d+$/.test(name))) return { rows: Object.values(rows) as T[] };
    const [list, ...others] = Object.entries(rows).filter(([, value]) => Array.isArray(value));
    if (key === undefined && list !== undefined && others.length === 0) {
      return { rows: list[1] as T[], path: [list[0]] };
    }
  }
  throw unexpected(answer, "no list of rows is in the result; pass its key, if it has one");
}
