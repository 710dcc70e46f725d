// deno-lint-ignore-file require-await -- `async` makes a rejection of what is thrown
/**
 * Keeps an app's state in one SQLite file, through `node:sqlite` of Deno and of Node 22.13 and later.
 *
 * Several processes of one host may share the file. Not for a network file system, which lies about locks, nor for
 * Deno Deploy, which forgets its files.
 *
 * @module
 */
import { closeSync, openSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  compareKeys,
  decodeKey,
  decodeValue,
  encodeKey,
  encodeValue,
  endOf,
  type Entry,
  FormatError,
  type Key,
  type ListOptions,
  type Storage,
  StorageError,
} from "../mod.ts";

/** Options of {@linkcode fileStorage}. */
export interface FileStorageOptions {
  /** The file; its folder has to be there. SQLite puts two more beside it while it is open, `-wal` and `-shm`. */
  readonly path: string;
  /** The time in milliseconds since 1970, against which entries expire; default `Date.now`. */
  readonly clock?: () => number;
  /** How long in milliseconds a call waits for other processes that write; it blocks meanwhile. Default 5000. */
  readonly busyTimeoutMs?: number;
}

/**
 * Opens the file, and makes it when there is none, readable and writable by its owner only. A resolved `put` is on the
 * disk. Every call blocks for as long as the disk takes, which is what SQLite does in a process.
 *
 * Methods throw `TypeError` for a value that JSON cannot say and for a `ttlMs` that is no finite number.
 *
 * @throws {StorageError} when this runtime has no `node:sqlite`, or the file cannot be opened, read and written, or is
 * not one of this storage; nothing is overwritten
 * @throws {FormatError} when a newer version of this library wrote the file
 * @throws {TypeError} when `path` is empty or `:memory:`, or `busyTimeoutMs` is no whole number from 0
 *
 * @example
 * ```ts
 * import { fileStorage } from "@b24/onappupdate/file-storage";
 * import assert from "node:assert/strict";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const folder = await mkdtemp(join(tmpdir(), "app-"));
 * const path = join(folder, "app.db");
 *
 * let storage = fileStorage({ path });
 * await storage.put(["portal", "a223"], { version: "2.0.0" });
 * await storage.close?.();
 *
 * storage = fileStorage({ path });
 * assert.deepEqual((await storage.get(["portal", "a223"]))?.value, { version: "2.0.0" });
 * await storage.close?.();
 * await rm(folder, { recursive: true });
 * ```
 */
export function fileStorage({ path, clock = Date.now, busyTimeoutMs = 5000 }: FileStorageOptions): Storage {
  const file = absolute(path);
  if (!Number.isInteger(busyTimeoutMs) || busyTimeoutMs < 0) {
    throw new TypeError(`cannot wait ${busyTimeoutMs} milliseconds for ${file}, wanted a whole number from 0`);
  }
  const { db, statements } = attempt(`open ${file}`, () => open(file, busyTimeoutMs, clock));
  let closed = false;
  let writes = 0;

  function access<R>(what: string, run: () => R): R {
    if (closed) throw new StorageError(`cannot ${what} ${file}: this storage is closed`);
    return attempt(`${what} ${file}`, run);
  }

  /** The one place where entries are changed: gives how many were. */
  function write(what: string, run: () => { readonly changes: number | bigint }): number {
    return access(what, () => {
      // Before the write, so that what goes wrong here is told to somebody, who may try again.
      if (++writes % SWEEP_EVERY === 0) statements.sweep.run(clock());
      return Number(run().changes);
    });
  }

  return {
    name: "file",
    capabilities: { durable: true, scope: "host" },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const bytes = toBytes(key);
      return access(`get ${JSON.stringify(key)} from`, () => {
        const row = statements.get.get(bytes, clock());
        return row === undefined ? null : toEntry<T>(file, row);
      });
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const bytes = toBytes(key);
      const text = encodeValue(key, value);
      const now = clock();
      const expiresAt = endOf(key, now, ttlMs) ?? null;
      // Other processes write too, and a deleted entry leaves no counter behind.
      const version = crypto.randomUUID();
      const changes = write(`put ${JSON.stringify(key)} into`, () => {
        if (ifVersion === undefined) return statements.put.run(bytes, text, version, expiresAt);
        if (ifVersion === null) return statements.create.run(bytes, text, version, expiresAt, now);
        return statements.replace.run(text, version, expiresAt, bytes, ifVersion, now);
      });
      return changes > 0 ? { ok: true, version } : { ok: false };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      const bytes = toBytes(key);
      const changes = write(`delete ${JSON.stringify(key)} from`, () => {
        if (ifVersion === undefined) return statements.delete.run(bytes);
        return statements.deleteVersion.run(bytes, ifVersion, clock());
      });
      return { ok: ifVersion === undefined || changes > 0 };
    },

    list: async function* <T>(
      prefix: readonly string[],
      { after, limit = Infinity, signal }: ListOptions = {},
    ): AsyncGenerator<Entry<T>> {
      signal?.throwIfAborted();
      let { above, below } = rangeOf(prefix);
      if (after !== undefined) {
        const bytes = toBytes(after);
        if (compareKeys(after, prefix) >= 0) above = bytes;
      }
      // Pages, each with a statement of its own: one that stayed open while the caller works would hold the log of
      // all that is written meanwhile.
      for (let left = limit; left > 0;) {
        signal?.throwIfAborted();
        const size = Math.ceil(Math.min(left, PAGE));
        const page = access(
          `list ${JSON.stringify(prefix)} of`,
          () => statements.page.all(above, below, clock(), size),
        );
        for (const row of page) {
          const entry = access(`list ${JSON.stringify(prefix)} of`, () => toEntry<T>(file, row));
          if (entry.expiresAt !== undefined && entry.expiresAt <= clock()) continue;
          yield entry;
          left--;
          signal?.throwIfAborted();
        }
        if (page.length < size) return;
        above = page.at(-1)!["key"] as Uint8Array;
      }
    },

    close: async () => {
      if (closed) return;
      closed = true;
      attempt(`close ${file}`, () => db.close());
    },
  };
}

