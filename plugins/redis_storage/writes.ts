/** Writes and deletes entries. */
import type { Key } from "../../storage.ts";
import type { Context } from "./context.ts";
import { syncClock } from "./context.ts";
import { entryHeader, notAnEntry } from "./entries.ts";
import { readEntry } from "./reads.ts";
import type { Operation } from "./script_runner.ts";
import { ABSENT, DONE, FOREIGN, TOO_LATE, UNCONDITIONAL, WRITE } from "./scripts.ts";

/** A put of one entry, or a deletion. */
export interface EntryWrite {
  readonly key: Key;
  readonly ifVersion: string | null | undefined;
  /** Unique id. The server stores the receipt of the write under it. */
  readonly id: string;
  /** The encoded entry. Absent: the write deletes. */
  readonly text?: string;
  readonly ttlMs?: number | undefined;
}

/**
 * Resolves to whether the condition held and the write was done. One request; the first write of a storage takes two.
 *
 * @throws {StorageError} if the server refuses the write, or other data is stored under the key
 */
export async function writeEntry(context: Context, operation: Operation, write: EntryWrite): Promise<boolean> {
  const { runScript, keyspace, timeoutMs, clock } = context;
  const { key, id, text = "", ttlMs } = write;
  const condition = encodeCondition(write.ifVersion);
  const deadline = Date.now() + timeoutMs;
  const status = await runScript({
    operation,
    script: WRITE,
    keys: [keyspace.keys, keyspace.entry(key), keyspace.expiry, keyspace.receipt(id)],
    args: () => {
      const { serverAheadMs } = context;
      // While the server's clock is unknown, a deadline of 0: the server replies with its time and does nothing.
      const serverDeadline = serverAheadMs === undefined ? "0" : String(Math.ceil(deadline + serverAheadMs));
      const args = [serverDeadline, condition, text, ttlMs === undefined ? "" : String(ttlMs)];
      return clock === undefined ? args : [...args, String(clock())];
    },
    parse: (reply) => {
      const status = Number(reply) % 4;
      syncClock(context, Math.floor(Number(reply) / 4));
      return status === TOO_LATE ? undefined : status;
    },
  });
  if (status !== FOREIGN) return status === DONE;
  await readEntry(context, operation, key); // throws the more specific error
  throw notAnEntry(key);
}

function encodeCondition(ifVersion: string | null | undefined): string {
  return ifVersion === undefined ? UNCONDITIONAL : ifVersion === null ? ABSENT : entryHeader(ifVersion);
}
