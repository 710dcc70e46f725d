/** Races between connections. Another transaction holds the rows, so each race has one outcome. */
import assert from "node:assert/strict";
import type { Storage } from "@b24/onappupdate";
import type { Key, WriteOperation, WriteResult } from "@b24/onappupdate/storage";
import { postgresStorage } from "@b24/onappupdate/postgres-storage";
import pg from "pg";
import { type PostgresServer, startPostgres } from "../../scripts/postgres_server.ts";
import { after, before, beforeEach, describe, it } from "../support/test.ts";
import { until } from "../support/until.ts";

let server: PostgresServer;
let pool: pg.Pool;
before(async () => {
  server = await startPostgres("deadlock_timeout=2s");
  pool = new pg.Pool({ connectionString: server.url });
});
after(async () => {
  await pool.end();
  await server.remove();
});

const [A, X, Z]: readonly [Key, Key, Key] = [["a"], ["x"], ["z"]];
let storage: Storage;
beforeEach(async () => {
  storage = postgresStorage(pool);
  await storage.delete(A); // creates the table
  await pool.query("TRUNCATE onappupdate");
});

/** Returns a storage whose statements are changed. */
function withStatements(change: (text: string) => string): Storage {
  return postgresStorage({ query: async (text, values) => await pool.query(change(text), values) });
}

/** Returns the text without what `from` matches; fails if it matches nothing in a write. */
const without = (from: RegExp, to = "") => (text: string): string => {
  const changed = text.replace(from, to);
  if (text.startsWith("WITH op")) assert.notEqual(changed, text, "the variant is not broken");
  return changed;
};

const hex = (key: Key): string => key.map((part) => part + "\0").join("").replaceAll("\0", "\\000");

/** Runs `race` in a transaction of another connection. */
async function inTransaction(race: (other: pg.Client) => Promise<void>): Promise<void> {
  const other = new pg.Client({ connectionString: server.url });
  await other.connect();
  try {
    await other.query("BEGIN");
    await race(other);
  } finally {
    await other.end();
  }
}

/** Resolves when `count` connections wait for a lock. */
async function waitForLocks(count: number): Promise<void> {
  await until(`${count} connections wait for a lock`, async () => {
    const { rows } = await pool.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
    return rows.length >= count;
  });
}

const insertX = `INSERT INTO onappupdate VALUES ('${hex(X)}', '"other"', 'other', NULL)`;
const updateX = `UPDATE onappupdate SET value = '"other"', version = 'other' WHERE key = '${hex(X)}'`;
const deleteX = `DELETE FROM onappupdate WHERE key = '${hex(X)}'`;

async function values(): Promise<Record<string, unknown>> {
  const entries: Record<string, unknown> = {};
  for await (const { key, value } of storage.list([])) entries[key.join()] = value;
  return entries;
}

/** Writes while another transaction has changed X and not committed yet. */
async function raceAgainst(
  change: string,
  end: "COMMIT" | "ROLLBACK",
  write: () => Promise<WriteResult>,
): Promise<WriteResult> {
  let result: WriteResult | undefined;
  await inTransaction(async (other) => {
    await other.query(change);
    const writing = write();
    await waitForLocks(1);
    await other.query(end);
    result = await writing;
  });
  return result!;
}

const creatingX: readonly WriteOperation[] = [
  { put: A, value: 1 },
  { put: X, value: "mine", ifVersion: null },
  { put: Z, value: 1 },
];
const replacingX = (ifVersion: string): readonly WriteOperation[] => [
  { put: A, value: 1 },
  { put: X, value: "mine", ifVersion },
  { put: Z, value: 1 },
];

async function putX(): Promise<string> {
  const result = await storage.put(X, "old");
  assert(result.ok);
  return result.version;
}

describe("postgresStorage() write, while another transaction", () => {
  it("creates its entry, is refused once that commits, and applies nothing", async () => {
    const result = await raceAgainst(insertX, "COMMIT", () => storage.write!(creatingX));
    assert.deepEqual(result, { ok: false, failedAt: 1 });
    assert.deepEqual(await values(), { x: "other" });
  });

  it("creates its entry, is applied if that rolls back", async () => {
    const result = await raceAgainst(insertX, "ROLLBACK", () => storage.write!(creatingX));
    assert.equal(result.ok, true);
    assert.deepEqual(await values(), { a: 1, x: "mine", z: 1 });
  });

  it("replaces its entry, is refused once that commits, and applies nothing", async () => {
    const version = await putX();
    const result = await raceAgainst(updateX, "COMMIT", () => storage.write!(replacingX(version)));
    assert.deepEqual(result, { ok: false, failedAt: 1 });
    assert.deepEqual(await values(), { x: "other" });
  });

  it("replaces its entry, is applied if that rolls back", async () => {
    const version = await putX();
    const result = await raceAgainst(updateX, "ROLLBACK", () => storage.write!(replacingX(version)));
    assert.equal(result.ok, true);
    assert.deepEqual(await values(), { a: 1, x: "mine", z: 1 });
  });

  it("deletes its entry, is refused once that commits", async () => {
    const version = await putX();
    const result = await raceAgainst(deleteX, "COMMIT", () => storage.write!(replacingX(version)));
    assert.deepEqual(result, { ok: false, failedAt: 1 });
    assert.deepEqual(await values(), {});
  });

  it("replaces an entry that it puts without a condition, overwrites it", async () => {
    await putX();
    const result = await raceAgainst(updateX, "COMMIT", () => storage.write!([{ put: X, value: "mine" }]));
    assert.equal(result.ok, true);
    assert.deepEqual(await values(), { x: "mine" });
  });

  it("replaces an entry that it deletes, deletes it", async () => {
    await putX();
    const result = await raceAgainst(updateX, "COMMIT", () => storage.write!([{ put: A, value: 1 }, { delete: X }]));
    assert.equal(result.ok, true);
    assert.deepEqual(await values(), { a: 1 });
  });
});

