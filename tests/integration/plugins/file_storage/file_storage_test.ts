import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import type { DatabaseSync } from "node:sqlite";
import type { Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { storageConformance } from "@b24/onappupdate/testing";
import { describe, it, test } from "../../../support/test.ts";
import { commandOf, connect, placeOfEachTest, valueOf } from "./_file_storage.ts";

interface Opened {
  readonly folder: string;
  readonly path: string;
  readonly connection: DatabaseSync;
}

const opened = new Map<Storage, Opened>();

storageConformance({
  name: "fileStorage",
  test,
  clock: "injected",
  create: (clock) => {
    const folder = mkdtempSync(join(tmpdir(), "file-storage-"));
    const path = join(folder, "app.db");
    const { storage, connection } = connect({ path, clock });
    opened.set(storage, { folder, path, connection });
    return storage;
  },
  dispose: async (storage) => {
    await storage.close?.();
    rmSync(opened.get(storage)!.folder, { recursive: true });
  },
  worker: (storage) => {
    const [command, ...args] = commandOf("file_storage_worker.ts", opened.get(storage)!.path);
    return { command, args };
  },
  backend: {
    can: ["fill", "drain", "loseReply"],
    of: (storage) => {
      const { connection } = opened.get(storage)!;
      return {
        // The current size is the maximum then.
        fill: () => limitPages(connection, 1),
        drain: () => limitPages(connection, 2 ** 30),
        loseReply: () => loseCommit(connection),
      };
    },
  },
});

function limitPages(connection: DatabaseSync, pages: number): Promise<void> {
  connection.exec(`PRAGMA max_page_count = ${pages}`);
  return Promise.resolve();
}

/** Makes the next COMMIT throw after it has succeeded. */
function loseCommit(connection: DatabaseSync): Promise<void> {
  const { exec } = connection;
  connection.exec = (sql) => {
    exec.call(connection, sql);
    if (sql !== "COMMIT") return;
    connection.exec = exec;
    throw new Error("disk I/O error");
  };
  return Promise.resolve();
}

const place = placeOfEachTest();

describe("fileStorage()", () => {
  it("has capabilities: durable, shared by the processes of the host", () => {
    const { name, capabilities } = place.open();
    assert.deepEqual({ name, capabilities }, { name: "file", capabilities: { durable: true, scope: "host" } });
  });

  it("stores values, versions and expiry times in the file", async () => {
    const first = place.open();
    await first.put(["a", "\0\u{1F600}"], { b: ["\ufeff", null] });
    await first.put(["\ufeffa"], 1, { ttlMs: 3_600_000 });
    const before = [await first.get(["a", "\0\u{1F600}"]), await first.get(["\ufeffa"])];
    await first.close?.();

    const second = place.open();
    assert.deepEqual([await second.get(["a", "\0\u{1F600}"]), await second.get(["\ufeffa"])], before);
  });

  it("reads the writes of another storage on the same file at once", async () => {
    const [one, other] = [place.open(), place.open()];
    const { version } = await one.put(["a"], 1) as { version: string };
    assert.deepEqual(await other.get(["a"]), { key: ["a"], value: 1, version });
    assert.deepEqual(await other.delete(["a"], { ifVersion: version }), { ok: true });
    assert.equal(await one.get(["a"]), null);
  });

  it("never reuses a version, also after a deletion and a restart", async () => {
    const versions = new Set<string>();
    for (let i = 0; i < 3; i++) {
      const storage = place.open();
      versions.add((await storage.put(["a"], 1) as { version: string }).version);
      await storage.delete(["a"]);
      await storage.close?.();
    }
    assert.equal(versions.size, 3);
  });

  it("writes in WAL mode", async () => {
    await place.open().put(["a"], 1);
    assert.ok(statSync(`${place.path}-wal`).size > 0);
    assert.equal(valueOf(place.raw(), "PRAGMA journal_mode"), "wal");
  });

  it("creates its files without access for other users", async () => {
    await place.open().put(["a"], 1);
    for (const file of [place.path, `${place.path}-wal`, `${place.path}-shm`]) {
      assert.equal((statSync(file).mode & 0o777).toString(8), process.platform === "win32" ? "666" : "600", file);
    }
  });

  it("does not change the mode of an existing file", async () => {
    await place.open().close?.();
    chmodSync(place.path, 0o640);
    await place.open().close?.();
    assert.equal((statSync(place.path).mode & 0o777).toString(8), process.platform === "win32" ? "666" : "640");
  });

  it("treats an empty file as a new one", async () => {
    writeFileSync(place.path, "");
    await place.open().put(["a"], 1);
    assert.equal((await place.open().get(["a"]))?.value, 1);
  });

  it("treats a URL of SQLite as a path", () => {
    const url = "file:/none/app.db?mode=memory";
    assert.throws(
      () => place.open({ path: url }),
      (error: Error) => error.message.startsWith(`cannot open ${resolve(url)}: `),
    );
  });

  for (const wrong of ["", ":memory:"]) {
    it(`refuses the path ${JSON.stringify(wrong)} and suggests memoryStorage()`, () => {
      assert.throws(() => fileStorage({ path: wrong }), {
        name: "TypeError",
        message: /wanted the path of a file; to keep entries in memory, use memoryStorage\(\)/,
      });
    });
  }

  for (const busyTimeoutMs of [-1, 0.5, NaN, Infinity]) {
    it(`refuses a busyTimeoutMs of ${busyTimeoutMs}`, () => {
      assert.throws(() => place.open({ busyTimeoutMs }), {
        name: "TypeError",
        message: `cannot open a file with busyTimeoutMs ${busyTimeoutMs}, wanted a whole number from 0 to 2147483647`,
      });
      assert.ok(!existsSync(place.path));
    });
  }

  it("names the required version of Node if node:sqlite is missing, and creates no file", () => {
    const { getBuiltinModule } = process;
    for (const without of [undefined, () => undefined]) {
      Object.assign(process, { getBuiltinModule: without });
      try {
        assert.throws(() => fileStorage({ path: place.path }), (error: Error) => {
          assert.ok(error instanceof StorageError);
          assert.match(error.message, /has no node:sqlite, wanted Node 22\.13 or later, or Deno$/);
          return true;
        });
      } finally {
        Object.assign(process, { getBuiltinModule });
      }
    }
    assert.ok(!existsSync(place.path));
  });
});

describe("an open fileStorage()", () => {
  it("rejects if a read fails, instead of resolving to null", async () => {
    const storage = place.open();
    await storage.put(["a"], 1);
    const db = place.raw();
    db.exec("UPDATE entries SET value = '{'");
    const failed = (error: Error): boolean => {
      assert.ok(error instanceof StorageError);
      assert.ok(error.message.includes(place.path), error.message);
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

  it("rejects every call after close(), also the next entry of a listing", async () => {
    const storage = place.open();
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

  it("rejects invalid values and durations", async () => {
    const storage = place.open();
    await assert.rejects(storage.put(["a"], undefined), {
      name: "TypeError",
      message: 'cannot store undefined under ["a"], wanted a value that JSON can represent',
    });
    await assert.rejects(storage.put(["a"], 1, { ttlMs: NaN }), {
      name: "TypeError",
      message: 'cannot store ["a"] with a ttlMs of NaN, wanted a finite number',
    });
    assert.equal(await storage.get(["a"]), null);
  });

  it("holds no read lock between two pages of a listing, so that a checkpoint can run", async () => {
    const storage = place.open();
    for (let i = 0; i < 100; i++) await storage.put(["a", String(i)], i);
    const listing = storage.list(["a"])[Symbol.asyncIterator]();
    await listing.next();
    await storage.put(["b"], 1);
    assert.equal(valueOf(place.raw(), "PRAGMA wal_checkpoint(TRUNCATE)"), 0, "a reader blocks the checkpoint");
  });

  it("removes some expired entries when it opens and with each write", async () => {
    let now = 1_785_300_000_000;
    const clock = (): number => now;
    const storage = place.open({ clock });
    for (let i = 0; i < 300; i++) await storage.put(["old", String(i)], i, { ttlMs: 1000 });
    await storage.put(["kept"], 1, { ttlMs: 60_000 });
    const db = place.raw();
    const rows = (): unknown => valueOf(db, "SELECT count(*) FROM entries");
    assert.equal(rows(), 301);
    now += 1000;
    place.open({ clock });
    assert.equal(rows(), 173);
    for (let i = 0; i < 64; i++) await storage.put(["kept"], 1);
    assert.equal(rows(), 45);
    // Each operation of a write() counts.
    await storage.write!(Array.from({ length: 64 }, (_, i) => ({ put: ["kept", String(i)], value: 1 })));
    assert.equal(rows(), 1 + 64);
    assert.equal((await storage.get(["kept"]))?.value, 1);
  });

  it("skips an entry that expires during a listing, and continues after it", async () => {
    let now = 1_785_300_000_000;
    const storage = place.open({ clock: () => now });
    for (let i = 0; i < 3; i++) await storage.put(["a", String(i)], i, { ttlMs: (i + 1) * 1000 });
    const seen: unknown[] = [];
    for await (const { value } of storage.list(["a"])) {
      seen.push(value);
      now += 2000;
    }
    assert.deepEqual(seen, [0, 2], "the second expires while the first is processed");
  });
});
