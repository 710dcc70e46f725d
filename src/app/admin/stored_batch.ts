/** Batch operations as they are stored. */
import { FormatError } from "../../errors.ts";
import type { Batch } from "../../plugin/admin_pages.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { endedBatchKey, openBatchKey } from "../../portal/keys.ts";
import type { Entry } from "../../storage/storage.ts";
import { writeInOrder } from "../../storage/write.ts";

/** A portal that a worker was processing when it was its turn. */
export interface BusyPortal {
  readonly memberId: string;
  /** Number of times that it was busy. */
  readonly tries: number;
  /** When it is tried again, in milliseconds since 1970. */
  readonly at: number;
}

/** A batch operation as it is stored. One that was stopped is still open while its owner acts on a page. */
export interface StoredBatch extends Omit<Batch, "id" | "busy"> {
  readonly format: typeof BATCH_FORMAT;
  /** The last portal of the pages so far. */
  readonly after?: string;
  /** The portals that are being acted on. */
  readonly page?: readonly string[];
  /** All pages were read. */
  readonly isRead?: true;
  /** Portals that are tried again once all pages were read. */
  readonly busy?: readonly BusyPortal[];
  /** The process that goes on with it. */
  readonly owner?: { readonly id: string; readonly until: number };
}

/** Raised if older code would misread a batch operation. */
export const BATCH_FORMAT = 1;

/** TTL (ms) of batch operations that are over: 400 days. */
const KEPT_MS = 400 * 24 * 60 * 60 * 1000;

/** Moves a batch operation to those that are over. Resolves to whether it has not changed since it was read. */
export async function endBatch(
  { storage, clock, log }: AppRuntime,
  id: string,
  entry: Entry<StoredBatch>,
  state: "finished" | "stopped",
): Promise<boolean> {
  const { owner: _o, page: _p, after: _a, isRead: _r, busy: _b, ...batch } = readBatch(entry);
  const { done, refused, matched } = batch;
  // Those that no longer matched when their page was read were in none.
  const changed = state === "finished" ? Math.max(batch.changed, matched - done - refused) : batch.changed;
  const ended: StoredBatch = { ...batch, changed, state, endedAt: clock() };
  const result = await writeInOrder(storage, [
    { put: endedBatchKey(id), value: ended, ttlMs: KEPT_MS },
    { delete: openBatchKey(id), ifVersion: entry.version },
  ]);
  if (!result.ok) return false;
  log.info("batch operation ended", { event: "batch.ended", batchId: id, state, matched, done, refused, changed });
  return true;
}

/** Returns a batch operation as operators see it. */
export function batchOf(entry: Entry<StoredBatch>): Batch {
  const { format: _f, owner: _o, page: _p, after: _a, isRead: _r, busy = [], ...batch } = readBatch(entry);
  return { id: entry.key.at(-1)!, ...batch, ...(busy.length > 0 && { busy: busy.length }) };
}

/** @throws {FormatError} if newer code wrote the batch operation */
export function readBatch({ key, value }: Entry<StoredBatch>): StoredBatch {
  if (value.format !== BATCH_FORMAT) {
    throw new FormatError(`batch operation ${key.at(-1)}`, value.format, BATCH_FORMAT);
  }
  return value;
}
