/** Files and processes for the tests of fileStorage(). */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import type { Storage } from "@b24/onappupdate";
import { fileStorage, type FileStorageOptions } from "@b24/onappupdate/file-storage";
import { afterEach, beforeEach } from "../../../support/test.ts";

/** Returns the command that runs `script`, a file of this folder, on the current runtime. */
export function commandOf(script: string, ...args: readonly string[]): [string, ...string[]] {
  const file = fileURLToPath(new URL(script, import.meta.url));
  return [process.execPath, ..."Deno" in globalThis ? ["run", "-A"] : [], file, ...args];
}

export interface Child {
  readonly process: ChildProcess;
  /** Resolves to the exit code and the signal. */
  readonly ended: Promise<unknown[]>;
  readonly errors: () => string;
}

/** Starts a command. The caller must await or kill it. */
export function start([command, ...args]: readonly [string, ...string[]]): Child {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text) => errors += text);
  return { process: child, ended: once(child, "close"), errors: () => errors };
}

/** Returns the module with a DatabaseSync that passes each new connection to `connected`. */
function connecting(sqlite: typeof import("node:sqlite"), connected: (db: DatabaseSync) => void): unknown {
  const DatabaseSync = class extends sqlite.DatabaseSync {
    constructor(path: string) {
      super(path);
      connected(this);
    }
  };
  return { ...sqlite, DatabaseSync };
}

/** Opens a storage and returns it with its own connection to the file. */
export function connect(options: FileStorageOptions): { readonly storage: Storage; readonly connection: DatabaseSync } {
  const { getBuiltinModule } = process;
  let connection: DatabaseSync | undefined;
  const module = connecting(getBuiltinModule("node:sqlite"), (db) => connection = db);
  Object.assign(process, { getBuiltinModule: () => module });
  try {
    return { storage: fileStorage(options), connection: connection! };
  } finally {
    Object.assign(process, { getBuiltinModule });
  }
}

/** Returns the value in the first row and column of a query. */
export function valueOf(db: DatabaseSync, sql: string): unknown {
  return Object.values(db.prepare(sql).get() ?? {})[0];
}

export interface Place {
  readonly folder: string;
  /** Path of a file that does not exist yet. */
  readonly path: string;
  /** Opens a storage on the file. It is closed after the test, as are the others below. */
  readonly open: (options?: Partial<FileStorageOptions>) => Storage;
  /** Opens a storage on this or another file by {@linkcode connect}. */
  readonly connect: (file?: string) => ReturnType<typeof connect>;
  /** Opens a connection of SQLite to the file. */
  readonly raw: () => DatabaseSync;
  /** Runs SQL on the file by a connection of its own. */
  readonly execute: (sql: string) => void;
  /** Closes what was opened last. */
  readonly close: () => Promise<void>;
  /** Runs `close` after the test. */
  readonly atEnd: (close: () => unknown) => void;
}

/** Returns a place with a new folder for each test of the calling file. */
export function placeOfEachTest(): Place {
  let folder: string;
  let path: string;
  /** Closed after each test, also a failed one. */
  let opened: (() => unknown)[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "file-storage-"));
    path = join(folder, "app.db");
    opened = [];
  });

  afterEach(async () => {
    for (const close of opened) await close();
    rmSync(folder, { recursive: true });
  });

  function raw(): DatabaseSync {
    const db = new (process.getBuiltinModule("node:sqlite").DatabaseSync)(path);
    opened.push(() => db.isOpen && db.close());
    return db;
  }

  return {
    get folder() {
      return folder;
    },
    get path() {
      return path;
    },
    open: (options) => {
      const storage = fileStorage({ path, ...options });
      opened.push(() => storage.close?.());
      return storage;
    },
    connect: (file = path) => {
      const { storage, connection } = connect({ path: file });
      opened.push(() => storage.close?.());
      return { storage, connection };
    },
    raw,
    execute: (sql) => {
      const db = raw();
      db.exec(sql);
      db.close();
    },
    close: async () => {
      await opened.pop()?.();
    },
    atEnd: (close) => {
      opened.push(close);
    },
  };
}
