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
import { setImmediate } from "node:timers";
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
 * Opens the file, and makes it when there is none, readable and writable by its owner only.
 *
 * A resolved `put` or `delete` is on the disk. Those that are asked for in one turn of the event loop share one commit,
 * so many at a time cost little more than one; they are done in the order in which they were asked for, and those that
 * fail or are refused leave the others alone. When the commit itself fails, all of them reject. `close` finishes what
 * was asked for before it.
 *
 * A commit blocks the process for as long as the disk takes and while another process writes, a read for as long as it
 * takes: SQLite does its work in the thread that calls it.
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
  let queue: Write[] = [];
  let unswept = 0;

  function assertOpen(what: string): void {
    if (closed) throw new StorageError(`cannot ${what} ${file}: this storage is closed`);
  }

  function read<R>(what: string, run: () => R): R {
    assertOpen(what);
    return attempt(`${what} ${file}`, run);
  }

  /** The one way in which entries are changed: gives how many were, once that is on the disk. */
  function write(what: string, signal: AbortSignal | undefined, run: Write["run"]): Promise<number> {
    assertOpen(what);
    return new Promise((resolve, reject) => {
      queue.push({ action: `${what} ${file}`, signal, run, resolve, reject });
      // Not in a microtask: those of one request all run before the next request of the same turn is looked at.
      if (queue.length === 1) setImmediate(flush);
    });
  }

  function flush(): void {
    const writes = queue;
    queue = [];
    for (const { signal, reject } of writes) if (signal?.aborted) reject(signal.reason);
    commit(writes.filter(({ signal }) => !signal?.aborted));
  }

  /** Does all of them in one transaction, and settles them. */
  function commit(writes: readonly Write[]): void {
    if (writes.length === 0) return;
    let stage: "begin" | "write" | "commit" = "begin";
    try {
      statements.begin.run();
      // Not the time of the calls: waiting for other processes may have taken long.
      const now = clock();
      sweep(writes.length, now);
      stage = "write";
      const changes = writes.map(({ run }) => Number(run(now).changes));
      stage = "commit";
      statements.commit.run();
      writes.forEach(({ resolve }, i) => resolve(changes[i]!));
    } catch (error) {
      rollBack(db);
      // What one of them ran into is not to fail the others. But nothing is done again after COMMIT: what failed there
      // may be found done when the file is recovered, and a condition would take it for the work of somebody else.
      if (stage === "write" && writes.length > 1) writes.forEach((write) => commit([write]));
      else writes.forEach(({ action, reject }) => reject(failure(action, error)));
    }
  }

  /** With the writes, so that what goes wrong here is told to somebody, who may try again. */
  function sweep(writes: number, now: number): void {
    unswept += writes;
    if (unswept < SWEEP_EVERY) return;
    const limit = 2 * unswept;
    unswept = 0;
    statements.sweep.run(now, limit);
  }

  return {
    name: "file",
    capabilities: { durable: true, scope: "host" },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const bytes = toBytes(key);
      return read(`get ${JSON.stringify(key)} from`, () => {
        const row = statements.get.get(bytes, clock());
        return row === undefined ? null : toEntry<T>(file, row);
      });
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const bytes = toBytes(key);
      const text = encodeValue(key, value);
      const expiresAt = endOf(key, clock(), ttlMs) ?? null;
      // Other processes write too, and a deleted entry leaves no counter behind.
      const version = crypto.randomUUID();
      const changes = await write(`put ${JSON.stringify(key)} into`, signal, (now) => {
        if (ifVersion === undefined) return statements.put.run(bytes, text, version, expiresAt);
        if (ifVersion === null) return statements.create.run(bytes, text, version, expiresAt, now);
        return statements.replace.run(text, version, expiresAt, bytes, ifVersion, now);
      });
      return changes > 0 ? { ok: true, version } : { ok: false };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      const bytes = toBytes(key);
      const changes = await write(`delete ${JSON.stringify(key)} from`, signal, (now) => {
        if (ifVersion === undefined) return statements.delete.run(bytes);
        return statements.deleteVersion.run(bytes, ifVersion, now);
      });
      return { ok: ifVersion === undefined || changes > 0 };
    },

    list: async function* <T>(
      prefix: readonly string[],
      { after, limit = Infinity, signal }: ListOptions = {},
    ): AsyncGenerator<Entry<T>> {
      signal?.throwIfAborted();
      const what = `list ${JSON.stringify(prefix)} of`;
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
        const page = read(what, () => statements.page.all(above, below, clock(), size));
        for (const row of page) {
          const entry = read(what, () => toEntry<T>(file, row));
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
      flush();
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
/** After so many writes, those that have expired are removed, at most twice as many: twice as fast as they come. */
const SWEEP_EVERY = 64;

/** One that was asked for and is not done yet. */
interface Write {
  /** For errors. */
  readonly action: string;
  readonly signal: AbortSignal | undefined;
  readonly run: (now: number) => { readonly changes: number | bigint };
  readonly resolve: (changes: number) => void;
  readonly reject: (reason: unknown) => void;
}

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

type Statements = Readonly<
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
    // Writes nothing, and fails when the file may only be read. BEGIN IMMEDIATE would not, and would leave files beside
    // it that may only be read either: they would be in the way for ever.
    db.exec("BEGIN; PRAGMA user_version = 0; ROLLBACK");
    // Takes the right to write at once: of several processes that meet a new file one makes the tables while the
    // others wait.
    db.exec("BEGIN IMMEDIATE");
    if (isNew(db, file)) db.exec(SCHEMA);
    const statements = prepare(db);
    statements.sweep.run(clock(), 2 * SWEEP_EVERY);
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
    throw failure(action, error);
  }
}

function failure(action: string, error: unknown): Error {
  if (error instanceof StorageError || error instanceof FormatError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const wanted = /unable to open|readonly/.test(message) ? ", wanted a file and a folder to write to" : "";
  return new StorageError(`cannot ${action}: ${message}${wanted}`, { cause: error });
}

function rollBack(db: DatabaseSync): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // It fails only where there is nothing to roll back: BEGIN has failed, or SQLite did it by itself.
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

interface Row {
  readonly key: Uint8Array;
  readonly value: string;
  readonly version: string;
  readonly expires_at: number | null;
}

function toEntry<T>(file: string, row: Record<string, unknown>): Entry<T> {
  const { key: bytes, value, version, expires_at: expiresAt } = row as unknown as Row;
  const key = decodeKey(decoder.decode(bytes)) as unknown as Key;
  return {
    key,
    value: decodeValue(file, key, value),
    version,
    ...(expiresAt === null ? {} : { expiresAt }),
  };
}
