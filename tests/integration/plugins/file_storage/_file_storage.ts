/** A folder, files and processes for each test of fileStorage. */
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

/** How to start `script`, a file of this folder, on the runtime of the tests. */
export function commandOf(script: string, ...args: readonly string[]): [string, ...string[]] {
  const file = fileURLToPath(new URL(script, import.meta.url));
  return [process.execPath, ..."Deno" in globalThis ? ["run", "-A"] : [], file, ...args];
}

export interface Child {
  readonly process: ChildProcess;
  /** Its exit code and its signal. */
  readonly ended: Promise<unknown[]>;
  readonly errors: () => string;
}

/** Starts a command; the caller sees to it that it ends. */
export function start([command, ...args]: readonly [string, ...string[]]): Child {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text) => errors += text);
  return { process: child, ended: once(child, "close"), errors: () => errors };
}

/** The module, with a constructor that tells of each connection. */
function connecting(sqlite: typeof import("node:sqlite"), connected: (db: DatabaseSync) => void): unknown {
  const DatabaseSync = class extends sqlite.DatabaseSync {
    constructor(path: string) {
      super(path);
      connected(this);
    }
  };
  return { ...sqlite, DatabaseSync };
}

/** Opens a storage, and gives the connection that it has to its file. */
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

/** What a SQL query gives in its first row and column. */
export function valueOf(db: DatabaseSync, sql: string): unknown {
  return Object.values(db.prepare(sql).get() ?? {})[0];
}

export interface Place {
  readonly folder: string;
  /** Of a file that is not there yet. */
  readonly path: string;
  /** Opens the file with a storage. What it and those below open is closed after the test. */
  readonly open: (options?: Partial<FileStorageOptions>) => Storage;
  /** The same, or another file, with {@linkcode connect}. */
  readonly connect: (file?: string) => ReturnType<typeof connect>;
  /** Opens it as SQLite does. */
  readonly raw: () => DatabaseSync;
  /** Runs SQL on the file through a connection that is closed again. */
  readonly execute: (sql: string) => void;
  /** Closes the last that was opened. */
  readonly close: () => Promise<void>;
  /** Runs `close` after the test. */
  readonly atEnd: (close: () => unknown) => void;
}

/** A place that is another one for each test of the file that calls this. */
export function placeOfEachTest(): Place {
  let folder: string;
  let path: string;
  /** So that a failed test leaves nothing open. */
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
