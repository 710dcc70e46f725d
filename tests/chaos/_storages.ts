/** The storages under which there is chaos, opened by name in each of its processes. */
import type { Storage } from "@b24/onappupdate";
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "redis";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { openKv } from "../support/deno_kv.ts";

export type StorageName = "file" | "redis" | "deno-kv";

/** Where a storage is. */
export interface Place {
  readonly name: StorageName;
  /** A file or an address. */
  readonly at: string;
  /** Of Redis. */
  readonly server?: RedisServer;
  readonly remove: () => Promise<void>;
}

/**
 * Opens the storage that is `at` a place. Whoever closes it closes its client, too. `patienceMs`: how long it waits for
 * one that is down.
 */
export async function openStorage(name: StorageName, at: string, patienceMs: number = 5000): Promise<Storage> {
  if (name === "file") return fileStorage({ path: at, busyTimeoutMs: patienceMs });
  if (name === "deno-kv") {
    const kv = await openKv(at);
    return { ...denoKvStorage(kv, { timeoutMs: patienceMs }), close: () => Promise.resolve(kv.close()) };
  }
  const client = createClient({ url: at });
  client.on("error", () => {});
  await client.connect();
  return { ...redisStorage(client, { timeoutMs: patienceMs }), close: () => client.close() };
}

/** Makes a place for a storage; of Redis it starts a server. */
export async function placeFor(name: StorageName): Promise<Place> {
  if (name === "redis") {
    const server = await startRedis();
    return { name, at: `redis://127.0.0.1:${server.port}`, server, remove: server.remove };
  }
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-chaos-"));
  const remove = (): Promise<void> => Promise.resolve(rmSync(folder, { recursive: true, force: true }));
  return { name, at: join(folder, "app.db"), remove };
}
