import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, it, test } from "node:test";
import { fileURLToPath } from "node:url";
import { FormatError, type Storage, StorageError } from "@b24/onappupdate";
import { fileStorage, type FileStorageOptions } from "@b24/onappupdate/file-storage";
import { storageConformance } from "@b24/onappupdate/testing";

const folders = new Map<Storage, string>();

storageConformance({
  name: "fileStorage",
  test,
  clock: "injected",
  create: (clock) => {
    const folder = mkdtempSync(join(tmpdir(), "file-storage-"));
    const storage = fileStorage({ path: join(folder, "app.db"), clock });
    folders.set(storage, folder);
    return storage;
  },
  dispose: async (storage) => {
    await storage.close?.();
    rmSync(folders.get(storage)!, { recursive: true });
  },
});

let folder: string;
let path: string;
/** Closed after each test, so that a failed one leaves nothing open. */
let opened: { close: () => unknown }[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "file-storage-"));
  path = join(folder, "app.db");
  opened = [];
});

afterEach(async () => {
  for (const { close } of opened) await close();
  rmSync(folder, { recursive: true });
});

function open(options: Partial<FileStorageOptions> = {}): Storage {
  const storage = fileStorage({ path, ...options });
  opened.push({ close: () => storage.close?.() });
  return storage;
}

/** The file as SQLite sees it. */
function raw(file = path): DatabaseSync {
  const db = new (process.getBuiltinModule("node:sqlite").DatabaseSync)(file);
  opened.push({ close: () => db.isOpen && db.close() });
  return db;
}

function valueOf(db: DatabaseSync, sql: string): unknown {
  return Object.values(db.prepare(sql).get() ?? {})[0];
}

/** Runs `sql` on the file and closes it. */
function execute(sql: string): void {
  const db = raw();
  db.exec(sql);
  db.close();
}

describe("fileStorage()", () => {
  it("says that it is durable and shared by the processes of the host", () => {
    const { name, capabilities } = open();
    assert.deepEqual({ name, capabilities }, { name: "file", capabilities: { durable: true, scope: "host" } });
  });

  it("keeps values, versions and ends in the file", async () => {
    const first = open();
    await first.put(["a", "\0\u{1F600}"], { b: ["\ufeff", null] });
    await first.put(["\ufeffa"], 1, { ttlMs: 3_600_000 });
    const before = [await first.get(["a", "\0\u{1F600}"]), await first.get(["\ufeffa"])];
    await first.close?.();

    const second = open();
    assert.deepEqual([await second.get(["a", "\0\u{1F600}"]), await second.get(["\ufeffa"])], before);
  });

  it("shows at once to one storage what another has written", async () => {
    const [one, other] = [open(), open()];
    const { version } = await one.put(["a"], 1) as { version: string };
    assert.deepEqual(await other.get(["a"]), { key: ["a"], value: 1, version });
    assert.deepEqual(await other.delete(["a"], { ifVersion: version }), { ok: true });
    assert.equal(await one.get(["a"]), null);
  });

  it("gives no version again after the entry was deleted and the file closed", async () => {
    const versions = new Set<string>();
    for (let i = 0; i < 3; i++) {
      const storage = open();
      versions.add((await storage.put(["a"], 1) as { version: string }).version);
      await storage.delete(["a"]);
      await storage.close?.();
    }
    assert.equal(versions.size, 3);
  });

  it("writes in WAL mode", async () => {
    await open().put(["a"], 1);
    assert.ok(statSync(`${path}-wal`).size > 0);
    assert.equal(valueOf(raw(), "PRAGMA journal_mode"), "wal");
  });

  it("keeps the file and what SQLite puts beside it from other users", async () => {
    await open().put(["a"], 1);
    for (const file of [path, `${path}-wal`, `${path}-shm`]) {
      assert.equal((statSync(file).mode & 0o777).toString(8), process.platform === "win32" ? "666" : "600", file);
    }
  });

  it("leaves the mode of a file that is there", async () => {
    await open().close?.();
    chmodSync(path, 0o640);
    await open().close?.();
    assert.equal((statSync(path).mode & 0o777).toString(8), process.platform === "win32" ? "666" : "640");
  });

  it("takes an empty file for a new one", async () => {
    writeFileSync(path, "");
    await open().put(["a"], 1);
    assert.equal((await open().get(["a"]))?.value, 1);
  });

  it("takes a URL of SQLite for a path", () => {
    const url = "file:/none/app.db?mode=memory";
    assert.throws(
      () => open({ path: url }),
      (error: Error) => error.message.startsWith(`cannot open ${resolve(url)}: `),
    );
  });

  for (const wrong of ["", ":memory:"]) {
    it(`refuses ${JSON.stringify(wrong)} for a path and names memoryStorage`, () => {
      assert.throws(() => fileStorage({ path: wrong }), {
        name: "TypeError",
        message: /wanted a path; memoryStorage\(\)/,
      });
    });
  }

  for (const busyTimeoutMs of [-1, 0.5, NaN, Infinity]) {
    it(`refuses a busyTimeoutMs of ${busyTimeoutMs}`, () => {
      assert.throws(() => open({ busyTimeoutMs }), {
        name: "TypeError",
        message: `cannot wait ${busyTimeoutMs} milliseconds for ${path}, wanted a whole number from 0`,
      });
      assert.ok(!existsSync(path));
    });
  }

  it("says which Node it needs where there is no node:sqlite, and makes no file", () => {
    const { getBuiltinModule } = process;
    for (const without of [undefined, () => undefined]) {
      Object.assign(process, { getBuiltinModule: without });
      try {
        assert.throws(() => fileStorage({ path }), (error: Error) => {
          assert.ok(error instanceof StorageError);
          assert.match(error.message, /has no node:sqlite, wanted Node 22\.13 or later, or Deno$/);
          return true;
        });
      } finally {
        Object.assign(process, { getBuiltinModule });
      }
    }
    assert.ok(!existsSync(path));
  });
});

