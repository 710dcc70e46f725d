import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Storage } from "@b24/onappupdate";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { storageConformance, type StorageWorkerCommand } from "@b24/onappupdate/testing";
import type { Proxy } from "../../../support/proxy.ts";
import { connectRedis, type OpenClient, startRedis, startRedisProxy } from "../../../support/redis.ts";
import { runArgs } from "../../../support/process.ts";
import { after, test } from "../../../support/test.ts";

const WORKER = fileURLToPath(new URL("redis_storage_worker.ts", import.meta.url));

const server = await startRedis("--appendonly", "no");
after(() => server.remove());

interface Opened extends OpenClient {
  readonly proxy: Proxy;
  readonly command: StorageWorkerCommand;
}

const opened = new Map<Storage, Opened>();
for (const [library, clock] of [["node-redis", "injected"], ["node-redis", "real"], ["ioredis", "real"]] as const) {
  storageConformance({
    name: `redisStorage, ${library}, ${clock} clock`,
    test,
    clock,
    create: async (time) => {
      const proxy = await startRedisProxy(server.port);
      const { client, close } = await connectRedis(library, [proxy.port]);
      const prefix = `case ${opened.size}`;
      const options = { prefix, timeoutMs: 6000 };
      const storage = redisStorage(client, clock === "injected" ? { ...options, clock: time } : options);
      const args = [...runArgs, WORKER, library, String(server.port), prefix];
      opened.set(storage, { client, close, proxy, command: { command: process.execPath, args } });
      // The first call learns the server's time and loads the scripts, so that a test's first request is its own.
      await storage.delete(["none"]);
      return storage;
    },
    dispose: async (storage) => {
      const { close, proxy } = opened.get(storage)!;
      close();
      await proxy.stop();
    },
    // The processes use the system's clock.
    worker: clock === "real" && ((storage) => opened.get(storage)!.command),
    backend: {
      of: (storage) => {
        const { stop, start, delay, loseReply } = opened.get(storage)!.proxy;
        return {
          stop,
          start,
          delay: (ms) => Promise.resolve(delay(ms)),
          loseReply: () => Promise.resolve(loseReply()),
          fill: async () => void await server.command("CONFIG", "SET", "maxmemory", "1mb"),
          drain: async () => void await server.command("CONFIG", "SET", "maxmemory", "0"),
        };
      },
      can: ["stop", "start", "delay", "loseReply", "fill", "drain"],
    },
  });
}
