/**
 * Stores an app's state in a table of PostgreSQL, through a client that you open and close.
 *
 * - **pg**: `npm install pg`, then `new Pool({ connectionString, connectionTimeoutMillis: 4000, statement_timeout: 4000 })`,
 *   and a listener for the pool's `error` event, without which a lost connection ends the process. A single `Client` works,
 *   too, until its connection is lost.
 * - **Postgres.js**: `npm install postgres`, then `postgres(url, { connect_timeout: 4, max: 10 })`.
 * - **PGlite**: `npm install @electric-sql/pglite`, then `await PGlite.create(folder)`, for tests.
 * - **Any other**: pass `{ query: async (text, values) => ({ rows }) }`. Values and columns are strings or `null`.
 *
 * **The server**: PostgreSQL 12 or later, with a database in UTF-8; tested with PostgreSQL 15. The client talks to the
 * primary, with any isolation level, also through PgBouncer in transaction mode: the storage uses no session state. Only
 * Postgres.js prepares statements; set its option `prepare: false` for PgBouncer before 1.21, and create the table
 * beforehand.
 *
 * - With `synchronous_commit` on, the default, an acknowledged write is on disk, also of the synchronous replicas, if there
 *   are any. Otherwise, pass `durable: false`.
 * - **A failover to an asynchronous replica can lose acknowledged writes**, with the decisions that depended on them. Set
 *   `synchronous_standby_names` if you cannot accept it.
 *
 * **The table** is created at the first call, if there is none and the user may do so. `docs/storage.md` has the statements
 * for migrations. Afterwards the user needs `SELECT`, `INSERT`, `UPDATE` and `DELETE` on it. A key has up to 2,600 bytes.
 *
 * | column       | type     | value                                                                        |
 * | ------------ | -------- | ---------------------------------------------------------------------------- |
 * | `key`        | `bytea`  | the parts of the key, each followed by a zero byte: `encode(key, 'escape')`  |
 * | `value`      | `text`   | the JSON of the value                                                        |
 * | `version`    | `text`   | a UUID, new with every write                                                 |
 * | `expires_at` | `float8` | milliseconds since 1970, or null                                             |
 *
 * A newer format of this library will have other columns, so that older code fails instead of misreading them.
 *
 * **Requests**. Each call is one statement, hence one round trip and one transaction: `write` applies all operations, or
 * none if a condition does not hold. A listing is one statement for each 64 entries, and every 64th write is preceded by one
 * that deletes expired entries. Entries expire by the server's clock.
 *
 * **Outages**. The storage repeats a statement that the server has not executed, because there was no connection or it was
 * rolled back (deadlock, serialization failure, failover), until `timeoutMs` is over. A write is done once, and a lost reply
 * is never reported as a failed condition: the storage looks for the version of the write. If it is not there, a write that
 * requires a version is repeated, and any other one rejects with `StorageError`, because the outcome is unknown.
 *
 * A write that timed out while the client's queue or the server delayed it may still be done. `connectionTimeoutMillis` and
 * `statement_timeout` below `timeoutMs` prevent most of it.
 *
 * @module
 */
import { checkOptions, option, type OptionRules, type Storage } from "../mod.ts";
import { encodeOperations, encodeValue, expiryOf, type Key } from "../storage.ts";
import { CLIENT_RULES, type PostgresJsClient, type PostgresQueryClient, queryOf } from "./postgres_storage/client.ts";
import type { Context } from "./postgres_storage/context.ts";
import { encodeEntryKey } from "./postgres_storage/entries.ts";
import { listEntries, readEntry } from "./postgres_storage/reads.ts";
import { createRunner, type Operation } from "./postgres_storage/runner.ts";
import { isTableName, quoteTable, statementsOn } from "./postgres_storage/statements.ts";
import { writeEntries, writeEntry } from "./postgres_storage/writes.ts";

export type { PostgresJsClient, PostgresQueryClient };