/** In the header of the file, where SQLite leaves a place for it: tells our files from those of others. */
const APPLICATION_ID = 0x42323455;
/** Of the tables. A change that older versions of this library would misread raises it. */
const FORMAT = 1;
/** Rows that `list` has in memory at once. */
const PAGE = 64;
/** Every 64th write removes entries that have expired, at most 128 of them: twice as fast as they come. */
const SWEEP_EVERY = 64;

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

interface Statements {
  readonly get: StatementSync;
  readonly page: StatementSync;
  readonly put: StatementSync;
  readonly create: StatementSync;
  readonly replace: StatementSync;
  readonly delete: StatementSync;
  readonly deleteVersion: StatementSync;
  readonly sweep: StatementSync;
}

// Each write is one statement: SQLite then does it whole or not at all, whatever other processes do.
function prepare(db: DatabaseSync): Statements {
  const columns = "key, value, version, expires_at";
  const live = "(expires_at IS NULL OR expires_at > ?)";
  const upsert = `INSERT INTO entries (${columns}) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at`;
  return {
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
      `DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT ${2 * SWEEP_EVERY})`,
    ),
  };
}

function absolute(path: string): string {
  if (path === "" || path === ":memory:") {
    throw new TypeError(
      `cannot keep a file at ${JSON.stringify(path)}, wanted a path; memoryStorage() keeps entries in memory`,
    );
  }
  // An absolute path is never taken for one of SQLite's file: URLs.
  return resolve(path);
}

function open(
  file: string,
  busyTimeoutMs: number,
  clock: () => number,
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
    // Takes the right to write at once: what cannot be written is found out now, and of several processes that
    // meet a new file one makes the tables while the others wait.
    db.exec("BEGIN IMMEDIATE");
    if (isNew(db, file)) db.exec(SCHEMA);
    const statements = prepare(db);
    statements.sweep.run(clock());
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

/** Runs what may fail in SQLite or in the file system. */
function attempt<R>(action: string, run: () => R): R {
  try {
    return run();
  } catch (error) {
    if (error instanceof StorageError || error instanceof FormatError) throw error;
    throw new StorageError(`cannot ${action}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

const encoder = new TextEncoder();
// By default a decoder swallows a first U+FEFF.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function toBytes(key: Key): Uint8Array {
  if (key.length === 0) throw new TypeError("cannot use an empty key, wanted at least one part");
  return encoder.encode(encodeKey(key));
}

/** The keys under `prefix` are those between, and without, `above` and `below`. */
function rangeOf(prefix: readonly string[]): { above: Uint8Array; below: Uint8Array } {
  // No UTF-8 has 0xff, so it is above every key.
  if (prefix.length === 0) return { above: new Uint8Array(), below: Uint8Array.of(0xff) };
  // The last byte is 0, so nothing is between the bytes without it and the bytes with it.
  const above = encoder.encode(encodeKey(prefix)).slice(0, -1);
  return { above, below: Uint8Array.of(...above, 1) };
}

function toEntry<T>(file: string, row: Record<string, unknown>): Entry<T> {
  const { key: bytes, value, version, expires_at: expiresAt } = row as {
    key: Uint8Array;
    value: string;
    version: string;
    expires_at: number | null;
  };
  const key = decodeKey(decoder.decode(bytes)) as unknown as Key;
  return {
    key,
    value: decodeValue(file, key, value),
    version,
    ...(expiresAt === null ? {} : { expiresAt }),
  };
}
