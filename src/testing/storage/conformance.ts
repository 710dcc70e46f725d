/** The conformance suite for storages: a test for each requirement of the storage contract. */
import { delay, systemTime } from "../../async/time.ts";
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import type { Storage } from "../../storage/storage.ts";
import { expiryRequirements } from "./expiry_requirements.ts";
import { faultRequirements } from "./fault_requirements.ts";
import { listRequirements } from "./list_requirements.ts";
import { lostReplyRequirements } from "./lost_reply_requirements.ts";
import { orderedWriteRequirements } from "./ordered_write_requirements.ts";
import { processRequirements } from "./process_requirements.ts";
import { BACKEND_RULES, check, type Requirement, type StorageBackend, type TestContext } from "./requirement.ts";
import { signalRequirements } from "./signal_requirements.ts";
import { valueRequirements } from "./value_requirements.ts";
import { startWorker, type StorageWorkerCommand, type WorkerProcess } from "./worker.ts";
import { writeRequirements } from "./write_requirements.ts";

type WorkerCommandOf = (storage: Storage) => StorageWorkerCommand;

/** Options of {@linkcode storageConformance}. */
export interface StorageConformanceOptions {
  /** Name of the storage, such as `memoryStorage`. It is part of the name of every test. */
  readonly name: string;
  /** The test function of the runner, such as `test` of `node:test` or `Deno.test`. */
  readonly test: (name: string, fn: () => Promise<void>) => void;
  /**
   * Creates a new and empty storage. Called for every test. If the option `clock` is `"injected"`, the storage must use
   * the `clock` that it receives here.
   */
  readonly create: (clock: () => number) => Storage | Promise<Storage>;
  /**
   * `"injected"`: the storage uses the clock that `create` receives, and the suite moves that clock. `"real"`: the storage
   * uses its own clock, and the suite waits for it, half a second in all.
   */
  readonly clock: "injected" | "real";
  /**
   * Closes the storage. Called after every test, passed or failed.
   *
   * @default the storage's `close`
   */
  readonly dispose?: (storage: Storage) => void | Promise<void>;
  /**
   * Returns the command of a process that opens the entries of a storage that `create` returned, and calls `storageWorker`
   * with them. Adds the requirements of section 8. The processes use the system's clock.
   *
   * Needed if the `capabilities.scope` of the storage is wider than `process`. `false`: another call tests the storage in
   * several processes, such as one with the system's clock.
   */
  readonly worker?: ((storage: Storage) => StorageWorkerCommand) | false;
  /** Injects faults into the backend of a storage. Adds the requirements of sections 9 and 10. */
  readonly backend?: {
    /** Returns the backend of a storage that `create` returned. */
    readonly of: (storage: Storage) => StorageBackend | Promise<StorageBackend>;
    /** The members that `of` returns. */
    readonly can: readonly (keyof StorageBackend)[];
  };
  /**
   * Max time (ms) for the storage to notice that its backend is down, and to work again once it is back. In the
   * tests of slow calls, each call takes a tenth of it. Minimum: 1.
   *
   * @default 30_000
   */
  readonly faultTimeoutMs?: number;
}

const OPTION_RULES: OptionRules<StorageConformanceOptions> = {
  name: option.required(option.text("the name of the storage")),
  test: option.required(option.function("the test function of the runner")),
  create: option.required(option.function("a function that creates a storage")),
  clock: option.required(option.oneOf("injected", "real")),
  dispose: option.function(),
  worker: option.value(
    "a function that returns the command of a worker, or false",
    (worker) => worker === false || typeof worker === "function",
  ),
  backend: option.object<NonNullable<StorageConformanceOptions["backend"]>>({
    of: option.required(option.function("a function that returns the backend of a storage")),
    can: option.required(option.list("the members of the backend", option.oneOf(...Object.keys(BACKEND_RULES)))),
  }),
  faultTimeoutMs: option.duration(),
};

const requirements: readonly Requirement[] = [
  ...valueRequirements,
  ...writeRequirements,
  ...expiryRequirements,
  ...listRequirements,
  ...signalRequirements,
  ...processRequirements,
  ...lostReplyRequirements,
  ...faultRequirements,
  ...orderedWriteRequirements,
];