describe("fileStorage() refuses at once, naming it and leaving it as it was,", () => {
  const places: readonly { readonly what: string; readonly make: () => string; readonly says: RegExp }[] = [
    {
      what: "a folder that is not there",
      make: () => join(folder, "none", "app.db"),
      says: /no such file or directory/i,
    },
    {
      what: "a path through a file",
      make: () => {
        writeFileSync(join(folder, "file"), "");
        return join(folder, "file", "app.db");
      },
      says: /not a directory/i,
    },
    {
      what: "a folder as the file",
      make: () => {
        mkdirSync(path);
        return path;
      },
      says: /unable to open database file/,
    },
  ];
  for (const { what, make, says } of places) {
    it(what, () => {
      const place = make();
      assert.throws(() => fileStorage({ path: place }), (error: Error) => {
        assert.ok(error instanceof StorageError, String(error));
        assert.ok(error.message.startsWith(`cannot open ${place}: `), error.message);
        assert.match(error.message, says);
        assert.ok(error.cause instanceof Error);
        return true;
      });
    });
  }

  const OUR_ID = 0x42323455;
  const TABLE = "CREATE TABLE entries (key, value); INSERT INTO entries VALUES (1, 2);";
  const files: readonly { readonly what: string; readonly make: () => unknown; readonly says: RegExp }[] = [
    { what: "a file of text", make: () => writeFileSync(path, "hello\n"), says: /file is not a database/ },
    { what: "a file of zeros", make: () => writeFileSync(path, new Uint8Array(8192)), says: /file is not a database/ },
    { what: "a database of nobody", make: () => execute(TABLE), says: /a database of another program/ },
    {
      what: "a database of another program",
      make: () => execute(`PRAGMA application_id = 1; PRAGMA user_version = 1; ${TABLE}`),
      says: /a database of another program/,
    },
    {
      what: "an empty database of another program",
      make: () => execute("PRAGMA user_version = 7; VACUUM"),
      says: /a database of another program/,
    },
    {
      what: "a database that says that it is ours and has other tables",
      make: () => execute(`PRAGMA application_id = ${OUR_ID}; PRAGMA user_version = 1; ${TABLE}`),
      says: /no such column/,
    },
    {
      what: "a file of ours of which the second half is lost",
      make: async () => {
        const storage = open();
        await storage.put(["a"], "x".repeat(10_000));
        await storage.close?.();
        writeFileSync(path, readFileSync(path).subarray(0, 4096));
      },
      says: /malformed/,
    },
  ];
  for (const { what, make, says } of files) {
    it(what, async () => {
      await make();
      const before = readFileSync(path);
      assert.throws(() => open(), (error: Error) => {
        assert.ok(error instanceof StorageError, String(error));
        assert.ok(error.message.startsWith(`cannot open ${path}: `), error.message);
        assert.match(error.message, says);
        return true;
      });
      assert.deepEqual(readFileSync(path), before);
    });
  }

  it("a file of a newer format", async () => {
    await open().put(["a"], 1);
    await opened.pop()?.close();
    execute("PRAGMA user_version = 2");
    const before = readFileSync(path);
    assert.throws(() => open(), (error: Error) => {
      assert.ok(error instanceof FormatError);
      assert.ok(error.message.startsWith(`file ${path} has format 2, `), error.message);
      return true;
    });
    assert.deepEqual(readFileSync(path), before);
  });

  it("a file that another process keeps locked for longer than busyTimeoutMs", async () => {
    await open().close?.();
    const db = raw();
    db.exec("BEGIN IMMEDIATE");
    assert.throws(() => open({ busyTimeoutMs: 0 }), (error: Error) => {
      assert.ok(error instanceof StorageError);
      assert.equal(error.message, `cannot open ${path}: database is locked`);
      return true;
    });
    db.exec("ROLLBACK");
    open({ busyTimeoutMs: 0 });
  });
});

