import assert from "node:assert/strict";
import { PGlite } from "@electric-sql/pglite";
import type { Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Key } from "@b24/onappupdate/storage";
import { type PostgresJsClient, type PostgresQueryClient, postgresStorage } from "@b24/onappupdate/postgres-storage";
import pg from "pg";
import postgres from "postgres";
import { closeDatabase, faultyClient } from "../../../support/postgres.ts";
import { after, before, beforeEach, describe, it } from "../../../support/test.ts";

const KEY: Key = ["portal", "a223"];

let database: PGlite;
let storage: Storage;
before(async () => {
  database = await PGlite.create();
});
after(() => closeDatabase(database));
beforeEach(async () => {
  await database.exec("DROP TABLE IF EXISTS onappupdate");
  storage = postgresStorage(database);
});

async function rows(sql: string): Promise<unknown[]> {
  return (await database.query(sql)).rows;
}

/** Every method, for requirements that are the same for all. */
const METHODS: Readonly<Record<string, (storage: Storage) => Promise<unknown>>> = {
  "get": (storage) => storage.get(KEY),
  "put": (storage) => storage.put(KEY, 1),
  "put with a ttlMs": (storage) => storage.put(KEY, 1, { ttlMs: 1000 }),
  "put of a new entry": (storage) => storage.put(KEY, 1, { ifVersion: null }),
  "put over a version": (storage) => storage.put(KEY, 1, { ifVersion: "x" }),
  "delete": (storage) => storage.delete(KEY),
  "delete of a version": (storage) => storage.delete(KEY, { ifVersion: "x" }),
  "list": (storage) => Array.fromAsync(storage.list([])),
  "write": (storage) => storage.write!([{ delete: ["other"] }, { put: KEY, value: 1 }]),
};

describe("postgresStorage()", () => {
  it("has capabilities that depend on the option durable", () => {
    assert.equal(storage.name, "postgres");
    assert.deepEqual(storage.capabilities, { durable: true, scope: "network" });
    assert.deepEqual(postgresStorage(database, { durable: false }).capabilities, { durable: false, scope: "network" });
  });

  it("accepts the clients of all three libraries", async () => {
    // They are not connected. The test is that they compile.
    const sql = postgres("postgres://127.0.0.1:1/none");
    const pool = new pg.Pool();
    const clients = [pool, new pg.Client(), database, sql] satisfies (PostgresQueryClient | PostgresJsClient)[];
    for (const client of clients) assert.equal(postgresStorage(client).name, "postgres");
    await pool.end();
    await sql.end();
  });

  for (const table of ["", "a b", 'a"b', "a'b", "a.b.c", "a.", "1a", "a; DROP TABLE b", "a".repeat(51)]) {
    it(`refuses the table ${JSON.stringify(table)}`, () => {
      assert.throws(() => postgresStorage(database, { table }), {
        name: "TypeError",
        message: /^cannot use PostgreSQL with table ".*, wanted a name, or a schema and a name, /,
      });
    });
  }

  for (const timeoutMs of [0, NaN, 2 ** 31]) {
    it(`refuses a timeoutMs of ${timeoutMs}`, () => {
      assert.throws(() => postgresStorage(database, { timeoutMs }), { name: "TypeError" });
    });
  }

  it("stores an entry in a row: the key as bytes, the JSON as it is", async () => {
    const value = { b: "Ромашка\0", a: { __proto__: null, "2": 1, "1": [] } };
    const { version } = await storage.put(KEY, value) as { readonly version: string };
    const columns = "encode(key, 'escape') AS key, value, version, expires_at";
    assert.deepEqual(await rows(`SELECT ${columns} FROM onappupdate`), [
      { key: "portal\\000a223\\000", value: JSON.stringify(value), version, expires_at: null },
    ]);
    await storage.put(KEY, value, { ttlMs: 60_000 });
    const [row] = await rows("SELECT expires_at FROM onappupdate") as [{ expires_at: number }];
    assert.equal(row.expires_at, (await storage.get(KEY))!.expiresAt);
  });

  it("puts the same in a write as in a put", async () => {
    const value = { text: '"\\\0\u2028\ud800', nested: '[null,"-"]' };
    await storage.put(["one"], value);
    await storage.write!([{ put: ["two"], value }]);
    assert.deepEqual(await rows("SELECT count(DISTINCT value)::int AS n FROM onappupdate"), [{ n: 1 }]);
    assert.deepEqual((await storage.get(["two"]))!.value, value);
  });

  it("takes a version that looks like one of its own conditions for a version", async () => {
    for (const ifVersion of ["", "-", "=", "applied"]) {
      const refused = await storage.write!([{ put: KEY, value: 1, ifVersion }]);
      assert.deepEqual(refused, { ok: false, failedAt: 0 });
      assert.deepEqual(await storage.put(KEY, 1, { ifVersion }), { ok: false });
    }
  });

  it("keeps storages of different tables and schemas apart", async () => {
    await database.exec("CREATE SCHEMA IF NOT EXISTS app");
    const tables = ["onappupdate", "app.onappupdate", "app.Portals"];
    const storages = tables.map((table) => postgresStorage(database, { table }));
    for (const [i, storage] of storages.entries()) await storage.put(KEY, i);
    for (const [i, storage] of storages.entries()) assert.equal((await storage.get(KEY))?.value, i);
    assert.deepEqual(await rows(`SELECT value FROM app."Portals"`), [{ value: "2" }]);
    await database.exec("DROP SCHEMA app CASCADE");
  });

  it("takes keys of 2,600 bytes, and rejects longer ones that do not compress", async () => {
    // Hexadecimal digits of a fixed sequence, which compresses badly.
    let seed = 1;
    const random = (bytes: number): string =>
      Array.from({ length: bytes }, () => String.fromCharCode(33 + (seed = seed * 48271 % 2147483647) % 94)).join("");
    const key: Key = [random(2600)];
    await storage.put(key, 1);
    assert.equal((await storage.get(key))?.value, 1);
    await assert.rejects(storage.put([random(4000)], 1), StorageError);
  });

  it("skips an entry that expires while its page is listed", async () => {
    let now = 1000;
    const storage = postgresStorage(database, { clock: () => now });
    for (const part of ["a", "b", "c"]) await storage.put([part], part, part === "b" ? { ttlMs: 10 } : {});
    const seen: unknown[] = [];
    for await (const { value } of storage.list([])) {
      seen.push(value);
      now = 1010;
    }
    assert.deepEqual(seen, ["a", "c"]);
  });
});

