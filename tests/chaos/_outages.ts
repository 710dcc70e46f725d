/** Simulates outages of storages. */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import type { Workers } from "./_workers.ts";
import type { Place, StorageName } from "./_storages.ts";

/**
 * Redis `hangs`: connections stay open without answers. It `dies`: it is killed, and restarted from its disk. Files are
 * `locked` by another process, so that nobody can write. The storage `fails`: all calls of all workers throw, and the last
 * writes before take effect although they throw.
 */
export type OutageKind = "hangs" | "dies" | "locked" | "fails";

/** Kinds of outages by storage. */
export const OUTAGES: Readonly<Record<StorageName, readonly OutageKind[]>> = {
  redis: ["dies", "hangs"],
  file: ["fails", "locked"],
  "deno-kv": ["fails", "locked"],
};

/** An outage, with times in milliseconds since 1970. */
export interface Downtime {
  readonly kind: OutageKind;
  readonly from: number;
  readonly to: number;
}

/** Takes the storage down for `ms` milliseconds. */
export async function simulateOutage(kind: OutageKind, ms: number, place: Place, workers: Workers): Promise<Downtime> {
  const restore = await takeDown(kind, place, workers);
  const from = Date.now();
  await sleep(ms);
  const to = Date.now();
  await restore();
  return { kind, from, to };
}

async function takeDown(kind: OutageKind, { at, server }: Place, workers: Workers): Promise<() => unknown> {
  switch (kind) {
    case "hangs":
      server!.pause();
      return () => server!.resume();
    case "dies":
      await server!.stop("SIGKILL");
      return () => server!.start();
    case "fails":
      workers.setFailing(true);
      return () => workers.setFailing(false);
    case "locked":
      return await lock(at);
  }
}

/** Locks an SQLite file. Those of Deno KV are SQLite files too. */
async function lock(path: string): Promise<() => void> {
  const db = new DatabaseSync(path);
  while (true) {
    try {
      db.exec("BEGIN IMMEDIATE");
      break;
    } catch {
      // A worker is writing. Waiting in SQLite would block this process.
      await sleep(2);
    }
  }
  return () => {
    db.exec("ROLLBACK");
    db.close();
  };
}
