/** A storage that counts what work costs: operations, those that wait for one another, reads, rows, and bytes. */
import { setImmediate } from "node:timers/promises";
import type { Storage } from "@b24/onappupdate";
import type { Entry, ListOptions } from "@b24/onappupdate/storage";

/** A storage and what it has counted since the last `reset`. */
export interface CountingStorage {
  readonly storage: Storage;
  /**
   * Length of the longest chain of finished operations each of which began after the one before it had ended. Operations
   * that run at the same time count once. A listing and an ordered write are one operation.
   */
  readonly inSequence: () => number;
  /** Number of all calls. A listing and an ordered write are one. */
  readonly operations: () => number;
  /** Number of entries that `get` and `list` have read. */
  readonly rows: () => number;
  /** Number of `get` and `list` calls. */
  readonly reads: () => number;
  /** Bytes of the JSON of all values that were passed to `put` and `write`. */
  readonly bytes: () => number;
  readonly reset: () => void;
  /** Resolves when no operation is running, and none follows. */
  readonly idle: () => Promise<void>;
}

/**
 * Turns of the event loop that an operation takes. More than anything takes that the app does between two operations
 * that do not depend on each other, so that those overlap.
 */
const TURNS = 20;

/** Wraps `storage`. */
export function countingStorage(storage: Storage): CountingStorage {
  let chain = 0;
  let operations = 0;
  let rows = 0;
  let reads = 0;
  let bytes = 0;
  let running = 0;

  async function run<T>(operation: () => Promise<T>): Promise<T> {
    const place = chain + 1;
    operations++;
    running++;
    for (let turn = 0; turn < TURNS; turn++) await setImmediate();
    try {
      return await operation();
    } finally {
      running--;
      chain = Math.max(chain, place);
    }
  }

  const countBytes = (value: unknown): void => {
    bytes += new TextEncoder().encode(JSON.stringify(value)).length;
  };
  const { write } = storage;
  return {
    storage: {
      ...storage,
      get: <T>(...args: Parameters<Storage["get"]>) => {
        reads++;
        return run(async () => {
          const entry = await storage.get<T>(...args);
          if (entry !== null) rows++;
          return entry;
        });
      },
      put: (key, value, options) => {
        countBytes(value);
        return run(() => storage.put(key, value, options));
      },
      delete: (key, options) => run(() => storage.delete(key, options)),
      list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
        reads++;
        const entries = await run(() => Array.fromAsync(storage.list<T>(prefix, options)));
        rows += entries.length;
        yield* entries;
      },
      ...(write === undefined ? {} : {
        write: (writes, options) => {
          for (const operation of writes) if ("put" in operation) countBytes(operation.value);
          return run(() => write(writes, options));
        },
      }),
    },
    inSequence: () => chain,
    operations: () => operations,
    rows: () => rows,
    reads: () => reads,
    bytes: () => bytes,
    reset: () => {
      chain =
        operations =
        rows =
        reads =
        bytes =
          0;
    },
    idle: async () => {
      for (let turn = 0; turn < TURNS; turn++) {
        if (running > 0) turn = 0;
        await setImmediate();
      }
    },
  };
}
