/**
 * The statements. Each is one transaction of its own, so a storage needs no session: any connection of a pool, also behind
 * PgBouncer in transaction mode, can run it.
 *
 * All values and columns are text or null, because clients convert other types each in their own way. Keys are in
 * hexadecimal. A parameter has the time in tests; if it is null, the server's clock counts.
 */

/** Statements on one table. */
export type Statements = Readonly<
  Record<
    | "createTable"
    | "get"
    | "put"
    | "create"
    | "replace"
    | "delete"
    | "deleteVersion"
    | "write"
    | "find"
    | "list"
    | "sweep",
    string
  >
>;

/** Reply of the `write` statement if it has applied all operations. Otherwise, it is the index of the one that failed. */
export const APPLIED = "applied";

/** Condition of an operation of `write`: there is no entry. Absent: no condition. */
export const ABSENT = "-";
/** Start of the other conditions. The version follows. */
export const VERSION_IS = "=";

/** Max number of expired entries that `sweep` deletes. */
export const SWEEP_SIZE = 128;

const KEY = "decode($1::text, 'hex')";

/** Returns the time: the given one in tests, otherwise that of the server. In milliseconds since 1970. */
const timeOf = (parameter: string): string =>
  `coalesce(${parameter}::text::float8, floor(extract(epoch FROM statement_timestamp()) * 1000)::float8)`;
const NOW = timeOf("$2");

/** Quoted names of a table and its index. */
export interface Table {
  readonly table: string;
  readonly index: string;
}

/** Returns whether it is one identifier, or two with a dot between them. */
export function isTableName(name: string): boolean {
  const parts = name.split(".");
  return parts.length <= 2 && parts.every((part) => /^[A-Za-z_]\w{0,49}$/.test(part));
}

/** Quotes the name of a table, with or without a schema. */
export function quoteTable(name: string): Table {
  const parts = name.split(".");
  return { table: parts.map((part) => `"${part}"`).join("."), index: `"${parts.at(-1)}_expires_at"` };
}

/**
 * Returns the statements that create a table. `docs/storage.md` shows them, for migrations.
 *
 * Values are text, because jsonb changes them and refuses U+0000. Keys are bytes, because text has no U+0000 and sorts by a
 * collation.
 */
function schemaOf({ table, index }: Table): readonly string[] {
  return [
    `CREATE TABLE ${table} (key bytea PRIMARY KEY, value text NOT NULL, version text NOT NULL, expires_at float8)`,
    `CREATE INDEX ${index} ON ${table} (expires_at) WHERE expires_at IS NOT NULL`,
  ];
}

/** Returns the statements on a table. */
export function statementsOn({ table, index }: Table): Statements {
  const live = `(expires_at IS NULL OR expires_at > ${NOW})`;
  const insert = `INSERT INTO ${table} AS entry (key, value, version, expires_at)`;
  const upsert = `ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at`;
  const values = `VALUES (${KEY}, $3::text, $4::text, ${NOW} + $5::text::float8)`;
  return {
    // Without IF NOT EXISTS, about which the server sends notices. If two processes create the table at once, one fails and
    // repeats it.
    createTable: `DO $$ BEGIN
      IF to_regclass('${table}') IS NULL THEN ${schemaOf({ table, index }).join("; ")}; END IF;
    END $$`,
    get: `SELECT value, version, expires_at::text AS expiry FROM ${table} WHERE key = ${KEY} AND ${live}`,
    put: `${insert} ${values} ${upsert} RETURNING version`,
    create: `${insert} ${values} ${upsert} WHERE entry.expires_at <= ${NOW} RETURNING version`,
    replace: `UPDATE ${table} SET value = $3::text, version = $4::text, expires_at = ${NOW} + $5::text::float8
      WHERE key = ${KEY} AND version = $6::text AND ${live} RETURNING version`,
    delete: `DELETE FROM ${table} WHERE key = ${KEY}`,
    deleteVersion: `DELETE FROM ${table} WHERE key = ${KEY} AND version = $3::text AND ${live} RETURNING version`,
    write: writeStatement(table, { live, insert, upsert }),
    // A write is atomic: if one of its entries is stored, all were.
    find: `SELECT version FROM ${table} WHERE version = $2::text AND key = ANY
      (ARRAY(SELECT decode(item, 'hex') FROM json_array_elements_text($1::text::json) AS items (item))) LIMIT 1`,
    list: `SELECT encode(key, 'hex') AS key, value, version, expires_at::text AS expiry, (${NOW})::text AS now
      FROM ${table} WHERE key > ${KEY} AND key < decode($3::text, 'hex') AND ${live} ORDER BY key LIMIT $4::text::int`,
    // Waits for no other process. Two that sweep at once would otherwise lock each other's rows.
    sweep: `DELETE FROM ${table} WHERE key = ANY (ARRAY(
      SELECT key FROM ${table} WHERE expires_at <= ${timeOf("$1")} LIMIT ${SWEEP_SIZE} FOR UPDATE SKIP LOCKED))`,
  };
}

/**
 * Returns the statement that applies several operations, or none of them. `$1` is a JSON array of the operations, each
 * `[key, value or null to delete, condition or null, TTL or null]`; `$3` is the version of all entries that it puts.
 *
 * - `old` locks the entries that exist, in key order, so that two writes of the same entries do not deadlock. A row that
 *   another transaction is changing is read as that leaves it.
 * - `failed` is the first operation whose condition does not hold. Nothing is written unless it is null. It reads all of
 *   `old`, so that all locks are taken before the first write.
 * - `created` are entries that must not exist and have no row. If another transaction has inserted one since the statement
 *   began, this is a unique violation: the statement has no effect, and the storage repeats it.
 * - `put` are all other puts. Those with a condition replace a row that `old` has locked.
 */
function writeStatement(table: string, sql: { live: string; insert: string; upsert: string }): string {
  const row =
    `SELECT key, value, $3::text, ${NOW} + ttl FROM op WHERE value IS NOT NULL AND (SELECT i FROM failed) IS NULL`;
  const isNew = `(condition = '${ABSENT}') IS TRUE AND key <> ALL (ARRAY(SELECT key FROM old))`;
  return `WITH op AS (
      SELECT i - 1 AS i, decode(item ->> 0, 'hex') AS key, item ->> 1 AS value, item ->> 2 AS condition,
        (item ->> 3)::float8 AS ttl
      FROM json_array_elements($1::text::json) WITH ORDINALITY AS items (item, i)
    ), old AS (
      SELECT key, version, ${sql.live} AS live FROM ${table}
      WHERE key = ANY (ARRAY(SELECT key FROM op)) ORDER BY key FOR UPDATE
    ), failed AS (
      SELECT min(i) FILTER (WHERE CASE WHEN condition = '${ABSENT}' THEN live
        ELSE condition IS NOT NULL AND ('${VERSION_IS}' || version <> condition OR live IS NOT TRUE) END) AS i
      FROM op LEFT JOIN old USING (key)
    ), created AS (${sql.insert} ${row} AND ${isNew} ORDER BY key
    ), put AS (${sql.insert} ${row} AND NOT (${isNew}) ORDER BY key ${sql.upsert}
    ), deleted AS (
      DELETE FROM ${table}
      WHERE key = ANY (ARRAY(SELECT key FROM op WHERE value IS NULL)) AND (SELECT i FROM failed) IS NULL
    ) SELECT coalesce(i::text, '${APPLIED}') AS result FROM failed`;
}
