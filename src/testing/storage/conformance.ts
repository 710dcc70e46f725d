/** The battery that every storage passes: the contract of `Storage` in numbered clauses, a case for each. */
import type { Storage } from "../../storage/storage.ts";
import type { Clause, StorageBackend, Trial } from "./requirement.ts";
import { endClauses, expiryClauses } from "./expiry_requirements.ts";
import { faultClauses } from "./fault_requirements.ts";
import { listClauses } from "./list_requirements.ts";
import { processClauses } from "./process_requirements.ts";
import { valueClauses } from "./value_requirements.ts";
import { type Remote, startWorker, type StorageWorkerCommand } from "./worker.ts";
import { writeClauses } from "./write_requirements.ts";

/** Options of {@linkcode storageConformance}. */
export interface StorageConformanceOptions {
  /** Ends the name of every test, such as `memoryStorage`. */
  readonly name: string;
  /** The test function of the runner, such as `test` of `node:test` or `Deno.test`. */
  readonly test: (name: string, fn: () => Promise<void>) => void;
  /**
   * A fresh and empty storage; called for every test. `clock` is what the storage has to measure time with when the
   * option `clock` is `"injected"`, and can be left alone when it is `"real"`.
   */
  readonly create: (clock: () => number) => Storage | Promise<Storage>;
  /**
   * `"injected"`: the storage measures time with the clock that `create` is given, and the battery moves it.
   * `"real"`: the storage has the clock of its backend, and the battery waits, some half a second in all.
   */
  readonly clock: "injected" | "real";
  /** Called after every test, also after a failed one, and has to close the storage; default: `close`, if there is. */
  readonly dispose?: (storage: Storage) => void | Promise<void>;
  /**
   * How to start a process that opens the entries of a storage that `create` made, and runs `storageWorker` on it. Adds
   * the clauses about several processes, which use the clock of the system.
   */
  readonly worker?: (storage: Storage) => StorageWorkerCommand;
  /** What can be done to the backend of a storage that `create` made: adds the clauses about lost answers and faults. */
  readonly backend?: {
    /** Of one storage. */
    readonly of: (storage: Storage) => StorageBackend | Promise<StorageBackend>;
    /** The members that `of` gives. */
    readonly can: readonly (keyof StorageBackend)[];
  };
  /**
   * Max time (ms) for the storage to notice that its backend is down, and to work again once it is back. A slow backend
   * takes a tenth of it for each call. Minimum: 1.
   *
   * @default 30_000
   */
  readonly faultTimeoutMs?: number;
}

const clauses: readonly Clause[] = [
  ...valueClauses,
  ...writeClauses,
  ...expiryClauses,
  ...listClauses,
  ...endClauses,
  ...processClauses,
  ...faultClauses,
];

/** The clauses by number: what a storage promises to whoever uses it. */
export const STORAGE_REQUIREMENTS: Readonly<Record<string, string>> = Object.freeze(
  Object.fromEntries(clauses.map(({ number, says }) => [number, says])),
);

/**
 * Registers a test for each of {@linkcode STORAGE_REQUIREMENTS}, named by number, sentence and `name`. For authors of
 * storages: one that passes can be given to `createApp`. A failed test says what it saw and what it wanted. The clauses
 * from 8 on need `worker`, or a member of `backend`, and are left out without it.
 *
 * After `close` a storage may reject every call or go on as before; what it may not do is to answer as if it
 * were empty.
 *
 * @example
 * ```ts
 * import { memoryStorage } from "@b24/onappupdate";
 * import { storageConformance } from "@b24/onappupdate/testing";
 * import { test } from "node:test";
 *
 * storageConformance({
 *   name: "memoryStorage",
 *   test,
 *   clock: "injected",
 *   create: (clock) => memoryStorage({ clock }),
 * });
 * ```
 */
export function storageConformance(options: StorageConformanceOptions): void {
  const { name, test, create, clock, dispose, worker, backend, faultTimeoutMs = 30_000 } = options;
  for (const { number, says, needs, holds } of clauses) {
    if (needs === "worker" ? worker === undefined : needs !== undefined && !backend?.can.includes(needs)) continue;
    test(`${number} ${says} (${name})`, async () => {
      const time = clock === "injected" ? injectedTime() : REAL_TIME;
      const storage = await create(time.now);
      const remotes: Remote[] = [];
      const start = (): Remote => {
        const remote = startWorker(worker!(storage));
        remotes.push(remote);
        return remote;
      };
      let hurt: StorageBackend | undefined;
      try {
        if (needs !== undefined && needs !== "worker") hurt = await backend!.of(storage);
        await holds({ storage, ...time, faultTimeoutMs, start, ...(hurt === undefined ? {} : { backend: hurt }) });
      } catch (error) {
        const saw = error instanceof Error ? error.message : String(error);
        throw new Error(`${number} ${says}: ${saw}`, { cause: error });
      } finally {
        for (const remote of remotes) remote.signal("SIGKILL");
        await Promise.all(remotes.map(({ gone }) => gone));
        try {
          await heal(hurt);
        } finally {
          if (dispose === undefined) await storage.close?.();
          else await dispose(storage);
        }
      }
    });
  }
}

/** So that what follows, `dispose` first, finds the backend as it was. */
async function heal(backend: StorageBackend | undefined): Promise<void> {
  await backend?.start?.();
  await backend?.delay?.(0);
  await backend?.drain?.();
}

type Time = Pick<Trial, "now" | "toleranceMs" | "elapse">;

function injectedTime(): Time {
  let now = 1_785_300_000_000;
  return {
    now: () => now,
    toleranceMs: 0,
    elapse: (ms) => {
      now += ms;
      return Promise.resolve();
    },
  };
}

const REAL_TIME: Time = {
  now: Date.now,
  // The backend may be another host.
  toleranceMs: 60_000,
  // Timers fire a little early, and backends look at their clocks only now and then.
  elapse: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 20)),
};
