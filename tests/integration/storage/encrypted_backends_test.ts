import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { PGlite } from "@electric-sql/pglite";
import { encrypted, type Storage } from "@b24/onappupdate";
import { copyStorage, type Key } from "@b24/onappupdate/storage";
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { postgresStorage } from "@b24/onappupdate/postgres-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { storageConformance } from "@b24/onappupdate/testing";
import { connectRedis, type SharedRedis, sharedRedis, startCluster } from "../../support/redis.ts";
import { openKv } from "../../support/deno_kv.ts";
import { rotating } from "../../support/keys.ts";
import { root, runArgs } from "../../support/process.ts";
import { after, before, describe, it, test } from "../../support/test.ts";

type Cluster = Awaited<ReturnType<typeof startCluster>>;

let server: SharedRedis;
let cluster: Cluster;
let database: PGlite;
before(async () => {
  [server, cluster, database] = await Promise.all([sharedRedis(), startCluster(), PGlite.create()]);
});
after(() => Promise.all([server?.remove(), cluster?.remove(), database?.close()]));

const closers = new WeakMap<Storage, () => void>();

/** Registers how a storage is closed after its test. */
function closing(storage: Storage, close: () => void): Storage {
  closers.set(storage, close);
  return storage;
}

/** Unique to this run, because the server is shared. */
const run = crypto.randomUUID();
let cases = 0;

async function overRedis(
  library: "node-redis" | "ioredis",
  ports: readonly number[],
  clock?: () => number,
): Promise<Storage> {
  const { client, close } = await connectRedis(library, ports);
  const prefix = `encrypted ${run} ${++cases}`;
  return closing(
    encrypted(redisStorage(client, clock === undefined ? { prefix } : { prefix, clock }), rotating),
    close,
  );
}

async function overKv(clock?: () => number): Promise<Storage> {
  const kv = await openKv(":memory:");
  return closing(encrypted(denoKvStorage(kv, clock === undefined ? {} : { clock }), rotating), () => kv.close());
}

async function overPostgres(clock?: () => number): Promise<Storage> {
  const table = `case_${++cases}`;
  const storage = postgresStorage(database, clock === undefined ? { table } : { table, clock });
  await storage.delete(["none"]); // creates the table
  return closing(encrypted(storage, rotating), () => {});
}

const BACKENDS: Readonly<Record<string, (clock?: () => number) => Promise<Storage>>> = {
  "denoKvStorage": overKv,
  "postgresStorage": overPostgres,
  "redisStorage, node-redis": (clock) => overRedis("node-redis", [server.port], clock),
  "redisStorage, ioredis": (clock) => overRedis("ioredis", [server.port], clock),
  "redisStorage, cluster, node-redis": (clock) => overRedis("node-redis", cluster.ports, clock),
  "redisStorage, cluster, ioredis": (clock) => overRedis("ioredis", cluster.ports, clock),
};

for (const [name, create] of Object.entries(BACKENDS)) {
  storageConformance({
    name: `encrypted(${name})`,
    test,
    clock: "injected",
    create,
    // Processes share what is below the encryption, which has tests of its own.
    worker: false,
    dispose: (storage) => closers.get(storage)!(),
  });
}

const folders = new Map<Storage, string>();
storageConformance({
  name: "encrypted(fileStorage)",
  test,
  clock: "injected",
  create: (clock) => {
    const folder = mkdtempSync(join(tmpdir(), "encrypted-"));
    const storage = encrypted(fileStorage({ path: join(folder, "app.db"), clock }), rotating);
    folders.set(storage, folder);
    return storage;
  },
  dispose: async (storage) => {
    await storage.close?.();
    rmSync(folders.get(storage)!, { recursive: true });
  },
  worker: (storage) => ({
    command: process.execPath,
    args: [
      ...runArgs,
      join(root, "tests/integration/storage/encrypted_worker.ts"),
      join(folders.get(storage)!, "app.db"),
    ],
  }),
});

describe("copyStorage() from a file", () => {
  for (const [name, create] of Object.entries(BACKENDS)) {
    it(`to encrypted(${name}) and back loses nothing`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "moving-"));
      const from = fileStorage({ path: join(folder, "from.db") });
      const back = fileStorage({ path: join(folder, "back.db") });
      const to = await create();
      try {
        const keys = Array.from({ length: 150 }, (_, i): Key => ["moved", `${i}`, i % 2 === 0 ? "\0" : "\u{1F600}"]);
        for (const [i, key] of keys.entries()) {
          await from.put(key, { i, text: "x".repeat(i * 20) }, i % 5 === 0 ? { ttlMs: 3_600_000 } : {});
        }
        assert.deepEqual(await copyStorage(from, to), { copied: 150, same: 0, extra: 0 });
        assert.deepEqual(await copyStorage(from, to), { copied: 0, same: 150, extra: 0 });
        assert.deepEqual(await copyStorage(to, back), { copied: 150, same: 0, extra: 0 });
        assert.deepEqual(await copyStorage(from, back), { copied: 0, same: 150, extra: 0 });
      } finally {
        closers.get(to)!();
        await from.close?.();
        await back.close?.();
        rmSync(folder, { recursive: true });
      }
    });
  }
});