describe("fileStorage() in use", () => {
  it("rejects a write while another process writes for longer than busyTimeoutMs, and goes on reading", async () => {
    const storage = open({ busyTimeoutMs: 0 });
    await storage.put(["a"], 1);
    const db = raw();
    db.exec("BEGIN IMMEDIATE");
    for (
      const [what, write] of [
        ["put", () => storage.put(["a"], 2)],
        ["delete", () => storage.delete(["a"])],
      ] as const
    ) {
      await assert.rejects(write(), (error: Error) => {
        assert.ok(error instanceof StorageError);
        assert.ok(error.message.startsWith(`cannot ${what} ["a"] `), error.message);
        assert.ok(error.message.endsWith(` ${path}: database is locked`), error.message);
        assert.ok(error.cause instanceof Error);
        return true;
      });
    }
    assert.equal((await storage.get(["a"]))?.value, 1);
    db.exec("ROLLBACK");
    assert.equal((await storage.put(["a"], 2)).ok, true);
  });

  it("rejects a read that fails: it is not taken for absence", async () => {
    const storage = open();
    await storage.put(["a"], 1);
    const db = raw();
    db.exec("UPDATE entries SET value = '{'");
    const failed = (error: Error): boolean => {
      assert.ok(error instanceof StorageError);
      assert.ok(error.message.includes(path), error.message);
      return true;
    };
    await assert.rejects(storage.get(["a"]), failed);
    await assert.rejects(async () => await Array.fromAsync(storage.list([])), failed);
    db.exec("ALTER TABLE entries RENAME TO gone");
    await assert.rejects(storage.get(["a"]), failed);
    await assert.rejects(storage.put(["a"], 1), failed);
    await assert.rejects(storage.delete(["a"]), failed);
    await assert.rejects(async () => await Array.fromAsync(storage.list([])), failed);
  });

  it("rejects every call after close, also the next of a listing", async () => {
    const storage = open();
    for (let i = 0; i < 100; i++) await storage.put(["a", String(i)], i);
    const listing = storage.list(["a"])[Symbol.asyncIterator]();
    await listing.next();
    await storage.close?.();
    await storage.close?.();
    const closed = (error: Error): boolean => {
      assert.ok(error instanceof StorageError);
      assert.match(error.message, /^cannot (get|put|delete|list) .*: this storage is closed$/);
      return true;
    };
    await assert.rejects(storage.get(["a"]), closed);
    await assert.rejects(storage.put(["a"], 1), closed);
    await assert.rejects(storage.delete(["a"]), closed);
    await assert.rejects(async () => await Array.fromAsync(storage.list([])), closed);
    await assert.rejects(listing.next(), closed);
  });

  it("rejects what is neither key nor value nor duration", async () => {
    const storage = open();
    await assert.rejects(storage.put(["a"], undefined), {
      name: "TypeError",
      message: 'cannot store undefined under ["a"], wanted what JSON can say',
    });
    await assert.rejects(storage.put(["a"], 1, { ttlMs: NaN }), {
      name: "TypeError",
      message: 'cannot store ["a"] for NaN milliseconds, wanted a finite number',
    });
    assert.equal(await storage.get(["a"]), null);
  });

  it("lets go of a listing between two pages: what is written meanwhile can be checkpointed", async () => {
    const storage = open();
    for (let i = 0; i < 100; i++) await storage.put(["a", String(i)], i);
    const listing = storage.list(["a"])[Symbol.asyncIterator]();
    await listing.next();
    await storage.put(["b"], 1);
    assert.equal(valueOf(raw(), "PRAGMA wal_checkpoint(TRUNCATE)"), 0, "whether a reader blocked it");
  });

  it("removes expired entries at opening and while it writes, some at a time", async () => {
    let now = 1_785_300_000_000;
    const clock = (): number => now;
    const storage = open({ clock });
    for (let i = 0; i < 300; i++) await storage.put(["old", String(i)], i, { ttlMs: 1000 });
    await storage.put(["kept"], 1, { ttlMs: 60_000 });
    const db = raw();
    const rows = (): unknown => valueOf(db, "SELECT count(*) FROM entries");
    assert.equal(rows(), 301);
    now += 1000;
    open({ clock });
    assert.equal(rows(), 173);
    for (let i = 0; i < 2 * 64; i++) await storage.put(["kept"], 1);
    assert.equal(rows(), 1);
    assert.equal((await storage.get(["kept"]))?.value, 1);
  });

  it("does not keep expired rows from being listed past", async () => {
    let now = 1_785_300_000_000;
    const storage = open({ clock: () => now });
    for (let i = 0; i < 3; i++) await storage.put(["a", String(i)], i, { ttlMs: (i + 1) * 1000 });
    const seen: unknown[] = [];
    for await (const { value } of storage.list(["a"])) {
      seen.push(value);
      now += 2000;
    }
    assert.deepEqual(seen, [0, 2], "the second ended while the first was looked at");
  });
});

