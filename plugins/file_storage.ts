// deno-lint-ignore-file require-await -- `async` makes a rejection of what is thrown
/**
 * Keeps an app's state in one SQLite file, through `node:sqlite` of Deno and of Node 22.13 and later.
 *
 * Several processes of one host may share the file. Not for a network file system, which lies about locks, nor for
 * Deno Deploy, which forgets its files.
 *
 * @module
 */
import { resolve } from "node:path";
import { setImmediate } from "node:timers";
import type { Storage } from "../mod.ts";
import { StorageError } from "../errors.ts";
import { compareKeys, encodeValue, type Entry, expiryOf, type Key, type ListOptions } from "../storage.ts";
import { attempt, failure, openDatabase, rollBack } from "./file_storage/database.ts";
import { rangeOf, toBytes, toEntry } from "./file_storage/entries.ts";

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
  const { db, statements } = attempt(
    `open ${file}`,
    () => openDatabase(file, busyTimeoutMs, { now: clock(), limit: 2 * SWEEP_EVERY }),
  );
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
      const expiresAt = expiryOf(key, clock(), ttlMs) ?? null;
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

function absolute(path: string): string {
  if (path === "" || path === ":memory:") {
    throw new TypeError(
      `cannot keep a file at ${JSON.stringify(path)}, wanted a path; memoryStorage() keeps entries in memory`,
    );
  }
  // An absolute path is never taken for one of SQLite's file: URLs.
  return resolve(path);
}
