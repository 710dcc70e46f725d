/** Lists, page by page. */
import { type Answer, isMap, unexpected } from "./answers.ts";

/** A page of a list. */
export interface B24Page<T> {
  /** Its rows. */
  readonly items: readonly T[];
  /** What to give as `after` for the next one; `null`: this was the last. */
  readonly next: number | null;
}

/** Rows of a page, everywhere in Bitrix24's REST. */
const PAGE = 50;

/** Where a page begins. */
export interface Place {
  readonly after: number;
  /** Name of the ID in the method's filter and order, or `"start"`. */
  readonly by: string;
  /** Where in the result the rows are. */
  readonly key: string | undefined;
}

/** The page at a place of the list that `ask` asks for with parameters. */
export async function pageAt<T>(
  { after, by, key }: Place,
  params: object,
  ask: (params: object) => Promise<Answer>,
): Promise<B24Page<T>> {
  if (by === "start") {
    const answer = await ask({ ...params, start: after });
    const { next } = answer;
    const items = rowsOf<T>(answer, key);
    return { items, next: next === undefined || next === null ? null : risen(Number(next), after, answer) };
  }
  const answer = await ask(byId(params, by, after));
  const items = rowsOf<T>(answer, key);
  if (items.length < PAGE) return { items, next: null };
  const last: unknown = items.at(-1);
  const id = isMap(last) ? last[by] ?? last[by.toLowerCase()] : undefined;
  return { items, next: risen(Number(id), after, answer) };
}

/** The rows of one page after the other. */
export async function* allRows<T>(page: (after: number) => Promise<B24Page<T>>): AsyncGenerator<T> {
  for (let after: number | null = 0; after !== null;) {
    const { items, next }: B24Page<T> = await page(after);
    yield* items;
    after = next;
  }
}

const BY_ID = /^crm\.(lead|deal|contact|company|quote|activity|product)\.list$|^tasks\.task\.list$/i;

type Params = Readonly<Record<string, unknown>>;

/** The name of the ID in a method's filter, or `"start"`. */
export function idOf(method: string, params: object): string {
  const order = Object.entries((params as Params)[nameIn(params, "order")] ?? {});
  // Beside alternatives, the ID would be one more of them.
  const hasLogic = Object.keys((params as Params)[nameIn(params, "filter")] ?? {}).some((key) => /^logic$/i.test(key));
  if (hasLogic) return "start";
  const by = /^crm\.item\.list$/i.test(method) ? "id" : BY_ID.test(method) ? "ID" : "start";
  return order.every((one) => one.join(" ").toLowerCase() === `${by} asc`.toLowerCase()) ? by : "start";
}

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
function risen(next: number, after: number, answer: Answer): number {
  if (next > after) return next;
  throw unexpected(answer, `the page that begins at ${after} does not say where the next one does`);
}

function rowsOf<T>(answer: Answer, key: string | undefined): readonly T[] {
  const { result } = answer;
  const held = key === undefined || Array.isArray(result) ? result : isMap(result) ? result[key] : undefined;
  if (Array.isArray(held)) return held;
  if (isMap(held)) {
    const values = Object.values(held);
    // Lists with gaps become maps in PHP.
    if (Object.keys(held).every((name) => /^\d+$/.test(name))) return values as T[];
    const [rows, ...others] = values.filter((value) => Array.isArray(value));
    if (key === undefined && rows !== undefined && others.length === 0) return rows;
  }
  throw unexpected(answer, "no list of rows is in the result; give its key, if it has one");
}