describe("postgresStorage() put and delete, while another transaction", () => {
  const CASES: readonly (readonly [string, string, (version: string) => Promise<{ readonly ok: boolean }>])[] = [
    ["replaces the entry, put with its version", updateX, (ifVersion) => storage.put(X, "mine", { ifVersion })],
    ["replaces the entry, delete with its version", updateX, (ifVersion) => storage.delete(X, { ifVersion })],
    ["deletes the entry, put with its version", deleteX, (ifVersion) => storage.put(X, "mine", { ifVersion })],
  ];
  for (const [name, change, write] of CASES) {
    it(`${name} is refused once that commits`, async () => {
      const version = await putX();
      const result = await raceAgainst(
        change,
        "COMMIT",
        async () => ({ ...await write(version), failedAt: 0 }) as WriteResult,
      );
      assert.equal(result.ok, false);
    });
  }

  it("creates the entry, put with ifVersion null is refused once that commits", async () => {
    const result = await raceAgainst(
      insertX,
      "COMMIT",
      async () => ({ ...await storage.put(X, "mine", { ifVersion: null }), failedAt: 0 }) as WriteResult,
    );
    assert.equal(result.ok, false);
    assert.deepEqual(await values(), { x: "other" });
  });
});

describe("postgresStorage() write takes its locks in key order, whatever the order of its operations,", () => {
  const operations: readonly WriteOperation[] = [{ put: Z, value: 1 }, { put: X, value: 1 }, { put: A, value: 1 }];

  /** Returns whether the write has locked A while it waits for X, which another transaction has changed. */
  async function locksA(storage: Storage, changeX: string, lockA: string): Promise<boolean> {
    let isLocked = false;
    await inTransaction(async (other) => {
      await other.query(changeX);
      const writing = storage.write!(operations);
      await waitForLocks(1);
      const third = await pool.connect();
      try {
        await third.query("BEGIN; SET LOCAL lock_timeout = 50");
        await third.query(lockA).catch(({ code }: { code?: string }) => isLocked = code === "55P03");
        await third.query("ROLLBACK");
      } finally {
        third.release();
      }
      await other.query("COMMIT");
      assert.equal((await writing).ok, true);
    });
    return isLocked;
  }
  const selectA = `SELECT 1 FROM onappupdate WHERE key = '${hex(A)}' FOR UPDATE`;
  const insertA = `INSERT INTO onappupdate VALUES ('${hex(A)}', '1', 'third', NULL)`;

  it("of entries that exist", async () => {
    await storage.write!(operations);
    assert.equal(await locksA(storage, updateX, selectA), true);
  });

  it("of new entries", async () => {
    assert.equal(await locksA(storage, insertX, insertA), true);
  });

  it("which this test would miss if they were in another order", async () => {
    await storage.write!(operations);
    const broken = withStatements(without(/ORDER BY key FOR UPDATE/, "ORDER BY key DESC FOR UPDATE"));
    assert.equal(await locksA(broken, updateX, selectA), false);
  });
});

it("postgresStorage() repeats a write after a deadlock", async () => {
  await storage.write!([{ put: A, value: 0 }, { put: X, value: 0 }]);
  const failures: unknown[] = [];
  const counting = postgresStorage({
    query: async (text, values) => {
      try {
        return await pool.query(text, values);
      } catch (error) {
        failures.push((error as { code?: string }).code);
        throw error;
      }
    },
  }, { timeoutMs: 60_000 });
  await inTransaction(async (other) => {
    // The server finds the deadlock when the storage has waited for two seconds.
    await other.query("SET LOCAL deadlock_timeout = '10min'");
    await other.query(updateX);
    const writing = counting.write!([{ put: A, value: "mine" }, { put: X, value: "mine" }]);
    await waitForLocks(1);
    await other.query(`UPDATE onappupdate SET value = '1' WHERE key = '${hex(A)}'`);
    await other.query("COMMIT");
    assert.equal((await writing).ok, true);
  });
  assert.deepEqual(failures, ["40P01"]);
  assert.deepEqual(await values(), { a: "mine", x: "mine" });
});

describe("the races find statements that", () => {
  it("do not lock what they replace", async () => {
    const broken = withStatements(without(/ORDER BY key FOR UPDATE/));
    const version = await putX();
    const result = await raceAgainst(updateX, "COMMIT", () => broken.write!(replacingX(version)));
    assert.equal(result.ok, true);
    assert.equal((await values())["x"], "mine");
  });

  it("overwrite an entry that was created meanwhile", async () => {
    const broken = withStatements(without(/key <> ALL \(ARRAY\(SELECT key FROM old\)\)/g, "false"));
    const result = await raceAgainst(insertX, "COMMIT", () => broken.write!(creatingX));
    assert.equal(result.ok, true);
    assert.equal((await values())["x"], "mine");
  });

  it("skip an entry that was created meanwhile, and apply the others", async () => {
    const broken = withStatements(
      without(
        /(IS TRUE AND key <> ALL [^\n]*?) ORDER BY key\s+\), put/,
        "$1 ORDER BY key ON CONFLICT DO NOTHING), put",
      ),
    );
    const result = await raceAgainst(insertX, "COMMIT", () => broken.write!(creatingX));
    assert.equal(result.ok, true);
    assert.deepEqual(await values(), { a: 1, x: "other", z: 1 });
  });
});
