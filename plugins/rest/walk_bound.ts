/** The bound of walks through lists: some lists answer a next page for ever. */
import { isMap, unexpected } from "./answers.ts";
import type { ListPage } from "./lists.ts";

/** Maximum number of pages of a list. */
const MAX_PAGES = 100_000;
/** Maximum number of pages in a row that are empty or begin and end with the IDs of the page before. */
const MAX_STALLED_PAGES = 200;

/**
 * Returns a function that takes each page of a list in turn.
 *
 * It throws a `B24Error` with the code `ERROR_UNEXPECTED_ANSWER` if the list does not seem to end.
 */
export function createWalkBound(method: string): (page: ListPage<unknown>) => void {
  let pages = 0;
  let stalled = 0;
  let before: string | undefined;
  return ({ items, next }) => {
    const ids = idsOf(items);
    stalled = items.length === 0 || (ids !== undefined && ids === before) ? stalled + 1 : 0;
    if (items.length > 0) before = ids;
    pages++;
    if (next === null || (pages < MAX_PAGES && stalled < MAX_STALLED_PAGES)) return;
    const why = pages < MAX_PAGES ? `the last ${stalled} pages have no new row` : `it has more than ${pages} pages`;
    throw unexpected({ method, status: 200 }, `the list does not end: ${why}`);
  };
}

/** Returns the IDs of the first and the last row as a string; `undefined` if the rows have none, and may all be alike. */
function idsOf(items: readonly unknown[]): string | undefined {
  const [first, last] = [items[0], items.at(-1)].map((row) => isMap(row) ? row.ID ?? row.id : undefined);
  return first === undefined || last === undefined ? undefined : JSON.stringify([first, last]);
}
