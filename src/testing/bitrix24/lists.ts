/** List methods with the filter, order, select and pages of Bitrix24. */
import { Refusal } from "./errors.ts";
import type { ListState } from "./list_state.ts";
import { type FakeParams, isMap, textOf, valueOf } from "./request.ts";
import type { MethodResult } from "./state.ts";

/** Number of rows of a page. */
const PAGE_SIZE = 50;

type Row = ListState["rows"][number];

/** Returns the page of rows that the `filter`, `order`, `select` and `start` of `params` select. */
export function listPage({ rows, key, next: oddity }: ListState, params: FakeParams): MethodResult {
  const start = Number(textOf(params, "start") || 0);
  if (!Number.isInteger(start)) throw new Refusal("ERROR_ARGUMENT", { description: "Argument 'start' is wrong" });
  const found = rows.filter(matcher(valueOf(params, "filter"))).toSorted(comparer(valueOf(params, "order")));
  const isCounted = start >= 0;
  const first = isCounted ? start : 0;
  const page = found.slice(first, first + PAGE_SIZE).map(selector(valueOf(params, "select")));
  const result = key === undefined ? page : { [key]: page };
  if (!isCounted) return { result };
  if (oddity === "missing") return { result, total: page.length };
  if (oddity === "endless") return { result, next: first + PAGE_SIZE, total: first + PAGE_SIZE + 1 };
  const next = first + PAGE_SIZE < found.length ? { next: first + PAGE_SIZE } : {};
  return { result, ...next, total: found.length };
}

const COMPARISONS: Readonly<Record<string, (order: number) => boolean>> = {
  "": (order) => order === 0,
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
  "=": (order) => order === 0,
  "!": (order) => order !== 0,
  "!=": (order) => order !== 0,
};

function matcher(filter: unknown): (row: Row) => boolean {
  const conditions = Object.entries(isMap(filter) ? filter : {}).map(([key, wanted]) => {
    const [, operator = "", field = ""] = /^([<>=!@]*)(.*)$/.exec(key)!;
    const holds = COMPARISONS[operator];
    if (holds === undefined || (Array.isArray(wanted) && ["", "=", "!", "!="].includes(operator))) {
      const all = Array.isArray(wanted) ? wanted : [wanted];
      const isNot = operator.startsWith("!");
      return (row: Row): boolean => all.some((value) => compare(row[field], value) === 0) !== isNot;
    }
    // PHP takes a list or map for 1: what a reference of a batch that leads nowhere comes to.
    const bound = typeof wanted === "object" && wanted !== null ? 1 : wanted;
    return (row: Row): boolean => holds(compare(row[field], bound));
  });
  return (row) => conditions.every((condition) => condition(row));
}

function comparer(order: unknown): (a: Row, b: Row) => number {
  const fields = Object.entries(isMap(order) ? order : {});
  return (a, b) => {
    for (const [field, direction] of fields) {
      const difference = compare(a[field], b[field]);
      if (difference !== 0) return /^desc/i.test(String(direction)) ? -difference : difference;
    }
    return 0;
  };
}

function selector(select: unknown): (row: Row) => Row {
  const fields = Array.isArray(select) ? select.map(String) : [];
  if (fields.length === 0 || fields.includes("*")) return (row) => row;
  return (row) => Object.fromEntries(fields.filter((field) => field in row).map((field) => [field, row[field]]));
}

/** Compares numbers, also in strings, by value, and everything else as strings. */
function compare(a: unknown, b: unknown): number {
  const [left, right] = [String(a ?? ""), String(b ?? "")];
  const isNumeric = [left, right].every((side) => side !== "" && Number.isFinite(Number(side)));
  if (isNumeric) return Number(left) - Number(right);
  return left === right ? 0 : left < right ? -1 : 1;
}
