import assert from "node:assert/strict";
import type { Storage } from "@b24/onappupdate";
import type { Key } from "@b24/onappupdate/storage";
import { StorageError } from "@b24/onappupdate/errors";
import { postgresStorage, type PostgresStorageOptions } from "@b24/onappupdate/postgres-storage";
import pg from "pg";
import { type PostgresServer, startPostgres } from "../../scripts/postgres_server.ts";
import { connectPostgres, type OpenPostgresClient, startPostgresProxy } from "../support/postgres.ts";
import type { Proxy } from "../support/proxy.ts";
import { after, afterEach, before, beforeEach, describe, it } from "../support/test.ts";
import { until } from "../support/until.ts";

const KEY: Key = ["portal", "a223"];
const BYTES = "portal\\000a223\\000";

let server: PostgresServer;
let admin: pg.Pool;
/** On a connection that nothing breaks. */
let other: Storage;
before(async () => {
  server = await startPostgres();
  admin = new pg.Pool({ connectionString: server.url });
  admin.on("error", () => {});
  other = postgresStorage(admin);
});
after(async () => {
  await admin.end();
  await server.remove();
});
beforeEach(async () => {
  await other.delete(KEY);
  await admin.query("TRUNCATE onappupdate");
});

async function put(value: unknown): Promise<string> {
  const result = await other.put(KEY, value);
  assert(result.ok);
  return result.version;
}

/** Waits until a connection of a storage waits for a lock. */
async function waitForLock(): Promise<void> {
  await until("a connection waits for a lock", async () => {
    const { rows } = await admin.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
    return rows.length > 0;
  });
}

async function waitForNoLock(): Promise<void> {
  await until("no connection waits for a lock", async () => {
    const { rows } = await admin.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
    return rows.length === 0;
  });
}

/**
 * Runs `write` while another transaction holds the entry, and breaks its connection. The server finishes the statement,
 * and cannot reply.
 */
async function loseReply<R>(proxy: Proxy, write: () => Promise<R>, meanwhile = async () => {}): Promise<R> {
  const holder = await admin.connect();
  let writing: Promise<R>;
  try {
    await holder.query("BEGIN");
    await holder.query(`SELECT 1 FROM onappupdate WHERE key = '${BYTES}' FOR UPDATE`);
    writing = write();
    writing.catch(() => {});
    await waitForLock();
    await proxy.stop();
    await holder.query("COMMIT");
    await waitForNoLock();
    await meanwhile();
  } finally {
    holder.release();
  }
  await proxy.start();
  return await writing;
}

