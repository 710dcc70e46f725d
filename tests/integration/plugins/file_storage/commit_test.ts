import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import type { Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Key, PutResult } from "@b24/onappupdate/storage";
import { describe, it } from "../../../support/test.ts";
import { placeOfEachTest, valueOf } from "./_file_storage.ts";

const place = placeOfEachTest();

/** Returns the number of transactions in the write-ahead log: only the last page of each has the size of the database. */
function commits(): number {
  const log = readFileSync(`${place.path}-wal`);
  const pageSize = log.readUInt32BE(8);
  let count = 0;
  for (let page = 32; page < log.length; page += 24 + pageSize) if (log.readUInt32BE(page + 4) > 0) count++;
  return count;
}

async function valuesOf(storage: Storage): Promise<unknown> {
  const entries = await Array.fromAsync(storage.list([]));
  return Object.fromEntries(entries.map(({ key, value }) => [key.join("/"), value]));
}

/** Resolves to the outcome of each write: true, false or its error. */
async function outcomes(writes: readonly Promise<{ readonly ok: boolean }>[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(writes);
  return settled.map((result) => result.status === "fulfilled" ? result.value.ok : result.reason);
}

function isFailure(error: unknown, message: string): void {
  assert.ok(error instanceof StorageError, String(error));
  assert.equal(error.message, message);
  assert.ok(error.cause instanceof Error);
}

describe("fileStorage() commits", () => {
  it("with synchronous FULL, on the connection that writes", () => {
    const { connection } = place.connect();
    const FULL = 2;
    assert.deepEqual(
      [valueOf(connection, "PRAGMA journal_mode"), valueOf(connection, "PRAGMA synchronous")],
      ["wal", FULL],
    );
  });

  it("the writes of one turn of the event loop together", async () => {
    const storage = place.open();
    await storage.put(["before"], 0);
    const before = commits();
    const write = async (writer: number): Promise<void> => {
      for (let n = 0; n < 3; n++) {
        for (let microtasks = 0; microtasks < writer; microtasks++) await undefined;
        if (n === 2) await storage.delete(["w", String(writer)]);
        else assert.equal((await storage.put(["w", String(writer)], n)).ok, true);
      }
    };
    await Promise.all(Array.from({ length: 64 }, (_, writer) => write(writer)));
    assert.equal(commits() - before, 3);
    assert.deepEqual(await valuesOf(storage), { before: 0 });
  });

  it("all operations of a write(), in the same commit as other writes of the turn", async () => {
    const storage = place.open();
    await storage.put(["old"], 0);
    const before = commits();
    const writes = [
      storage.write!([{ put: ["a"], value: 1 }, { put: ["b"], value: 1, ifVersion: null }, { delete: ["old"] }]),
      storage.put(["c"], 1),
      storage.write!([{ put: ["a"], value: 2 }, { delete: ["c"] }]),
    ];
    assert.deepEqual(await outcomes(writes), [true, true, true]);
    assert.equal(commits() - before, 1);
    assert.deepEqual(await valuesOf(storage), { a: 2, b: 1 });
  });

  it("nothing of a write() whose condition does not hold, and all of the others", async () => {
    const storage = place.open();
    const writes = [
      storage.put(["a"], 1),
      storage.write!([{ put: ["a"], value: 2 }, { put: ["b"], value: 2 }, {
        put: ["a", "a"],
        value: 2,
        ifVersion: "x",
      }]),
      storage.write!([{ put: ["c"], value: 3 }]),
    ];
    assert.deepEqual(await outcomes(writes), [true, false, true]);
    assert.deepEqual(await writes[1], { ok: false, failedAt: 2 });
    assert.deepEqual(await valuesOf(storage), { a: 1, c: 3 });
  });

  it("nothing of a write() that fails, and all of the others", async () => {
    const { storage, connection } = place.connect();
    connection.exec(
      "CREATE TRIGGER t BEFORE INSERT ON entries WHEN NEW.value = '666' BEGIN SELECT RAISE(FAIL, 'no'); END",
    );
    const writes = [
      storage.put(["a"], 1),
      storage.write!([{ put: ["b"], value: 2 }, { put: ["c"], value: 666 }, { put: ["d"], value: 2 }]),
      storage.put(["e"], 3),
    ];
    const [first, failure, last] = await outcomes(writes);
    assert.deepEqual([first, last], [true, true]);
    isFailure(failure, `cannot write to ${place.path}: no`);
    assert.deepEqual(await valuesOf(storage), { a: 1, e: 3 });
  });

  it("the writes of different turns separately", async () => {
    const storage = place.open();
    await storage.put(["before"], 0);
    const before = commits();
    for (let n = 0; n < 3; n++) await storage.put(["a"], n);
    assert.equal(commits() - before, 3);
  });

  it("before the writes resolve", async () => {
    const storage = place.open();
    const other = place.raw();
    const there = (): unknown => valueOf(other, "SELECT count(*) FROM entries");
    const seen = await Promise.all(["a", "b", "c"].map((part) => storage.put([part], 1).then(there)));
    assert.deepEqual(seen, [3, 3, 3]);
    assert.deepEqual(await Promise.all([storage.delete(["a"]).then(there), storage.put(["b"], 2).then(there)]), [2, 2]);
  });

  it("with an outcome for each write, as if they ran in sequence", async () => {
    const storage = place.open();
    const { version } = await storage.put(["old"], 0) as { version: string };
    const writes = [
      storage.put(["new"], 1, { ifVersion: null }),
      storage.put(["new"], 2, { ifVersion: null }),
      storage.put(["old"], 3, { ifVersion: version }),
      storage.delete(["old"], { ifVersion: version }),
      storage.put(["old"], 4, { ifVersion: version }),
      storage.delete(["none"]),
      storage.delete(["new"]),
      storage.put(["new"], 5, { ifVersion: null }),
    ];
    assert.deepEqual(await outcomes(writes), [true, false, true, false, false, true, true, true]);
    assert.deepEqual(await valuesOf(storage), { new: 5, old: 3 });
    const last = await writes.at(-1) as PutResult & { ok: true };
    assert.equal((await storage.get(["new"]))?.version, last.version);
  });

  it("in the order of the calls", async () => {
    const storage = place.open();
    const done: string[] = [];
    const write = async (what: string, writing: Promise<unknown>): Promise<void> => {
      await writing;
      done.push(what);
    };
    await Promise.all([
      write("put 1", storage.put(["a"], 1)),
      write("put 2", storage.put(["a"], 2)),
      write("delete", storage.delete(["a"])),
      write("put 3", storage.put(["a"], 3)),
    ]);
    assert.deepEqual(done, ["put 1", "put 2", "delete", "put 3"]);
    assert.deepEqual(await valuesOf(storage), { a: 3 });
  });

  it("by the time of the commit, so that entries that have expired since count as absent", async () => {
    let now = 1_785_300_000_000;
    const storage = place.open({ clock: () => now });
    const versions = await Promise.all(["a", "b", "c"].map(async (part) => {
      const { version } = await storage.put([part], 1, { ttlMs: 1000 }) as { version: string };
      return version;
    }));
    const writes = [
      storage.put(["a"], 2, { ifVersion: versions[0]! }),
      storage.delete(["b"], { ifVersion: versions[1]! }),
      storage.put(["c"], 2, { ifVersion: null }),
    ];
    now += 1000;
    assert.deepEqual(await outcomes(writes), [false, false, true]);
    assert.deepEqual(await valuesOf(storage), { c: 2 });
  });

  it("no write whose signal is aborted before the commit starts", async () => {
    const storage = place.open();
    await storage.put(["gone"], 1);
    const aborted = new AbortController();
    const kept = new AbortController();
    const writes = [
      storage.put(["a"], 1, { signal: aborted.signal }),
      storage.delete(["gone"], { signal: aborted.signal }),
      storage.put(["b"], 1, { signal: kept.signal }),
    ];
    const reason = new Error("aborted");
    aborted.abort(reason);
    assert.deepEqual(await outcomes(writes), [reason, reason, true]);
    kept.abort();
    assert.deepEqual(await valuesOf(storage), { b: 1, gone: 1 });
  });

  it("the writes before close(), and rejects later ones", async () => {
    const storage = place.open();
    const writes = [storage.put(["a"], 1), storage.put(["a"], 2, { ifVersion: null }), storage.put(["b"], 1)];
    const closing = storage.close!();
    const late = storage.put(["c"], 1);
    assert.deepEqual(await outcomes(writes), [true, false, true]);
    await closing;
    await assert.rejects(late, { message: `cannot put ["c"] into ${place.path}: this storage is closed` });
    assert.deepEqual(await valuesOf(place.open()), { a: 1, b: 1 });
  });

  it("the removal of twice as many expired entries as writes", async () => {
    let now = 1_785_300_000_000;
    const storage = place.open({ clock: () => now });
    const puts = (count: number, ttlMs?: number): Promise<unknown> =>
      Promise.all(Array.from({ length: count }, (_, i) => storage.put(["w", String(i)], i, ttlMs ? { ttlMs } : {})));
    await puts(400, 1000);
    now += 1000;
    const db = place.raw();
    const rows = (): unknown => valueOf(db, "SELECT count(*) FROM entries WHERE expires_at <= 1785300001000");
    await storage.delete(["none"]);
    assert.equal(rows(), 400, "a single write removes no expired entry");
    for (let i = 0; i < 100; i++) void storage.delete(["none"]);
    await storage.delete(["none"]);
    assert.equal(rows(), 400 - 2 * 102);
  });
});

/** Triggers that fail for the value `bad` only. */
const FAILURES: readonly { readonly what: string; readonly trigger: string; readonly says: string }[] = [
  {
    what: "fails",
    trigger: "BEFORE INSERT ON entries WHEN NEW.value = '\"bad\"' BEGIN SELECT RAISE(ABORT, 'bad luck'); END",
    says: "bad luck",
  },
  {
    what: "fails and makes SQLite roll back the transaction",
    trigger: "BEFORE INSERT ON entries WHEN NEW.value = '\"bad\"' BEGIN SELECT RAISE(ROLLBACK, 'bad luck'); END",
    says: "bad luck",
  },
];

/** Makes a COMMIT fail after a put of the value `bad`. */
const FAILING_COMMIT = `
  CREATE TABLE owner (id INTEGER PRIMARY KEY);
  CREATE TABLE owned (owner INTEGER REFERENCES owner DEFERRABLE INITIALLY DEFERRED);
  CREATE TRIGGER failing AFTER INSERT ON entries WHEN NEW.value = '"bad"' BEGIN INSERT INTO owned VALUES (1); END;
`;

describe("fileStorage(), if a commit fails,", () => {
  for (const { what, trigger, says } of FAILURES) {
    it(`rejects only the write that ${what}`, async () => {
      const storage = place.open();
      place.execute(`CREATE TRIGGER failing ${trigger}`);
      const { version } = await storage.put(["old"], 0) as { version: string };
      const write = (key: Key, value: unknown, ifVersion?: string | null): Promise<PutResult> =>
        storage.put(key, value, ifVersion === undefined ? {} : { ifVersion });
      const [first, second, ...others] = await outcomes([
        write(["bad"], "bad"),
        write(["old"], "bad"),
        write(["old"], 1, version),
        write(["old"], 2, version),
        write(["bad"], 3, null),
        write(["bad"], 4, null),
      ]);
      isFailure(first, `cannot put ["bad"] into ${place.path}: ${says}`);
      isFailure(second, `cannot put ["old"] into ${place.path}: ${says}`);
      assert.deepEqual(others, [true, false, true, false]);
      assert.deepEqual(await valuesOf(storage), { bad: 3, old: 1 });
      assert.deepEqual(await outcomes([write(["old"], 5)]), [true]);
      assert.deepEqual(await valuesOf(place.open()), { bad: 3, old: 5 });
    });
  }

  it("rejects all writes if COMMIT fails, also those that would have been refused", async () => {
    const storage = place.open();
    place.execute(FAILING_COMMIT);
    await storage.put(["old"], 0);
    const [created, refused, bad, gone] = await outcomes([
      storage.put(["new"], 1, { ifVersion: null }),
      storage.put(["new"], 2, { ifVersion: null }),
      storage.put(["bad"], "bad"),
      storage.delete(["old"]),
    ]);
    const says = "FOREIGN KEY constraint failed";
    isFailure(created, `cannot put ["new"] into ${place.path}: ${says}`);
    isFailure(refused, `cannot put ["new"] into ${place.path}: ${says}`);
    isFailure(bad, `cannot put ["bad"] into ${place.path}: ${says}`);
    isFailure(gone, `cannot delete ["old"] from ${place.path}: ${says}`);
    assert.deepEqual(await valuesOf(storage), { old: 0 });

    const [alone] = await outcomes([storage.put(["bad"], "bad")]);
    isFailure(alone, `cannot put ["bad"] into ${place.path}: ${says}`);
    assert.deepEqual(await outcomes([storage.put(["new"], 3, { ifVersion: null })]), [true]);
    assert.deepEqual(await valuesOf(place.open()), { new: 3, old: 0 });
  });

  it("rejects all writes if expired entries cannot be removed, and continues with the next commit", async () => {
    let now = 1_785_300_000_000;
    const storage = place.open({ clock: () => now });
    await storage.put(["old"], 0, { ttlMs: 1000 });
    place.execute("CREATE TRIGGER failing BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'bad luck'); END");
    now += 1000;
    const failed = await outcomes(Array.from({ length: 64 }, (_, i) => storage.put(["w", String(i)], i)));
    failed.forEach((error, i) => isFailure(error, `cannot put ["w","${i}"] into ${place.path}: bad luck`));
    assert.deepEqual(await outcomes([storage.put(["new"], 1)]), [true]);
    assert.deepEqual(await valuesOf(storage), { new: 1 });
  });

  it("rejects all writes if it cannot start, and does none of them later", async () => {
    const storage = place.open({ busyTimeoutMs: 0 });
    await storage.put(["old"], 0);
    const db = place.raw();
    db.exec("BEGIN IMMEDIATE");
    const [put, deletion] = await outcomes([storage.put(["new"], 1), storage.delete(["old"])]);
    isFailure(put, `cannot put ["new"] into ${place.path}: database is locked`);
    isFailure(deletion, `cannot delete ["old"] from ${place.path}: database is locked`);
    assert.deepEqual(await valuesOf(storage), { old: 0 });
    db.exec("ROLLBACK");
    assert.deepEqual(await outcomes([storage.put(["old"], 1)]), [true]);
    assert.deepEqual(await valuesOf(storage), { old: 1 });
  });

  it("rejects a write for which a full database has no space, and continues with the others", async () => {
    const { storage, connection } = place.connect();
    await storage.put(["old"], 0);
    const limit = (pages: number): unknown => valueOf(connection, `PRAGMA max_page_count = ${pages}`);
    limit(1);
    const [large, small, read] = await Promise.all([
      outcomes([storage.put(["large"], "x".repeat(50_000))]),
      outcomes([storage.put(["old"], 1)]),
      storage.get(["old"]),
    ]);
    isFailure(large[0], `cannot put ["large"] into ${place.path}: database or disk is full`);
    assert.deepEqual(small, [true]);
    assert.equal(read?.value, 0);
    assert.deepEqual(await valuesOf(storage), { old: 1 });
    limit(1_000_000);
    assert.deepEqual(await outcomes([storage.put(["large"], 2)]), [true]);
    assert.deepEqual(await valuesOf(storage), { large: 2, old: 1 });
    assert.equal(integrity(connection), "ok");
  });
});

function integrity(db: DatabaseSync): unknown {
  return valueOf(db, "PRAGMA integrity_check");
}