describe("postgresStorage() executes", () => {
  for (const [method, call] of Object.entries(METHODS)) {
    it(`one statement for ${method}`, async () => {
      await storage.put(KEY, 1);
      const client = faultyClient(database, {});
      await call(postgresStorage(client));
      assert.equal(client.statements.length, 1);
    });
  }

  it("one statement for each 64 entries of a listing", async () => {
    await storage.write!(Array.from({ length: 130 }, (_, i) => ({ put: ["n", String(i)], value: i })));
    const client = faultyClient(database, {});
    assert.equal((await Array.fromAsync(postgresStorage(client).list(["n"]))).length, 130);
    assert.equal(client.statements.length, 3);
  });

  it("one more at every 64th write, which deletes up to 128 expired entries and no other", async () => {
    let now = 1000;
    const client = faultyClient(database, {});
    const storage = postgresStorage(client, { clock: () => now });
    await storage.put(["stays"], 1, { ttlMs: 11 });
    await storage.write!(Array.from({ length: 60 }, (_, i) => ({ put: ["gone", String(i)], value: 1, ttlMs: 10 })));
    for (let i = 0; i < 2; i++) await storage.delete(["none"]);
    now = 1010;
    const count = (): Promise<unknown[]> => rows("SELECT count(*)::int AS n FROM onappupdate");
    assert.deepEqual(await count(), [{ n: 61 }]);
    client.statements.length = 0;
    await storage.delete(["none"]);
    assert.deepEqual(await count(), [{ n: 1 }]);
    assert.equal(client.statements.length, 2);
    await storage.delete(["none"]);
    assert.equal(client.statements.length, 3);
  });

  it("an indexed search for a page of a large table", async () => {
    await storage.put(KEY, 1);
    await database.exec(`INSERT INTO onappupdate SELECT convert_to('n' || i, 'UTF8'), '1', 'x' FROM
      generate_series(1, 20000) AS i; ANALYZE onappupdate`);
    let [text, values]: [string, unknown[]] = ["", []];
    const spy = postgresStorage({
      query: (...args) => {
        [text, values] = args;
        return database.query(...args);
      },
    });
    for (
      const run of [
        () => Array.fromAsync(spy.list(["portal"])),
        () => spy.get(KEY),
        () => spy.write!([{ put: KEY, value: 1 }]),
      ]
    ) {
      await run();
      const plan = (await database.query(`EXPLAIN ${text}`, values)).rows.map((row) => Object.values(row as object)[0]);
      assert.match(plan.join("\n"), /Index Scan|Index Cond/);
      assert.doesNotMatch(plan.join("\n"), /Seq Scan/);
    }
  });
});

