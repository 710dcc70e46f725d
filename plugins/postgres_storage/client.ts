/** One function for the clients of all libraries. */
import { option, type OptionRules } from "../../mod.ts";

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

/** The rule of a client that is passed to the storage. A URL may have a password, so it is not shown. */
export const CLIENT_RULES: OptionRules<{ readonly client: PostgresQueryClient | PostgresJsClient }> = {
  client: option.required(option.value(
    "a client with query() (pg, PGlite) or with unsafe() (Postgres.js)",
    (client) => hasQuery(client) || typeof (Object(client) as Partial<PostgresJsClient>).unsafe === "function",
    { isSecret: true },
  )),
};

function hasQuery(client: unknown): client is PostgresQueryClient {
  return typeof (Object(client) as Partial<PostgresQueryClient>).query === "function";
}

/** Returns a function that runs statements through `client`. */
export function queryOf(client: PostgresQueryClient | PostgresJsClient): Query {
  if (hasQuery(client)) return async (text, values) => (await client.query(text, values)).rows;
  // Unprepared, Postgres.js would take two round trips for every statement.
  return async (text, values) => await client.unsafe(text, values, { prepare: true });
}
