/** Lists as portals answer them, also in batches. */
import type { B24ListOptions } from "@b24/onappupdate/rest";
import { answerBatch } from "../../../../src/testing/bitrix24/batch.ts";
import { Refusal, refused } from "../../../../src/testing/bitrix24/errors.ts";
import { listPage } from "../../../../src/testing/bitrix24/lists.ts";
import type { MethodResult } from "../../../../src/testing/bitrix24/state.ts";
import { type Counter, NOW, type Sent } from "./_rest.ts";

export type Row = Readonly<Record<string, unknown>>;

/** Rows with these IDs. */
export const rows = (count: number, field: string): Row[] =>
  Array.from({ length: count }, (_, i) => ({ [field]: String(3 * i + 1) }));

/** The answer of a method; it may throw a `Refusal`. */
export type Run = (params: Readonly<Record<string, unknown>>, method: string) => MethodResult;

/** Answers calls and batches as the fake Bitrix24 does. */
export function answering(run: Run): (sent: Sent) => Promise<Response> {
  const time = { operating: 1, operating_reset_at: NOW / 1000 + 20 };
  return async ({ method, params }) => {
    try {
      if (method !== "batch") return Response.json({ ...run(params, method), time });
      const batch = await answerBatch(params, (method, params) => Promise.resolve({ ...run(params, method), time }));
      return Response.json(batch);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return refused(error);
    }
  };
}

/** Answers a list that knows filter, order and `start`. The rows are those that there are at each call. */
export function listing(all: readonly Row[], field: string, by = field, key?: string): Run {
  return (params) => {
    const { filter, order, ...others } = params as { readonly filter?: object; readonly order?: object };
    const renamed = (map: object = {}): object =>
      Object.fromEntries(Object.entries(map).map(([name, value]) => [name.replace(by, field), value]));
    const page = listPage({ rows: all, key }, { ...others, filter: renamed(filter), order: renamed(order) });
    return { total: 0, ...page };
  };
}

/** Returns the number of commands of each request; 0 for a call. */
export function commands(made: Counter): number[] {
  return made.sent.map(({ params }) => Object.keys(params.cmd ?? {}).length);
}

/** Returns `count` rows of about 1 kB. */
export function bigRows(count: number, field: string): Row[] {
  return rows(count, field).map((row) => ({ ...row, TEXT: "x".repeat(1000) }));
}

export async function all<T = Row>(
  made: Counter,
  method: string,
  params?: object,
  options?: B24ListOptions,
): Promise<T[]> {
  const found: T[] = [];
  for await (const row of made.b24.list<T>(method, params, options)) found.push(row);
  return found;
}