/** The requirements of the storage contract, by number. */
export const STORAGE_REQUIREMENTS: Readonly<Record<string, string>> = Object.freeze(
  Object.fromEntries(requirements.map(({ number, text }) => [number, text])),
);

/**
 * Registers a test for each of {@linkcode STORAGE_REQUIREMENTS}, for authors of storages. An app can use a storage that
 * passes. The name of a test consists of the number, the requirement and `name`. A failed test reports what it saw and what
 * it wanted.
 *
 * The requirements of sections 8 to 10 are only tested if you pass the `worker`, or the member of `backend`, that they
 * need. The last test, `not run: …`, names those that are not. It fails if the storage has a wider `capabilities.scope` than
 * `process` and `worker` is missing: what processes share must be tested in processes. Those on `write` are tested with the storage's own, if it has one, and with `writeInOrder` on `put` and `delete`.
 *
 * @throws {TypeError} if an option is unknown or invalid
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
  checkOptions("cannot test a storage", options, OPTION_RULES);
  const { name, test, worker, backend } = options;
  const hasWorker = worker !== undefined && worker !== false;
  /** Numbers of the requirements that are not tested, by the option that they need. */
  const notRun = new Map<string, string[]>();
  for (const requirement of requirements) {
    const { number, text, needs } = requirement;
    const isPossible = needs === undefined ||
      (needs === "worker" ? hasWorker : backend?.can.includes(needs));
    if (isPossible) test(`${number} ${text} (${name})`, () => verify(requirement, options));
    else {
      const option = needs === "worker" ? "worker" : "backend";
      notRun.set(option, [...notRun.get(option) ?? [], number]);
    }
  }
  if (notRun.size === 0) return;
  const missing = [...notRun].map(([option, numbers]) => `${numbers.join(", ")} (for want of ${option})`).join("; ");
  test(`not run: ${missing} (${name})`, () => checkScope(options));
}

/** Fails if processes may share the storage, and no test does so. */
async function checkScope({ create, clock, dispose, worker }: StorageConformanceOptions): Promise<void> {
  if (worker !== undefined) return;
  const storage = await create(clock === "injected" ? injectedTime().now : REAL_TIME.now);
  try {
    const { scope } = storage.capabilities;
    check(
      scope === "process",
      `the storage claims scope "${scope}", and no process has tested it: saw no option worker, wanted one, ` +
        'false, or scope "process"',
    );
  } finally {
    if (dispose === undefined) await storage.close?.();
    else await dispose(storage);
  }
}

/** Tests one requirement on a new storage. */
async function verify({ number, text, needs, verify }: Requirement, options: StorageConformanceOptions): Promise<void> {
  const { create, clock, dispose, faultTimeoutMs = 30_000 } = options;
  const time = clock === "injected" ? injectedTime() : REAL_TIME;
  const storage = await create(time.now);
  const processes: WorkerProcess[] = [];
  const start = (): WorkerProcess => {
    const process = startWorker((options.worker as WorkerCommandOf)(storage));
    processes.push(process);
    return process;
  };
  let backend: StorageBackend | undefined;
  try {
    if (needs !== undefined && needs !== "worker") backend = await options.backend!.of(storage);
    await verify({ storage, ...time, faultTimeoutMs, start, ...defined({ backend }) });
  } catch (error) {
    const saw = error instanceof Error ? error.message : String(error);
    throw new Error(`${number} ${text}: ${saw}`, { cause: error });
  } finally {
    await Promise.all(processes.map(({ kill }) => kill()));
    try {
      await clearFaults(backend);
    } finally {
      if (dispose === undefined) await storage.close?.();
      else await dispose(storage);
    }
  }
}

async function clearFaults(backend: StorageBackend | undefined): Promise<void> {
  await backend?.start?.();
  await backend?.delay?.(0);
  await backend?.drain?.();
}

type StorageTime = Pick<TestContext, "now" | "toleranceMs" | "elapse">;

function injectedTime(): StorageTime {
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

const REAL_TIME: StorageTime = {
  now: systemTime.now,
  // The backend may run on another host, with another clock.
  toleranceMs: 60_000,
  // Longer, because timers may fire early, and some backends update their clocks only now and then.
  elapse: (ms) => delay(systemTime, ms + 20),
};
