/** The SQLite file: opening, schema and statements. */
import { closeSync, openSync } from "node:fs";
import process from "node:process";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { FormatError, StorageError } from "../../errors.ts";

/** Identifies our files. SQLite has a field for it in the header of the file. */
const APPLICATION_ID = 0x42323455;
/** Format of the table. Raise it with a change that older versions of this library would misread. */
const FORMAT = 1;
/** Number of writes between two sweeps. */
export const SWEEP_INTERVAL = 64;

// The table has a rowid: with WITHOUT ROWID, values of some kilobytes would be in the tree of the keys, with few keys on a
// page.
const SCHEMA = `
  CREATE TABLE entries (
    key BLOB NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    version TEXT NOT NULL,
    expires_at REAL
  ) STRICT;
  CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${FORMAT};
`;

/** Prepared statements. */
export type Statements = Readonly<
  Record<
    | "begin"
    | "commit"
    | "savepoint"
    | "release"
    | "undo"
    | "get"
    | "page"
    | "put"
    | "create"
    | "replace"
    | "delete"
    | "deleteVersion"
    | "sweep",
    StatementSync
  >
>;

/** An open file. */
export interface Database {
  readonly db: DatabaseSync;
  readonly statements: Statements;
}

/** Prepares the statements. Each write checks its condition and changes the entry in one statement, hence atomically. */
function prepare(db: DatabaseSync): Statements {
  const columns = "key, value, version, expires_at";
  const live = "(expires_at IS NULL OR expires_at > ?)";
  const upsert = `INSERT INTO entries (${columns}) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at`;
  return {
    begin: db.prepare("BEGIN IMMEDIATE"),
    commit: db.prepare("COMMIT"),
    savepoint: db.prepare("SAVEPOINT operations"),
    release: db.prepare("RELEASE operations"),
    undo: db.prepare("ROLLBACK TO operations"),
    get: db.prepare(`SELECT ${columns} FROM entries WHERE key = ? AND ${live}`),
    page: db.prepare(`SELECT ${columns} FROM entries WHERE key > ? AND key < ? AND ${live} ORDER BY key LIMIT ?`),
    put: db.prepare(upsert),
    create: db.prepare(`${upsert} WHERE entries.expires_at <= ?`),
    replace: db.prepare(
      `UPDATE entries SET value = ?, version = ?, expires_at = ? WHERE key = ? AND version = ? AND ${live}`,
    ),
    delete: db.prepare("DELETE FROM entries WHERE key = ?"),
    deleteVersion: db.prepare(`DELETE FROM entries WHERE key = ? AND version = ? AND ${live}`),
    sweep: db.prepare(
      "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT ?)",
    ),
  };
}

/**
 * Opens the file, and creates it if there is none. Removes some entries that have expired at `now`.
 *
 * @throws {StorageError} if there is no `node:sqlite`, or the file is not one of this storage
 * @throws {FormatError} if a newer version of this library wrote the file
 * @throws {Error} of SQLite or the file system
 */
export function openDatabase(file: string, busyTimeoutMs: number, now: number): Database {
  // Not a static import: the rest of the package must load on a Node without node:sqlite.
  const sqlite = process.getBuiltinModule?.("node:sqlite");
  if (sqlite === undefined) {
    throw new StorageError(
      `cannot open ${file}: this runtime (Node ${process.versions.node}) has no node:sqlite, ` +
        "wanted Node 22.13 or later, or Deno",
    );
  }
  createPrivate(file);
  const db = new sqlite.DatabaseSync(file);
  try {
    db.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    // Fails on a read-only file, and writes nothing. BEGIN IMMEDIATE would not fail, and would leave read-only files next
    // to it that nothing removes.
    db.exec("BEGIN; PRAGMA user_version = 0; ROLLBACK");
    // Takes the write lock at once: of several processes that open a new file, one creates the table and the others wait.
    db.exec("BEGIN IMMEDIATE");
    if (isNew(db, file)) db.exec(SCHEMA);
    const statements = prepare(db);
    sweep(statements, now, SWEEP_INTERVAL);
    db.exec("COMMIT");
    useWal(db, busyTimeoutMs);
    db.exec("PRAGMA synchronous = FULL");
    return { db, statements };
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Creates the file, readable by its owner only: SQLite would make it readable by everybody. An existing file is not even
 * opened, because closing it would drop the locks that another storage of this process holds on it.
 */
function createPrivate(file: string): void {
  try {
    closeSync(openSync(file, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function isNew(db: DatabaseSync, file: string): boolean {
  const application = pragma(db, "application_id");
  const format = pragma(db, "user_version");
  const empty = db.prepare("SELECT 1 FROM sqlite_schema").get() === undefined;
  if (application === 0 && format === 0 && empty) return true;
  if (application !== APPLICATION_ID) {
    throw new StorageError(`cannot open ${file}: it is a database of another program, wanted one of fileStorage()`);
  }
  if (format !== FORMAT) throw new FormatError(`file ${file}`, format, FORMAT);
  return false;
}

function pragma(db: DatabaseSync, text: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${text}`).get() ?? {})[0];
}

/** Switches to WAL mode. If two processes do so at once, SQLite fails as busy without waiting, so this retries. */
function useWal(db: DatabaseSync, busyTimeoutMs: number): void {
  const deadline = performance.now() + busyTimeoutMs;
  for (;;) {
    try {
      const mode = pragma(db, "journal_mode = WAL");
      if (mode !== "wal") throw new Error(`SQLite uses journal mode ${mode} on this file system, wanted wal`);
      return;
    } catch (error) {
      if (performance.now() >= deadline || !isBusy(error)) throw error;
    }
    // Waits for the other process, up to busy_timeout.
    db.exec("BEGIN IMMEDIATE; COMMIT");
  }
}

function isBusy(error: unknown): boolean {
  const SQLITE_BUSY = 5;
  return (((error as { errcode?: number }).errcode ?? 0) & 0xff) === SQLITE_BUSY;
}

/** Removes expired entries, at most twice as many as there were writes, so that they do not accumulate. */
export function sweep(statements: Statements, now: number, writes: number): void {
  statements.sweep.run(now, 2 * writes);
}

/** Rolls the open transaction back. */
export function rollBack(db: DatabaseSync): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // There is no open transaction: BEGIN failed, or SQLite has rolled back on its own.
  }
}
