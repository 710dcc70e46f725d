/** The backends of the benchmarks: a storage over each, and the bare client. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { createClient } from "redis";

export const BACKENDS = ["memory", "Redis", "file", "Deno KV"] as const;

export type Backend = typeof BACKENDS[number];

/** Writes a value by the bare client, as durably as the storage does. */
export type BarePut = (key: string, value: string) => unknown;

/** Returns a new folder in memory, if the host has one there. */
export function memoryFolder(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "onappupdate-bench-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

const openKv = async (path: string): Promise<Deno.Kv> =>
  "Deno" in globalThis ? await Deno.openKv(path) : await (await import("@deno/kv")).openKv(path) as unknown as Deno.Kv;

/** Returns a client of node-redis, which is not connected yet. */
const redisClient = (port: number) => createClient({ socket: { host: "127.0.0.1", port } });

/** Opens the storage of a backend, whose `close` closes the client, too. `folder` is for files, `redisPort` for Redis. */
export async function openStorage(backend: Backend, folder: string, redisPort: number): Promise<Storage> {
  if (backend === "memory") return memoryStorage();
  if (backend === "file") return fileStorage({ path: join(folder, "storage.db") });
  if (backend === "Deno KV") {
    const kv = await openKv(join(folder, "storage.kv"));
    return { ...denoKvStorage(kv), close: () => Promise.resolve(kv.close()) };
  }
  const client = await redisClient(redisPort).connect();
  return { ...redisStorage(client), close: () => client.close() };
}

/** Opens the bare client of a backend. */
export async function openBare(backend: Backend, folder: string, redisPort: number): Promise<BarePut> {
  if (backend === "memory") {
    const values = new Map<string, string>();
    return (key, value) => values.set(key, value);
  }
  if (backend === "file") {
    const db = new DatabaseSync(join(folder, "bare.db"));
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      CREATE TABLE entries (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT`);
    const insert = db.prepare("INSERT INTO entries VALUES (?, ?)");
    return (key, value) => insert.run(key, value);
  }
  if (backend === "Deno KV") {
    const kv = await openKv(join(folder, "bare.kv"));
    return (key, value) => kv.set([key], value);
  }
  const client = await redisClient(redisPort).connect();
  return (key, value) => client.set(`bare:${key}`, value);
}
