import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { type StorageBackend, storageConformance } from "@b24/onappupdate/testing";
import { type LibsqlClient, libsqlStorage } from "../../examples/_libsql_storage.ts";
import { root, runArgs } from "../support/process.ts";
import { after, before, describe, it, test } from "../support/test.ts";
import { type Libsql, startLibsql } from "./_libsql.ts";

let libsql: Libsql;
before(async () => {
  libsql = await startLibsql();
});
after(() => libsql.close());

const WORKER = fileURLToPath(new URL("libsql_storage_worker.ts", import.meta.url));
const backends = new Map<Storage, StorageBackend>();

storageConformance({
  name: "examples/_libsql_storage.ts",
  test,
  clock: "real",
  create: () => {
    libsql.exec("DELETE FROM b24_entries");
    const { client, backend } = withFaults(libsql.client);
    const storage = libsqlStorage(client);
    backends.set(storage, backend);
    return storage;
  },
  worker: () => ({ command: process.execPath, args: [...runArgs, WORKER, String(libsql.port)] }),
  backend: {
    of: (storage) => backends.get(storage)!,
    can: ["stop", "start", "delay", "loseReply", "fill", "drain"],
  },
});

/** Returns a client with faults between it and the server, and the backend that injects them. */
function withFaults(
  client: LibsqlClient,
): { readonly client: LibsqlClient; readonly backend: Required<StorageBackend> } {
  let isDown = false, isFull = false, losesReply = false, delayMs = 0;
  return {
    client: {
      execute: async (statement) => {
        if (isDown) throw new Error("fetch failed");
        if (isFull && /^(INSERT|UPDATE)/.test(statement.sql)) throw new Error("SQLITE_FULL: database or disk is full");
        const result = await client.execute(statement);
        // After the statement, so that none is executed after the next test has started.
        if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
        if (!losesReply || !/^(INSERT|UPDATE|DELETE)/.test(statement.sql)) return result;
        losesReply = false;
        throw new Error("fetch failed");
      },
    },
    backend: {
      stop: () => Promise.resolve(void (isDown = true)),
      start: () => Promise.resolve(void (isDown = false)),
      delay: (ms) => Promise.resolve(void (delayMs = ms)),
      loseReply: () => Promise.resolve(void (losesReply = true)),
      fill: () => Promise.resolve(void (isFull = true)),
      drain: () => Promise.resolve(void (isFull = false)),
    },
  };
}

describe("examples/_libsql_storage.ts", () => {
  it("removes expired entries at every 64th write", async () => {
    libsql.exec("DELETE FROM b24_entries");
    const storage = libsqlStorage(libsql.client);
    for (let i = 0; i < 63; i++) await storage.put(["gone", String(i)], 1, { ttlMs: 0 });
    await storage.put(["stays"], 1, { ttlMs: 3_600_000 });
    const { rows } = await libsql.client.execute({ sql: "SELECT count(*) AS count FROM b24_entries", args: [] });
    assert.deepEqual(rows.map((row) => ({ ...row as object })), [{ count: 1 }]);
  });

  it("rejects after its timeout", async () => {
    const storage = libsqlStorage({ execute: () => new Promise(() => {}) }, { timeoutMs: 5 });
    await assert.rejects(storage.get(["a"]), {
      name: "StorageError",
      message: `cannot get ["a"] from libSQL: no reply for 5 milliseconds`,
    });
  });

  it("recognizes a put whose reply was lost", async () => {
    const { client, backend } = withFaults(libsql.client);
    const storage = libsqlStorage(client);
    await backend.loseReply();
    const { ok } = await storage.put(["lost"], 1);
    assert.equal(ok, true);
  });

  it("rejects with a StorageError without its table", async () => {
    libsql.exec("ALTER TABLE b24_entries RENAME TO hidden");
    try {
      await assert.rejects(libsqlStorage(libsql.client).get(["a"]), (error) => {
        assert(error instanceof StorageError);
        assert.equal(error.message, `cannot get ["a"] from libSQL: no such table: b24_entries`);
        return true;
      });
    } finally {
      libsql.exec("ALTER TABLE hidden RENAME TO b24_entries");
    }
  });
});

describe("docs/writing-a-storage.md", () => {
  const read = (file: string): string => readFileSync(join(root, file), "utf8");
  const squeezed = (text: string): string => text.replaceAll(/\s+/g, "");

  it("quotes the example and its tests exactly", () => {
    const sources = [
      "examples/_libsql_storage.ts",
      "tests/docs/libsql_storage_test.ts",
      "tests/docs/libsql_storage_worker.ts",
    ].map((file) => squeezed(read(file)));
    const quotes = [...read("docs/writing-a-storage.md").matchAll(/^```typescript\n([\s\S]*?)^```$/gm)];
    assert(quotes.length > 0);
    for (const [, quote] of quotes) {
      assert(sources.some((source) => source.includes(squeezed(quote!))), `no file has\n${quote}`);
    }
  });

  it("states the length of the example: 100 lines at most", () => {
    assert(read("examples/_libsql_storage.ts").trimEnd().split("\n").length <= 100);
  });
});
