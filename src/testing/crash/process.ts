/** A simulated process of an app, which crashes before or after one of its operations. */
import type { App, Storage } from "../../../mod.ts";
import type { Entry, ListOptions, WriteOperation } from "../../../storage.ts";
import { withoutPace } from "../bitrix24/unpaced.ts";
import type { CrashEnvironment } from "./options.ts";
import { type Call, describeCall, type IsSafe } from "./report.ts";

/** A crash before or after an operation, which is counted from 1 at the start of the process. */
export interface CrashPoint {
  readonly at: number;
  readonly when: "before" | "after";
}

/** Options of a process. */
export interface ProcessOptions {
  readonly app: (environment: CrashEnvironment) => App<never> | App;
  /** Absent: the process does not crash. */
  readonly crashPoint: CrashPoint | undefined;
  readonly storage: Storage;
  readonly clock: () => number;
  readonly random: () => string;
  /** Answers a call. */
  readonly fetch: (request: Request, call: Call) => Response | Promise<Response>;
  readonly safe: IsSafe | undefined;
  /** Receives the operation at the crash point, before the crash. */
  readonly onCrash: (operation: string) => void;
}

/** A started process. After its crash, every operation fails. */
export interface SimulatedProcess {
  readonly app: App;
  readonly hasCrashed: () => boolean;
  /** Number of operations so far. */
  readonly operations: () => number;
  /** Drops a crash point that was not reached. */
  readonly disarm: () => void;
}

class CrashedError extends Error {
  constructor() {
    super("this process has crashed");
  }
}

/** Starts a process. */
export function startProcess(options: ProcessOptions): SimulatedProcess {
  const { storage, clock, random } = options;
  let { crashPoint } = options;
  let operations = 0;
  let hasCrashed = false;
  let step: string | undefined;

  function assertAlive(): void {
    if (hasCrashed) throw new CrashedError();
  }

  /** Runs one operation, unless the process crashes before it. */
  async function operate<T>(name: string, run: () => T | Promise<T>): Promise<T> {
    assertAlive();
    const reached = ++operations === crashPoint?.at ? crashPoint.when : undefined;
    if (reached !== undefined) options.onCrash(step === undefined ? name : `${name} in step "${step}"`);
    if (reached === "before") hasCrashed = true;
    assertAlive();
    const result = await run();
    if (reached === "after") hasCrashed = true;
    assertAlive();
    return result;
  }

  async function answer(request: Request): Promise<Response> {
    const call = await describeCall(request, step, options.safe);
    return await operate(call.call, () => options.fetch(request, call));
  }

  const app = options.app({
    storage: crashingStorage(storage, operate, assertAlive),
    fetch: withoutPace((input: RequestInfo | URL, init?: RequestInit) => answer(new Request(input, init))),
    ...{ clock, random, logger: { debug: noop, info: noop, warn: noop, error: noop } },
    ...{ tickEveryMs: false, checks: false },
  }) as App;
  const leaveStep = (): void => void (step = undefined);
  app.use({
    name: "crashEverywhere",
    observe: { stepStarted: (report) => void (step = report.step), stepFinished: leaveStep, stepFailed: leaveStep },
  });
  return {
    app,
    hasCrashed: () => hasCrashed,
    operations: () => operations,
    disarm: () => void (crashPoint = undefined),
  };
}

function crashingStorage(
  storage: Storage,
  operate: <T>(name: string, run: () => T | Promise<T>) => Promise<T>,
  assertAlive: () => void,
): Storage {
  const name = (method: string, key: readonly string[]): string => `${method} ${key.join("/")}`;
  const { write, ...others } = storage;
  return {
    ...others,
    ...(write === undefined ? {} : {
      write: (operations, o) =>
        operate(`write ${operations.map(describeWrite).join(", ")}`, () => write(operations, o)),
    }),
    get: (key, o) => operate(name("get", key), () => storage.get(key, o)),
    put: (key, value, o) => operate(name("put", key), () => storage.put(key, value, o)),
    delete: (key, o) => operate(name("delete", key), () => storage.delete(key, o)),
    list: async function* <T>(prefix: readonly string[], o?: ListOptions): AsyncGenerator<Entry<T>> {
      await operate(name("list", prefix), noop);
      for await (const entry of storage.list<T>(prefix, o)) {
        assertAlive();
        yield entry;
      }
    },
    close: () => Promise.resolve(),
  };
}

function describeWrite(operation: WriteOperation): string {
  return "put" in operation ? `put ${operation.put.join("/")}` : `delete ${operation.delete.join("/")}`;
}

function noop(): void {}
