/** The SQLite file: opened, made, and what is asked of it. */
import { closeSync, openSync } from "node:fs";
import process from "node:process";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { FormatError, StorageError } from "../../errors.ts";

/** In the header of the file, where SQLite leaves a place for it: tells our files from those of others. */
const APPLICATION_ID = 0x42323455;
/** Of the tables. A change that older versions of this library would misread raises it. */
const FORMAT = 1;

// With rowid: values of some kilobytes in the tree of the keys would leave few keys on a page.
const SCHEMA = `
  CREATE TABLE entries (
    key BLOB NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    version TEXT NOT NULL,
    expires_at REAL
  ) STRICT;
  CREATE INDEX entries_by_end ON entries (expires_at) WHERE expires_at IS NOT NULL;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${FORMAT};
`;

/** What is asked of the file. */
export type Statements = Readonly<
  Record<
    "begin" | "commit" | "get" | "page" | "put" | "create" | "replace" | "delete" | "deleteVersion" | "sweep",
    StatementSync
  >
>;

// Each write is one statement: it looks at what is there and changes it, with nobody in between.
function prepare(db: DatabaseSync): Statements {
  const columns = "key, value, version, expires_at";
  const live = "(expires_at IS NULL OR expires_at > ?)";
  const upsert = `INSERT INTO entries (${columns}) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at`;
  return {
    begin: db.prepare("BEGIN IMMEDIATE"),
    commit: db.prepare("COMMIT"),
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
 * Opens the file, or makes it. Also removes `sweep` entries that have expired.
 *
 * @throws {StorageError} when it is none of this storage, {FormatError} when newer code wrote it, and what SQLite throws
 */
export function openDatabase(
  file: string,
  busyTimeoutMs: number,
  sweep: { readonly now: number; readonly limit: number },
): { readonly db: DatabaseSync; readonly statements: Statements } {
  // Not imported: then the rest of the package would not load on a Node that has no node:sqlite.
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
    // Writes nothing, and fails when the file may only be read. BEGIN IMMEDIATE would not, and would leave files beside
    // it that may only be read either: they would be in the way for ever.
    db.exec("BEGIN; PRAGMA user_version = 0; ROLLBACK");
    // Takes the right to write at once: of several processes that meet a new file one makes the tables while the
    // others wait.
    db.exec("BEGIN IMMEDIATE");
    if (isNew(db, file)) db.exec(SCHEMA);
    const statements = prepare(db);
    statements.sweep.run(sweep.now, sweep.limit);
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
 * SQLite would make the file readable by everybody. A file that is there is not even opened here: closing it would
 * take away the locks that another storage of this process has on it.
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
    throw new StorageError(`cannot open ${file}: it is a database of another program, wanted one of this storage`);
  }
  if (format !== FORMAT) throw new FormatError(`file ${file}`, format, FORMAT);
  return false;
}

function pragma(db: DatabaseSync, text: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${text}`).get() ?? {})[0];
}

/** Two processes that change a new file at once are both told that it is busy, without waiting for each other. */
function useWal(db: DatabaseSync, busyTimeoutMs: number): void {
  const deadline = performance.now() + busyTimeoutMs;
  for (;;) {
    try {
      const mode = pragma(db, "journal_mode = WAL");
      if (mode !== "wal") throw new Error(`its file system gives journal mode ${mode}, wanted wal`);
      return;
    } catch (error) {
      if (performance.now() >= deadline || !isBusy(error)) throw error;
    }
    // This does wait.
    db.exec("BEGIN IMMEDIATE; COMMIT");
  }
}

function isBusy(error: unknown): boolean {
  const SQLITE_BUSY = 5;
  return (((error as { errcode?: number }).errcode ?? 0) & 0xff) === SQLITE_BUSY;
}

/** Ends what is under way, with nothing done. */
export function rollBack(db: DatabaseSync): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // It fails only where there is nothing to roll back: BEGIN has failed, or SQLite did it by itself.
  }
}

/** Runs what may fail in SQLite or in the file system. */
export function attempt<R>(action: string, run: () => R): R {
  try {
    return run();
  } catch (error) {
    throw failure(action, error);
  }
}

/** What SQLite or the file system threw, as callers are told. */
export function failure(action: string, error: unknown): Error {
  if (error instanceof StorageError || error instanceof FormatError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const wanted = /unable to open|readonly/.test(message) ? ", wanted a file and a folder to write to" : "";
  return new StorageError(`cannot ${action}: ${message}${wanted}`, { cause: error });
}