for (const library of ["pg", "Postgres.js"] as const) {
  const opened: OpenPostgresClient[] = [];
  const proxies: Proxy[] = [];
  afterEach(async () => {
    await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
    await Promise.all(opened.splice(0).map(({ close }) => close()));
  });

  const open = (options: PostgresStorageOptions = {}, url = server.url, max?: number): Storage => {
    const client = connectPostgres(library, url, max);
    opened.push(client);
    return postgresStorage(client.client, options);
  };
  const openBehind = async (options?: PostgresStorageOptions): Promise<{ storage: Storage; proxy: Proxy }> => {
    const proxy = await startPostgresProxy(server.port);
    proxies.push(proxy);
    return { storage: open(options, server.url.replace(`${server.port}`, `${proxy.port}`)), proxy };
  };

  describe(`postgresStorage() with ${library}, if a reply is lost,`, () => {
    it("recognizes a put that was done", async () => {
      const { storage, proxy } = await openBehind();
      for (const condition of [false, true]) {
        const ifVersion = await put(1);
        const result = await loseReply(proxy, () => storage.put(KEY, 2, condition ? { ifVersion } : {}));
        assert(result.ok);
        assert.deepEqual(await other.get(KEY), { key: KEY, value: 2, version: result.version });
      }
    });

    it("recognizes a write that was done", async () => {
      const ifVersion = await put(1);
      const { storage, proxy } = await openBehind();
      const result = await loseReply(
        proxy,
        () => storage.write!([{ put: ["a"], value: 1 }, { put: KEY, value: 2, ifVersion }, { delete: ["b"] }]),
      );
      assert(result.ok);
      assert.equal((await other.get(KEY))?.version, result.versions[1]);
      assert.equal((await other.get(["a"]))?.version, result.versions[0]);
    });

    it("rejects if another process has replaced what may have been written", async () => {
      const ifVersion = await put(1);
      const { storage, proxy } = await openBehind();
      const writing = loseReply(proxy, () => storage.put(KEY, 2, { ifVersion }), async () => void await put(3));
      await assert.rejects(writing, {
        name: "StorageError",
        message: 'cannot put ["portal","a223"] into PostgreSQL: the connection was lost, so the outcome is unknown',
      });
      assert.equal((await other.get(KEY))?.value, 3);
    });

    it("rejects a delete with a version, which leaves nothing to look for", async () => {
      const ifVersion = await put(1);
      const { storage, proxy } = await openBehind();
      await assert.rejects(loseReply(proxy, () => storage.delete(KEY, { ifVersion })), StorageError);
      assert.equal(await other.get(KEY), null);
    });
  });

  describe(`postgresStorage() with ${library}, if the server`, () => {
    it("ends all connections all the time, loses no increment and does none twice", async () => {
      const storage = open();
      await storage.put(KEY, []);
      let isDone = false;
      const ending = (async () => {
        while (!isDone) {
          await admin.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%onappupdate%'",
          ).catch(() => {});
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
      })();
      const append = async (id: string): Promise<void> => {
        for (;;) {
          try {
            const { value, version } = (await storage.get<string[]>(KEY))!;
            if (value.includes(id)) return;
            const result = await storage.write!([{ put: ["log", id], value: 1 }, {
              put: KEY,
              value: [...value, id],
              ifVersion: version,
            }]);
            if (result.ok) return;
          } catch (error) {
            if (!(error instanceof StorageError)) throw error;
          }
        }
      };
      try {
        await Promise.all(Array.from({ length: 4 }, async (_, writer) => {
          for (let i = 0; i < 10; i++) await append(`${writer}-${i}`);
        }));
      } finally {
        isDone = true;
        await ending;
      }
      const ids = (await other.get<string[]>(KEY))!.value;
      assert.equal(ids.length, 40);
      assert.equal(new Set(ids).size, 40);
    });

    it("is killed and started again, every call resolves as soon as it is up", async () => {
      const storage = open({ timeoutMs: 30_000 });
      const version = await put(1);
      await storage.get(KEY);
      await server.stop("SIGKILL");
      const calls = [
        storage.get(KEY).then((entry) => entry?.value),
        storage.put(KEY, 1, { ifVersion: version }).then(({ ok }) => ok),
        storage.list(["none"])[Symbol.asyncIterator]().next().then(({ done }) => done),
      ];
      await server.start();
      assert.deepEqual(await Promise.all(calls), [1, true, true]);
    });

    it("is unreachable, calls reject with the reason", async () => {
      const storage = open({ timeoutMs: 300 }, "postgres://postgres@127.0.0.1:1/postgres");
      await assert.rejects(storage.get(KEY), (error: Error) => {
        assert(error instanceof StorageError);
        assert.match(
          error.message,
          /^cannot get \["portal","a223"\] from PostgreSQL: .*ECONNREFUSED.* for 300 milliseconds$/,
        );
        return true;
      });
    });

    it("refuses the password, calls reject at once", async () => {
      const storage = open({ timeoutMs: 60_000 }, server.url.replace("postgres@", "nobody@"));
      await assert.rejects(storage.get(KEY), /role "nobody" does not exist/);
    });

    it("does not answer, a signal and the time limit end the call", async () => {
      const { storage, proxy } = await openBehind({ timeoutMs: 400 });
      await storage.get(KEY);
      proxy.delay(60_000);
      const reason = new Error("given up");
      await assert.rejects(storage.get(KEY, { signal: AbortSignal.timeout(20) }), { name: "TimeoutError" });
      await assert.rejects(storage.put(KEY, 1, { signal: AbortSignal.abort(reason) }), reason);
      await assert.rejects(storage.put(KEY, 1), /no reply for 400 milliseconds/);
      assert.equal(await other.get(["none"]), null);
    });
  });

  it(`postgresStorage() with ${library} rejects when all connections are taken, and works when one is free`, async () => {
    const storage = open({ timeoutMs: 300 }, server.url, 1);
    await put(1);
    const holder = await admin.connect();
    try {
      await holder.query("BEGIN");
      await holder.query(`SELECT 1 FROM onappupdate WHERE key = '${BYTES}' FOR UPDATE`);
      const waiting = storage.put(KEY, 2);
      waiting.catch(() => {});
      await waitForLock();
      await assert.rejects(storage.get(KEY), StorageError);
      await assert.rejects(waiting, StorageError);
    } finally {
      await holder.query("COMMIT");
      holder.release();
    }
    await until("the connection is free", () => storage.get(KEY).then(() => true, () => false));
    assert.equal((await storage.get(KEY))?.value, 2);
  });
}