describe("fileStorage() in several processes", () => {
  it("loses no count of two that count in one key by compare-and-set, from an empty folder on", async () => {
    const times = 200;
    const children = [start("count", String(times)), start("count", String(times))];
    for (const child of children) assert.deepEqual(await child.ended, [0, null], child.errors());
    assert.equal((await open().get(["count"]))?.value, 2 * times);
  });

  it("loses no acknowledged write of one that is killed", async () => {
    let next = 0;
    for (const writes of [1, 7, 40, 80, 150]) {
      const child = start("write", String(next));
      const acknowledged: number[] = [];
      for await (const line of createInterface({ input: child.process.stdout! })) {
        acknowledged.push(Number(line));
        if (acknowledged.length === writes) child.process.kill("SIGKILL");
      }
      assert.deepEqual(await child.ended, [null, "SIGKILL"], child.errors());
      assert.ok(acknowledged.length >= writes);

      const storage = open();
      const missing: number[] = [];
      for (const n of acknowledged) {
        if ((await storage.get<{ n: number }>(["written", String(n)]))?.value.n !== n) missing.push(n);
      }
      assert.deepEqual(missing, []);
      const last = (await storage.get<number>(["last"]))!.value;
      assert.ok(last >= acknowledged.at(-1)!, `the last is ${last}, acknowledged was ${acknowledged.at(-1)}`);
      await storage.close?.();
      next = last + 1;
    }
  });
});

interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<unknown[]>;
  readonly errors: () => string;
}

function start(...args: string[]): Child {
  const [job, ...rest] = args as [string, ...string[]];
  const script = fileURLToPath(new URL("../_file_storage_child.ts", import.meta.url));
  const runtime = "Deno" in globalThis ? ["run", "-A"] : [];
  const child = spawn(process.execPath, [...runtime, script, job, path, ...rest], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  opened.push({ close: () => child.kill("SIGKILL") });
  let errors = "";
  child.stderr.on("data", (text) => errors += text);
  return { process: child, ended: once(child, "close"), errors: () => errors };
}
