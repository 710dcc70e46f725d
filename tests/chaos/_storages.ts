/** The storages of the chaos, opened by name in each process. */
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

/** The place of a storage. */
export interface Place {
  readonly name: StorageName;
  /** Path or URL. */
  readonly at: string;
  /** The server of Redis. */
  readonly server?: RedisServer;
  readonly remove: () => Promise<void>;
}

/**
 * Opens the storage at a path or URL. Closing it closes its client. `patienceMs`: how long it waits for a storage that is
 * down.
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

/** Creates a place for a storage. For Redis, starts a server. */
export async function placeFor(name: StorageName): Promise<Place> {
  if (name === "redis") {
    const server = await startRedis();
    return { name, at: `redis://127.0.0.1:${server.port}`, server, remove: server.remove };
  }
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-chaos-"));
  const remove = (): Promise<void> => Promise.resolve(rmSync(folder, { recursive: true, force: true }));
  return { name, at: join(folder, "app.db"), remove };
}
