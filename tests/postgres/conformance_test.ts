import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Storage } from "@b24/onappupdate";
import { postgresStorage } from "@b24/onappupdate/postgres-storage";
import { storageConformance } from "@b24/onappupdate/testing";
import pg from "pg";
import { type PostgresServer, startPostgres } from "../../scripts/postgres_server.ts";
import { deadlineFactor } from "../../scripts/test_run.ts";
import { connectPostgres, fullDisk, type OpenPostgresClient, startPostgresProxy } from "../support/postgres.ts";
import { runArgs } from "../support/process.ts";
import type { Proxy } from "../support/proxy.ts";
import { after, before, test } from "../support/test.ts";

const WORKER = fileURLToPath(new URL("postgres_storage_worker.ts", import.meta.url));

/** Enough for 1,200 calls at once on ten connections, and less than the suite waits for a storage that is down. */
const TIMEOUT_MS = 5000 * Math.min(deadlineFactor(), 4);

let server: PostgresServer;
let admin: pg.Pool;
before(async () => {
  server = await startPostgres();
  admin = new pg.Pool({ connectionString: server.url });
});
after(async () => {
  await admin.end();
  await server.remove();
});

interface Opened extends OpenPostgresClient {
  readonly proxy: Proxy;
  readonly table: string;
}

const opened = new Map<Storage, Opened>();
const CASES = [["pg", "read committed"], ["pg", "serializable"], ["Postgres.js", "read committed"]] as const;
for (const [library, isolation] of CASES) {
  storageConformance({
    name: `postgresStorage, ${library}, ${isolation}`,
    test,
    clock: "real",
    create: async () => {
      await admin.query(`ALTER ROLE postgres SET default_transaction_isolation = '${isolation}'`);
      const proxy = await startPostgresProxy(server.port);
      const client = connectPostgres(library, server.url.replace(`${server.port}`, `${proxy.port}`));
      const table = `case${opened.size}`;
      const storage = postgresStorage(client.client, { table, timeoutMs: TIMEOUT_MS });
      opened.set(storage, { ...client, proxy, table });
      await storage.delete(["none"]); // creates the table
      return storage;
    },
    dispose: async (storage) => {
      const { close, proxy } = opened.get(storage)!;
      await close();
      await proxy.stop();
    },
    worker: (storage) => ({
      command: process.execPath,
      args: [...runArgs, WORKER, library, server.url, opened.get(storage)!.table],
    }),
    backend: {
      of: (storage) => {
        const { proxy: { stop, start, delay, loseReply }, table } = opened.get(storage)!;
        return {
          ...{ stop, start },
          delay: (ms) => Promise.resolve(delay(ms)),
          loseReply: () => Promise.resolve(loseReply()),
          ...fullDisk((sql) => admin.query(sql), table),
        };
      },
      can: ["stop", "start", "delay", "loseReply", "fill", "drain"],
    },
  });
}