/** Options of {@linkcode postgresStorage}. */
export interface PostgresStorageOptions {
  /**
   * Name of the table, or its schema and name: `"app.portals"`. Each has letters, digits and `_`, does not start with a
   * digit, and has at most 50 characters. They are case-sensitive.
   *
   * @default "onappupdate"
   */
  readonly table?: string;
  /**
   * Whether the server writes to disk before it acknowledges a write (`synchronous_commit`). The storage only reports it in
   * its capabilities; it does not ask the server.
   *
   * @default true
   */
  readonly durable?: boolean;
  /**
   * Max duration in milliseconds of a call, and of each page of a listing, with all its repetitions. Above 0, below 2^31.
   *
   * @default 5000
   */
  readonly timeoutMs?: number;
  /**
   * For tests: returns the time in milliseconds since 1970. Entries then expire by it.
   *
   * @default the server's clock
   */
  readonly clock?: () => number;
}

const OPTION_RULES: OptionRules<PostgresStorageOptions> = {
  table: option.value(
    "a name, or a schema and a name, of letters, digits and _, each of at most 50 characters",
    (table) => typeof table === "string" && isTableName(table),
  ),
  durable: option.flag(),
  timeoutMs: option.duration(),
  clock: option.function(),
};

/**
 * Creates a storage on `client`. You own the client: close it after `app.close()`.
 *
 * When `put`, `delete` or `write` resolves, the write is committed.
 *
 * While there is no connection, calls wait. They resolve if the server is back in time, and fail with `StorageError` when
 * `timeoutMs` is over. A write that timed out may have been done.
 *
 * All methods throw `StorageError` if PostgreSQL refuses the statement. `put` throws `TypeError` for a value that JSON cannot
 * represent, and for a `ttlMs` that is not a finite number. Errors never contain a value: `cause` is a copy of the client's
 * error with its message and code, without the statement and its values.
 *
 * @throws {TypeError} if `client` has neither `query` nor `unsafe`, or an option is unknown or invalid
 *
 * @example
 * ```ts
 * import { createApp } from "@b24/onappupdate";
 * import { postgresStorage } from "@b24/onappupdate/postgres-storage";
 * import { PGlite } from "@electric-sql/pglite";
 *
 * const client = await PGlite.create(); // new Pool({ connectionString }) of pg, postgres(url) of Postgres.js
 * const app = createApp({ storage: postgresStorage(client) });
 *
 * await app.close();
 * await client.close();
 * ```
 */
export function postgresStorage(
  client: PostgresQueryClient | PostgresJsClient,
  options: PostgresStorageOptions = {},
): Storage {
  checkOptions("cannot use PostgreSQL", options, OPTION_RULES);
  checkOptions("cannot use PostgreSQL", { client }, CLIENT_RULES);
  const { table = "onappupdate", durable = true, timeoutMs = 5000, clock } = options;
  const send = queryOf(client);
  const statements = statementsOn(quoteTable(table));
  const run = createRunner(send, statements.createTable, timeoutMs);
  const context: Context = { run, statements, clock, writesSinceSweep: 0 };

  return {
    name: "postgres",
    capabilities: { durable, scope: "network" },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      const operation: Operation = { describe: () => `get ${JSON.stringify(copy)} from PostgreSQL`, signal };
      return await readEntry<T>(context, operation, copy, encodeEntryKey(copy));
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      const json = encodeValue(copy, value);
      expiryOf(copy, 0, ttlMs); // throws for an invalid ttlMs
      const operation: Operation = { describe: () => `put ${JSON.stringify(copy)} into PostgreSQL`, signal };
      const version = await writeEntry(context, operation, { key: copy, json, ifVersion, ttlMs });
      return typeof version === "string" ? { ok: true, version } : { ok: false };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      const copy: Key = [...key];
      const operation: Operation = { describe: () => `delete ${JSON.stringify(copy)} from PostgreSQL`, signal };
      const deleted = await writeEntry(context, operation, { key: copy, ifVersion, ttlMs: undefined });
      return { ok: deleted !== undefined };
    },

    write: async (operations, { signal } = {}) => {
      signal?.throwIfAborted();
      const writes = encodeOperations(operations);
      const operation: Operation = { describe: () => "write to PostgreSQL", signal };
      return await writeEntries(context, operation, writes);
    },

    list: (prefix, options = {}) => listEntries(context, prefix, options),
  };
}
