/** Lists, page by page. */
import { type Answer, isMap, unexpected } from "./answers.ts";

/** A page of a list. */
export interface B24Page<T> {
  /** The rows of the page. */
  readonly items: readonly T[];
  /** `after` of the next page; `null` if this was the last one. */
  readonly next: number | null;
}

/** Rows of a full page, in all of Bitrix24's REST API. */
const PAGE_ROWS = 50;

/** Which page of a list to read, and how. */
export interface PagePosition {
  readonly after: number;
  /** Name of the ID in the method's filter and order; `"start"` pages by row numbers instead. */
  readonly by: string;
  /** Key of the rows in the result. */
  readonly key: string | undefined;
}

/** Returns a page of the list that `call` returns for parameters. */
export async function pageAt<T>(
  { after, by, key }: PagePosition,
  params: object,
  call: (params: object) => Promise<Answer>,
): Promise<B24Page<T>> {
  if (by === "start") {
    const answer = await call({ ...params, start: after });
    const { next } = answer;
    const items = rowsIn<T>(answer, key);
    return { items, next: next === undefined || next === null ? null : checkedNext(Number(next), after, answer) };
  }
  const answer = await call(byId(params, by, after));
  const items = rowsIn<T>(answer, key);
  if (items.length < PAGE_ROWS) return { items, next: null };
  const last: unknown = items.at(-1);
  const id = isMap(last) ? last[by] ?? last[by.toLowerCase()] : undefined;
  return { items, next: checkedNext(Number(id), after, answer) };
}

/** Yields all rows of a list, page by page. */
export async function* allRows<T>(page: (after: number) => Promise<B24Page<T>>): AsyncGenerator<T> {
  for (let after: number | null = 0; after !== null;) {
    const { items, next }: B24Page<T> = await page(after);
    yield* items;
    after = next;
  }
}

const BY_ID = /^crm\.(lead|deal|contact|company|quote|activity|product)\.list$|^tasks\.task\.list$/i;

type Params = Readonly<Record<string, unknown>>;

/** Returns the name of the ID to page a method by, or `"start"` if it cannot be paged by ID with these parameters. */
export function idOf(method: string, params: object): string {
  const order = Object.entries((params as Params)[nameIn(params, "order")] ?? {});
  // In a filter with LOGIC, the bound on the ID would be one more alternative.
  const hasLogic = Object.keys((params as Params)[nameIn(params, "filter")] ?? {}).some((key) => /^logic$/i.test(key));
  if (hasLogic) return "start";
  const by = /^crm\.item\.list$/i.test(method) ? "id" : BY_ID.test(method) ? "ID" : "start";
  return order.every((entry) => entry.join(" ").toLowerCase() === `${by} asc`.toLowerCase()) ? by : "start";
}

/** Returns the name of a parameter as the caller has written it: older methods accept any case. */
function nameIn(params: object, name: string): string {
  return Object.keys(params).find((key) => key.toLowerCase() === name) ?? name;
}

/** Returns the parameters for the rows after an ID. */
function byId(params: object, by: string, after: number): object {
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
    // Bitrix24 then does not count all rows.
    start: -1,
  };
}

/** @throws {B24Error} if the next page does not come after this one: the list would never end */
function checkedNext(next: number, after: number, answer: Answer): number {
  if (next > after) return next;
  throw unexpected(answer, `the page after ${after} does not say where the next page begins`);
}

function rowsIn<T>(answer: Answer, key: string | undefined): readonly T[] {
  const { result } = answer;
  const rows = key === undefined || Array.isArray(result) ? result : isMap(result) ? result[key] : undefined;
  if (Array.isArray(rows)) return rows;
  if (isMap(rows)) {
    const values = Object.values(rows);
    // PHP sends a list with gaps as a map.
    if (Object.keys(rows).every((name) => /^\d+$/.test(name))) return values as T[];
    const [list, ...others] = values.filter((value) => Array.isArray(value));
    if (key === undefined && list !== undefined && others.length === 0) return list;
  }
  throw unexpected(answer, "no list of rows is in the result; pass its key, if it has one");
}
