import assert from "node:assert/strict";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Storage } from "@b24/onappupdate";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { storageConformance, type StorageWorkerCommand } from "@b24/onappupdate/testing";
import { connectRedis, type OpenClient, startCluster } from "../../../support/redis.ts";
import { runArgs } from "../../../support/process.ts";
import { after, describe, it, test } from "../../../support/test.ts";

const WORKER = fileURLToPath(new URL("redis_storage_worker.ts", import.meta.url));
const LIBRARIES = ["node-redis", "ioredis"] as const;

const cluster = await startCluster();
after(() => cluster.remove());

interface Opened extends OpenClient {
  readonly command: StorageWorkerCommand;
}

const opened = new Map<Storage, Opened>();
for (const library of LIBRARIES) {
  storageConformance({
    name: `redisStorage, cluster, ${library}`,
    test,
    clock: "real",
    create: async () => {
      const { client, close } = await connectRedis(library, cluster.ports);
      // The prefixes have slots on all three nodes.
      const prefix = `case ${opened.size}`;
      const storage = redisStorage(client, { prefix });
      const args = [...runArgs, WORKER, library, cluster.ports.join(), prefix];
      opened.set(storage, { client, close, command: { command: process.execPath, args } });
      return storage;
    },
    dispose: (storage) => opened.get(storage)!.close(),
    worker: (storage) => opened.get(storage)!.command,
  });
}

describe("redisStorage() on a cluster", () => {
  it("stores all keys of a prefix in one hash slot, and other prefixes on other nodes", async () => {
    for (const node of cluster.nodes) await node.command("FLUSHALL");
    const { client, close } = await connectRedis("node-redis", cluster.ports);
    try {
      for (const prefix of ["a", "b", "c", "d", "e", "f"]) {
        const storage = redisStorage(client, { prefix });
        for (const key of ["1", "2", "{3}"]) await storage.put([key], 1, { ttlMs: 60_000 });
      }
      const slots = new Map<string, Set<number>>();
      let inUse = 0;
      for (const node of cluster.nodes) {
        const keys = await node.command<string[]>("KEYS", "*");
        if (keys.length > 0) inUse++;
        for (const key of keys) {
          const prefix = /^\{(\w)\}:(entry|keys|expiry|receipt)/.exec(key)![1]!;
          const slot = await node.command<number>("CLUSTER", "KEYSLOT", key);
          slots.set(prefix, (slots.get(prefix) ?? new Set()).add(slot));
        }
      }
      assert.equal(inUse, 3, "nodes with keys");
      assert.deepEqual([...slots.values()].map(({ size }) => size), [1, 1, 1, 1, 1, 1]);
    } finally {
      close();
    }
  });

  for (const library of LIBRARIES) {
    it(`reads by a script, which only masters run, with ${library}`, async () => {
      const { client, close } = await connectRedis(library, cluster.ports);
      try {
        const storage = redisStorage(client);
        await storage.put(["a"], 1);
        for (const node of cluster.nodes) await node.command("CONFIG", "RESETSTAT");
        assert.equal((await storage.get(["a"]))?.value, 1);
        const stats = await Promise.all(cluster.nodes.map((node) => node.command("INFO", "commandstats")));
        const calls = [...stats.join("\n").matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)];
        assert.equal(calls.length, 1);
      } finally {
        close();
      }
    });

    it(`follows its slot to another node, with ${library}`, async () => {
      const { client, close } = await connectRedis(library, cluster.ports);
      try {
        const storage = redisStorage(client, { prefix: library });
        await storage.put(["a"], 1);
        await moveSlotOf(`{${library}}:keys`);
        assert.equal((await storage.get(["a"]))?.value, 1);
        assert.equal((await storage.put(["a"], 2)).ok, true);
        const listed: unknown[] = [];
        for await (const { value } of storage.list([])) listed.push(value);
        assert.deepEqual(listed, [2]);
        const result = await storage.write!([{ put: ["b"], value: 3 }, { put: ["a"], value: 3 }, { delete: ["c"] }]);
        assert.equal(result.ok, true);
      } finally {
        close();
      }
    });
  }
});

/** Moves the slot of `key` with all its keys to the next node. */
async function moveSlotOf(key: string): Promise<void> {
  const slot = String(await cluster.nodes[0]!.command<number>("CLUSTER", "KEYSLOT", key));
  const holds = await Promise.all(
    cluster.nodes.map(async (node) => await node.command<number>("CLUSTER", "COUNTKEYSINSLOT", slot) > 0),
  );
  const i = holds.indexOf(true);
  const [from, to] = [cluster.nodes[i]!, cluster.nodes[(i + 1) % 3]!];
  const [fromId, toId] = [await from.command("CLUSTER", "MYID"), await to.command("CLUSTER", "MYID")];
  await to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
  await from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
  const keys = await from.command<string[]>("CLUSTER", "GETKEYSINSLOT", slot, "100");
  await from.command("MIGRATE", "127.0.0.1", String(to.port), "", "0", "5000", "KEYS", ...keys);
  for (const node of [to, from]) await node.command("CLUSTER", "SETSLOT", slot, "NODE", toId);
}