describe("postgresStorage(), if there is no table,", () => {
  for (const [method, call] of Object.entries(METHODS)) {
    it(`creates it for ${method}`, async () => {
      await call(storage);
      assert.deepEqual(await rows("SELECT count(*)::int <= 1 AS is_there FROM onappupdate"), [{ is_there: true }]);
    });
  }

  it("creates it for many calls of many storages at once", async () => {
    const storages = Array.from({ length: 20 }, () => postgresStorage(database));
    await Promise.all(storages.map((storage, i) => storage.put(["n", String(i)], i)));
    assert.equal((await Array.fromAsync(storage.list(["n"]))).length, 20);
  });

  it("creates it again after it was dropped", async () => {
    await storage.put(KEY, 1);
    await database.exec("DROP TABLE onappupdate");
    assert.equal(await storage.get(KEY), null);
  });

  it("rejects without the right to create it, and needs no such right if it is there", async () => {
    await database.exec("DROP ROLE IF EXISTS app; CREATE ROLE app; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    const asApp = postgresStorage({
      query: (text, values) =>
        database.transaction(async (transaction) => {
          await transaction.exec("SET LOCAL ROLE app");
          return await transaction.query(text, values);
        }),
    });
    await assert.rejects(asApp.get(KEY), {
      name: "StorageError",
      message: 'cannot get ["portal","a223"] from PostgreSQL: relation "onappupdate" does not exist, ' +
        "and it cannot be created: permission denied for schema public",
    });
    await storage.put(KEY, 1);
    await database.exec("GRANT SELECT, INSERT, UPDATE, DELETE ON onappupdate TO app");
    for (const call of Object.values(METHODS)) await call(asApp);
  });
});

describe("postgresStorage() rejects with a StorageError", () => {
  for (const [method, call] of Object.entries(METHODS)) {
    it(`of ${method} on a table with other columns, and leaves it alone`, async () => {
      await database.exec("CREATE TABLE onappupdate (id int); INSERT INTO onappupdate VALUES (1)");
      await assert.rejects(call(storage), StorageError);
      assert.deepEqual(await rows("SELECT * FROM onappupdate"), [{ id: 1 }]);
    });
  }

  it("without stored values: PGlite and Postgres.js attach them to their errors", async () => {
    await storage.put(KEY, 1);
    await database.exec("ALTER TABLE onappupdate ADD CHECK (length(value) < 5)");
    const secret = "refresh_token_5f3a";
    for (
      const call of [
        () => storage.put(KEY, secret),
        () => storage.put(KEY, secret, { ifVersion: null }),
        () => storage.write!([{ put: KEY, value: secret }]),
      ]
    ) {
      await assert.rejects(call(), (error: Error) => {
        assert(error instanceof StorageError);
        assert.match(error.message, /violates check constraint/);
        for (let cause: unknown = error; cause !== undefined; cause = (cause as Error).cause) {
          const members = Object.getOwnPropertyNames(cause).map((name) => (cause as Record<string, unknown>)[name]);
          assert(!JSON.stringify(members).includes(secret));
        }
        return true;
      });
    }
  });

  it("of a stored value that is not JSON, without quoting it", async () => {
    await storage.put(KEY, 1);
    await database.exec("UPDATE onappupdate SET value = 'token'");
    await assert.rejects(storage.get(KEY), { name: "StorageError", message: /the stored value is not JSON$/ });
  });

  it("of a client that does not return text", async () => {
    const client = { query: () => Promise.resolve({ rows: [["1", "x", null]] }) };
    await assert.rejects(postgresStorage(client).get(KEY), {
      name: "StorageError",
      message: /wanted a client that returns/,
    });
  });

  it("of a client that resolves to the rows themselves, as the one of Neon does", async () => {
    const client = { query: () => Promise.resolve([{ value: "1", version: "x", expiry: null }]) };
    const storage = postgresStorage(client as unknown as PostgresQueryClient);
    for (const call of Object.values(METHODS)) {
      await assert.rejects(call(storage), {
        name: "StorageError",
        message: /PostgreSQL: saw no rows, wanted a client whose query\(\) resolves to \{ rows \}$/,
      });
    }
  });
});
