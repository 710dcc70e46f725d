/** One function for the clients of all libraries. */

/**
 * A client with `query`, such as `Pool` and `Client` of `pg`, and `PGlite`. Only strings and `null` are passed as values, and
 * only strings and `null` are read from rows.
 */
export interface PostgresQueryClient {
  /** Runs one statement, with `$1` and so on for the values. */
  // deno-lint-ignore no-explicit-any -- the clients declare their own types for values and rows
  readonly query: (text: string, values: any[]) => Promise<{ readonly rows: readonly any[] }>;
}

/** A client of `postgres` (Postgres.js). */
export interface PostgresJsClient {
  /** Runs one statement, with `$1` and so on for the values. Prepares it only if the client's own option allows it. */
  // deno-lint-ignore no-explicit-any -- the client declares its own types for values and rows
  readonly unsafe: (text: string, values: any[], options: { prepare: boolean }) => PromiseLike<readonly any[]>;
}

/** A row of a result. */
export type Row = Readonly<Record<string, string | null>>;

/** Runs one statement. */
export type Query = (text: string, values: (string | null)[]) => Promise<readonly Row[]>;

/**
 * Returns a function that runs statements through `client`.
 *
 * @throws {TypeError} if the client has neither `query` nor `unsafe`
 */
export function queryOf(client: PostgresQueryClient | PostgresJsClient): Query {
  if (typeof (client as PostgresQueryClient | undefined)?.query === "function") {
    return async (text, values) => (await (client as PostgresQueryClient).query(text, values)).rows;
  }
  if (typeof (client as PostgresJsClient | undefined)?.unsafe === "function") {
    // Unprepared, Postgres.js would take two round trips for every statement.
    return async (text, values) => await (client as PostgresJsClient).unsafe(text, values, { prepare: true });
  }
  throw new TypeError("unsupported client, wanted one with `query` (pg, PGlite) or with `unsafe` (Postgres.js)");
}
