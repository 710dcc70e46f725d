/** Worker processes that share one storage, for the requirements on several processes. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { delay, systemTime } from "../../async/time.ts";
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import type { Key, Storage, WriteOperation } from "../../storage/storage.ts";
import { writeInOrder } from "../../storage/write.ts";

/** Command that starts a process, which calls {@linkcode storageWorker}. */
export interface StorageWorkerCommand {
  /** Path of the program, such as `process.execPath`. */
  readonly command: string;
  /** Arguments, such as the module to run and the location of the entries. */
  readonly args?: readonly string[];
  /** Environment variables, added to those of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

const COMMAND_RULES: OptionRules<StorageWorkerCommand> = {
  command: option.required(option.text("the path of a program")),
  args: option.list("a list of arguments", option.value("a string", (argument) => typeof argument === "string")),
  env: option.value("an object with environment variables", (env) => typeof env === "object" && env !== null),
};

/** A task for a worker. It is sent as one line of JSON. */
export type WorkerTask =
  | { readonly do: "get" | "delete"; readonly key: Key; readonly ifVersion?: string }
  | { readonly do: "put"; readonly key: Key; readonly value: unknown; readonly ifVersion?: string | null }
  | { readonly do: "increment"; readonly key: Key; readonly times: number }
  | { readonly do: "lease"; readonly key: Key; readonly rounds: number }
  | { readonly do: "fill" | "writeGroups"; readonly prefix: Key };

/**
 * Executes the tasks of the conformance suite on `storage`. A worker program calls this once it has opened its storage, and
 * prints nothing itself: tasks arrive on standard input, and results leave on standard output. When the input ends, the
 * storage is closed and the promise resolves.
 *
 * @example
 * ```ts
 * import { memoryStorage } from "@b24/onappupdate";
 * import { storageWorker } from "@b24/onappupdate/testing";
 *
 * // A module of its own, which opens the storage that its arguments name.
 * await storageWorker(memoryStorage());
 * ```
 */
export async function storageWorker(storage: Storage): Promise<void> {
  const print = (message: unknown): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      print({ result: await execute(storage, JSON.parse(line), print) });
    } catch (error) {
      print({ error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
    }
  }
  await storage.close?.();
}

async function execute(storage: Storage, task: WorkerTask, print: (message: unknown) => void): Promise<unknown> {
  switch (task.do) {
    case "get":
      return await storage.get(task.key);
    case "put":
      return await storage.put(task.key, task.value, defined({ ifVersion: task.ifVersion }));
    case "delete":
      return await storage.delete(task.key, defined({ ifVersion: task.ifVersion }));
    case "increment":
      return await increment(storage, task.key, task.times);
    case "lease":
      return await holdLease(storage, task.key, task.rounds);
    case "fill":
      for (let n = 0;; n++) {
        await storage.put([...task.prefix, String(n)], fillValue(n));
        print({ result: n });
      }
    case "writeGroups":
      for (let n = 0;; n++) {
        await writeInOrder(storage, groupOf(task.prefix, n));
        print({ result: n });
      }
  }
}

/** Returns the operations of the `n`th ordered write of "writeGroups". The value of each is its index. */
function groupOf(prefix: Key, n: number): readonly WriteOperation[] {
  return Array.from({ length: GROUP_SIZE }, (_, i) => {
    const put: Key = [...prefix, String(n), String(i)];
    return i === GROUP_SIZE / 2 ? { put, value: i, ifVersion: null } : { put, value: i };
  });
}

/** Number of operations of an ordered write of "writeGroups". */
export const GROUP_SIZE = 20;

/** Returns the value of the `n`th entry of "fill". Its size shows whether it was written completely. */
export function fillValue(n: number): { readonly n: number; readonly fill: string; readonly end: number } {
  return { n, fill: String(n % 10).repeat(500 + n % 300), end: n };
}

/** Increments the number under `key`. Returns how many attempts that took. */
async function increment(storage: Storage, key: Key, times: number): Promise<number> {
  let attempts = 0;
  for (let done = 0; done < times; attempts++) {
    const entry = await storage.get<number>(key);
    const { ok } = await storage.put(key, (entry?.value ?? 0) + 1, { ifVersion: entry?.version ?? null });
    if (ok) done++;
  }
  return attempts;
}

interface Lease {
  readonly owner: number;
  readonly until: number;
}

/** Acquires and releases the lease under `key` several times. Returns from when to when it was held. */
async function holdLease(storage: Storage, key: Key, rounds: number): Promise<[number, number][]> {
  const periods: [number, number][] = [];
  while (periods.length < rounds) {
    const entry = await storage.get<Lease>(key);
    const isFree = entry === null || entry.value.until <= systemTime.now();
    const lease: Lease = { owner: process.pid, until: systemTime.now() + 60_000 };
    const acquired = isFree && await storage.put(key, lease, { ifVersion: entry?.version ?? null });
    if (!acquired || !acquired.ok) {
      await delay(systemTime, 1);
      continue;
    }
    const from = systemTime.now();
    await delay(systemTime, 3);
    periods.push([from, systemTime.now()]);
    const released = await storage.put(key, { ...lease, until: 0 }, { ifVersion: acquired.version });
    if (!released.ok) throw new Error("another process has written to the lease that this one held");
  }
  return periods;
}

/** A worker process, controlled by the suite. */
export interface WorkerProcess {
  /** Sends a task and returns its result; rejects if it failed. Call it for one task at a time. */
  readonly call: <T>(task: WorkerTask) => Promise<T>;
  /** Sends a task. The next `receive()` returns its result. */
  readonly send: (task: WorkerTask) => void;
  /** Returns the next result; rejects if the task failed or the process has exited. */
  readonly receive: <T>() => Promise<T>;
  /** Sends a signal to the process, unless it has exited. */
  readonly signal: (name: "SIGSTOP" | "SIGCONT") => void;
  /** Kills the process, unless it has exited, and resolves when it is gone. */
  readonly kill: () => Promise<void>;
  /** Returns the last result that the process has sent, received or not. Undefined if there is none. */
  readonly lastResult: <T>() => T | undefined;
}

/** Starts a worker process. */
export function startWorker(options: StorageWorkerCommand): WorkerProcess {
  checkOptions("cannot start a worker", options, COMMAND_RULES);
  const { command, args = [], env = {} } = options;
  const child: ChildProcess = spawn(command, [...args], {
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  /** Lines that `receive` has not returned yet. */
  const lines: string[] = [];
  let last: string | undefined;
  let waiting: ((line: string | undefined) => void) | undefined;
  let isGone = false;
  const gone = new Promise<void>((resolve) => {
    child.on("error", () => resolve());
    child.on("close", () => resolve());
  }).then(() => {
    isGone = true;
    waiting?.(undefined);
  });
  // A write to a process that has exited fails here. `receive` reports it.
  child.stdin!.on("error", () => {});
  createInterface({ input: child.stdout! }).on("line", (line) => {
    last = line;
    if (waiting === undefined) return void lines.push(line);
    const resolve = waiting;
    waiting = undefined;
    resolve(line);
  });

  async function receive<T>(): Promise<T> {
    const line = lines.shift() ??
      (isGone ? undefined : await new Promise<string | undefined>((resolve) => waiting = resolve));
    if (line === undefined) throw new Error(`the worker ${command} ${args.join(" ")} exited without a result`);
    return resultOf(line);
  }
  // Not `child.kill()`: Deno's loses the exit code of a child that exits by itself afterwards.
  const signal = (name: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void =>
    void (isGone || child.pid === undefined || process.kill(child.pid, name));
  const send = (task: WorkerTask): void => void child.stdin!.write(`${JSON.stringify(task)}\n`);
  return {
    call: (task) => {
      send(task);
      return receive();
    },
    send,
    receive,
    signal,
    kill: () => {
      signal("SIGKILL");
      return gone;
    },
    lastResult: () => last === undefined ? undefined : resultOf(last),
  };
}

function resultOf<T>(line: string): T {
  const { result, error } = JSON.parse(line) as { result?: T; error?: string };
  if (error !== undefined) throw new Error(`a worker failed: ${error}`);
  return result as T;
}
