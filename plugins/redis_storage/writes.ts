/** Writes and deletes entries. */
import type { EncodedOperation, WriteResult } from "../../storage.ts";
import type { Context } from "./context.ts";
import { syncClock } from "./context.ts";
import { encodeEntry, entryHeader, notAnEntry } from "./entries.ts";
import { readEntry } from "./reads.ts";
import type { Operation } from "./script_runner.ts";
import { ABSENT, FOREIGN, REFUSED, TOO_LATE, UNCONDITIONAL, WRITE } from "./scripts.ts";

/** A put of one entry, or a deletion. */
export type EntryWrite = Omit<EncodedOperation, "encodedKey">;

/**
 * Applies all operations, or none if a condition does not hold. One request; the first write of a storage takes two.
 *
 * @throws {StorageError} if the server refuses the write, or other data is stored under a key
 */
export async function writeEntries(
  context: Context,
  operation: Operation,
  writes: readonly EntryWrite[],
): Promise<WriteResult> {
  const { runScript, keyspace, timeoutMs, clock, hidesResends } = context;
  // A UUID is unique, so it is the version of all entries that this write puts.
  const id = crypto.randomUUID();
  const deadline = Date.now() + timeoutMs;
  // Each stored version is written once. If the version that a put requires is there, this write was not done before; if
  // its own is there, it was. So such a write needs no receipt.
  const isRecognizable = !hidesResends && writes.some(({ json, ifVersion }) => json !== undefined && ifVersion != null);
  const entryKeys = writes.map(({ key }) => keyspace.entry(key));
  const operations = writes.flatMap(({ json, ifVersion, ttlMs }) => [
    encodeCondition(ifVersion),
    json === undefined ? "" : encodeEntry(id, json),
    ttlMs === undefined ? "" : String(ttlMs),
  ]);
  const { status, index } = await runScript({
    operation,
    script: WRITE,
    keys: [keyspace.keys, keyspace.expiry, ...entryKeys, ...(isRecognizable ? [] : [keyspace.receipt(id)])],
    args: () => {
      const { serverAheadMs } = context;
      // While the server's clock is unknown, a deadline of 0: the server replies with its time and does nothing.
      const serverDeadline = serverAheadMs === undefined ? "0" : String(Math.ceil(deadline + serverAheadMs));
      return [serverDeadline, entryHeader(id), clock === undefined ? "" : String(clock()), ...operations];
    },
    parse: (reply) => {
      const [timeAndStatus, index] = Array.isArray(reply) ? reply.map(Number) as [number, number] : [Number(reply), 0];
      const status = timeAndStatus % 4;
      syncClock(context, Math.floor(timeAndStatus / 4));
      return status === TOO_LATE ? undefined : { status, index };
    },
    // Another process may have written since this write was done, and only a receipt would tell.
    isAmbiguous: ({ status }) => isRecognizable && status === REFUSED,
  });
  if (status === REFUSED) return { ok: false, failedAt: index };
  if (status === FOREIGN) {
    const { key } = writes[index]!;
    await readEntry(context, operation, key); // throws the more specific error
    throw notAnEntry(key);
  }
  return { ok: true, versions: writes.map(({ json }) => json === undefined ? undefined : id) };
}

function encodeCondition(ifVersion: string | null | undefined): string {
  return ifVersion === undefined ? UNCONDITIONAL : ifVersion === null ? ABSENT : entryHeader(ifVersion);
}
