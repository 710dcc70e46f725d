/** How a storage goes down for a while, and comes back. */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import type { Crew } from "./_crew.ts";
import type { Place, StorageName } from "./_storages.ts";

/**
 * Redis `hangs`, with connections that stay and answer nothing, or `dies` and is started again on what is on its disk.
 * Files are `locked` by another process, which keeps all others from writing; or every call of the storage `fails`, in
 * every worker, and of the last writes before that only the answer is lost.
 */
export type OutageKind = "hangs" | "dies" | "locked" | "fails";

/** Which storage has which. */
export const OUTAGES: Readonly<Record<StorageName, readonly OutageKind[]>> = {
  redis: ["dies", "hangs"],
  file: ["fails", "locked"],
  "deno-kv": ["fails", "locked"],
};

/** When a storage was down, in milliseconds since 1970. */
export interface Downtime {
  readonly kind: OutageKind;
  readonly from: number;
  readonly to: number;
}

/** Takes the storage down, and brings it back after so many milliseconds. */
export async function breakDown(kind: OutageKind, ms: number, place: Place, crew: Crew): Promise<Downtime> {
  const bringBack = await takeDown(kind, place, crew);
  const from = Date.now();
  await sleep(ms);
  const to = Date.now();
  await bringBack();
  return { kind, from, to };
}

async function takeDown(kind: OutageKind, { at, server }: Place, crew: Crew): Promise<() => unknown> {
  switch (kind) {
    case "hangs":
      server!.pause();
      return () => server!.resume();
    case "dies":
      await server!.stop("SIGKILL");
      return () => server!.start();
    case "fails":
      crew.setFailing(true);
      return () => crew.setFailing(false);
    case "locked":
      return await lock(at);
  }
}

/** Takes the right to write to an SQLite file, which Deno KV's are too. */
async function lock(path: string): Promise<() => void> {
  const db = new DatabaseSync(path);
  while (true) {
    try {
      db.exec("BEGIN IMMEDIATE");
      break;
    } catch {
      // A worker is writing. Waiting in SQLite would keep this process from hearing what the workers tell.
      await sleep(2);
    }
  }
  return () => {
    db.exec("ROLLBACK");
    db.close();
  };
}
