// deno-lint-ignore-file require-await -- `async` turns a thrown error into a rejection
/**
 * Stores an app's state in one SQLite file, through `node:sqlite` of Deno and of Node 22.13 or later.
 *
 * Several processes of one host can share the file. Do not use it on a network file system, whose locks are unreliable,
 * or on Deno Deploy, which does not keep files.
 *
 * @module
 */
import { resolve } from "node:path";
import { checkOptions, option, type OptionRules, type Storage } from "../mod.ts";
import { encodeOperations, encodeValue, expiryOf, type Key } from "../storage.ts";
import { createCommitQueue } from "./file_storage/commits.ts";
import { type Context, read } from "./file_storage/context.ts";
import { openDatabase } from "./file_storage/database.ts";
import { decodeRow, encodeEntryKey } from "./file_storage/entries.ts";
import { attempt } from "./file_storage/failure.ts";
import { createFileCheck } from "./file_storage/identity.ts";
import { listEntries } from "./file_storage/listing.ts";
import { type EntryWrite, writeEntries, writeEntry } from "./file_storage/writes.ts";

/** Options of {@linkcode fileStorage}. */
export interface FileStorageOptions {
  /**
   * Path of the file. Its folder must exist. While the file is open, SQLite keeps two more next to it, with the suffixes
   * `-wal` and `-shm`.
   */
  readonly path: string;
  /**
   * Returns the time in milliseconds since 1970. Entries expire by it.
   *
   * @default Date.now
   */
  readonly clock?: () => number;
  /**
   * Max time in milliseconds that a call waits for the writes of other processes. It blocks this process meanwhile. An
   * integer below 2^31. Minimum: 0.
   *
   * @default 5000
   */
  readonly busyTimeoutMs?: number;
}

const OPTION_RULES: OptionRules<FileStorageOptions> = {
  path: option.required(option.value(
    "the path of a file; to keep entries in memory, use memoryStorage()",
    (path) => typeof path === "string" && path !== "" && path !== ":memory:",
  )),
  clock: option.function(),
  // SQLite takes a larger number for 0.
  busyTimeoutMs: option.number({ min: 0, max: 2 ** 31 - 1, isWhole: true }),
};

/**
 * Opens the file, and creates it if there is none, readable and writable by its owner only.
 *
 * When `put`, `delete` or `write` resolves, the write is on disk. `write` applies all operations in one transaction, or none
 * of them. Writes that are called in one turn of the event loop share one
 * commit, so many cost little more than one. They are done in the order of the calls. A write that fails or whose
 * condition does not hold does not affect the others; if the commit itself fails, all of them reject. `close` commits the
 * writes that were called before it.
 *
 * SQLite works in the calling thread: a commit blocks the process until the disk is done and while another process writes,
 * at most `busyTimeoutMs`, and a read blocks it until the read is done.
 *
 * Methods throw `StorageError` if SQLite fails or the storage is closed. Writes also throw it once the file was removed or
 * replaced while it was open, so that nothing is acknowledged that a restart would not find. `put` throws `TypeError` for a value that JSON
 * cannot represent, and for a `ttlMs` that is not a finite number.
 *
 * @throws {StorageError} if this runtime has no `node:sqlite`, the file cannot be opened, read or written, or it is not one
 * of this storage. An existing file is left unchanged
 * @throws {FormatError} if a newer version of this library wrote the file
 * @throws {TypeError} if `path` is empty or `:memory:`, or an option is unknown or invalid
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
export function fileStorage(options: FileStorageOptions): Storage {
  checkOptions("cannot open a file", options, OPTION_RULES);
  const { path, clock = Date.now, busyTimeoutMs = 5000 } = options;
  // SQLite never takes an absolute path for a `file:` URL.
  const file = resolve(path);
  const database = attempt(`open ${file}`, () => openDatabase(file, busyTimeoutMs, clock()));
  const { db, statements } = database;
  const checkFile = createFileCheck(file);
  checkFile();
  const context: Context = { file, database, clock, checkFile, closed: false };
  const commits = createCommitQueue(context);

  return {
    name: "file",
    capabilities: { durable: true, scope: "host" },

    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      signal?.throwIfAborted();
      const bytes = encodeEntryKey(key);
      return read(context, `get ${JSON.stringify(key)} from ${file}`, () => {
        const row = statements.get.get(bytes, clock());
        return row === undefined ? null : decodeRow<T>(file, row);
      });
    },

    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      signal?.throwIfAborted();
      const bytes = encodeEntryKey(key);
      const json = encodeValue(key, value);
      const expiresAt = expiryOf(key, clock(), ttlMs);
      const operation: EntryWrite = { bytes, json, ifVersion, expiresAt };
      const action = `put ${JSON.stringify(key)} into ${file}`;
      const version = await commits.write(action, signal, (now) => writeEntry(statements, operation, now));
      return typeof version === "string" ? { ok: true, version } : { ok: false };
    },

    delete: async (key, { ifVersion, signal } = {}) => {
      signal?.throwIfAborted();
      const operation: EntryWrite = { bytes: encodeEntryKey(key), ifVersion };
      const action = `delete ${JSON.stringify(key)} from ${file}`;
      const deleted = await commits.write(action, signal, (now) => writeEntry(statements, operation, now));
      return { ok: deleted !== undefined };
    },

    write: async (operations, { signal } = {}) => {
      signal?.throwIfAborted();
      const now = clock();
      const writes = encodeOperations(operations).map(({ key, json, ifVersion, ttlMs }): EntryWrite => ({
        bytes: encodeEntryKey(key),
        json,
        ifVersion,
        expiresAt: expiryOf(key, now, ttlMs),
      }));
      return await commits.write(
        `write to ${file}`,
        signal,
        (now) => writeEntries(statements, writes, now),
        writes.length,
      );
    },

    list: (prefix, options = {}) => listEntries(context, prefix, options),

    close: async () => {
      if (context.closed) return;
      commits.flush();
      context.closed = true;
      attempt(`close ${file}`, () => db.close());
    },
  };
}
